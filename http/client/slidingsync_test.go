package client_test

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

const slidingPath = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

// slider is a client with one connection of simplified sliding sync.
type slider struct {
	*clienttest.User
	body J
	pos  string
}

// roomList asks for the newest rooms, with so many events of each.
func roomList(u *clienttest.User, last, limit int) *slider {
	return &slider{User: u, body: J{"conn_id": "room-list",
		"lists": J{"all": J{"ranges": [][2]int{{0, last}}, "timeline_limit": limit, "required_state": [][2]string{
			{"m.room.create", ""}, {"m.room.name", ""}, {"m.room.topic", ""}, {"m.room.member", "$LAZY"}, {"m.room.member", "$ME"}}}},
		"extensions": J{"account_data": J{"enabled": true}, "receipts": J{"enabled": true}, "typing": J{"enabled": true},
			"e2ee": J{"enabled": true}, "io.element.msc4308.thread_subscriptions": J{"enabled": true}}}}
}

// ask asks from the client's position but does not take the answer in.
func (s *slider) ask() *clienttest.Answer {
	q := url.Values{"timeout": {"0"}}
	if s.pos != "" {
		q.Set("pos", s.pos)
	}
	return s.Post(slidingPath+"?"+q.Encode(), s.body)
}

func (s *slider) sync() *clienttest.Answer {
	a := s.ask().OK()
	s.pos = a.Text("pos")
	return a
}

// slid is a room of an answer.
func slid(a *clienttest.Answer, roomID string) gjson.Result {
	return gjson.Parse(a.Raw).Get("rooms").Map()[roomID]
}

func members(room gjson.Result) []string {
	found := []string{}
	for _, e := range room.Get("required_state").Array() {
		if e.Get("type").Str == "m.room.member" {
			found = append(found, e.Get("state_key").Str)
		}
	}
	slices.Sort(found)
	return found
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, not %q", what, got, want)
	}
}

// The first answer has each room from scratch; an answer that was lost comes again, with what has happened since.
func TestSlidingSync(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "pub"})
	bob.Join(roomID)
	hello := bob.Say(roomID, "hello")

	s := roomList(alice, 19, 1)
	first := s.sync()
	room := slid(first, roomID)
	if !room.Get("initial").Bool() || room.Get("name").Str != "pub" || room.Get("joined_count").Int() != 2 || room.Get("bump_stamp").Int() == 0 ||
		!room.Get("limited").Bool() || room.Get("prev_batch").Str == "" || room.Get("num_live").Int() != 0 {
		t.Errorf("the room is %s", room.Raw)
	}
	same(t, "the timeline", texts(room, "timeline.#.event_id"), []string{hello})
	same(t, "the members", members(room), []string{alice.ID, bob.ID})
	if n := first.At("lists.all.count").Int(); n != 1 {
		t.Errorf("the list has %d rooms", n)
	}
	same(t, "the window", first.Texts("lists.all.ops.0.room_ids"), []string{roomID})
	if !slices.Contains(first.Texts("extensions.account_data.global.#.type"), "m.push_rules") {
		t.Error("there are no push rules")
	}
	if first.At("extensions.e2ee.device_one_time_keys_count.signed_curve25519").Raw != "0" {
		t.Errorf("the counts of keys are %s", first.At("extensions.e2ee").Raw)
	}
	alice.Get(clienttest.Room(roomID, "messages") + "?dir=b&from=" + url.QueryEscape(s.pos)).OK()

	if quiet := s.sync(); len(quiet.At("rooms").Map()) != 0 {
		t.Errorf("nothing happened, but %s", quiet.Raw)
	}
	one := bob.Say(roomID, "one")
	lost := s.ask().OK()
	same(t, "the timeline", texts(slid(lost, roomID), "timeline.#.event_id"), []string{one})
	if slid(lost, roomID).Get("initial").Exists() || len(members(slid(lost, roomID))) != 0 {
		t.Errorf("the room is %s: bob is known", slid(lost, roomID).Raw)
	}
	s.body["lists"].(J)["all"].(J)["timeline_limit"] = 1
	two := bob.Say(roomID, "two")
	again := s.sync()
	room = slid(again, roomID)
	same(t, "the timeline", texts(room, "timeline.#.event_id"), []string{two})
	if !room.Get("limited").Bool() {
		t.Error("there was more than the limit")
	}

	s.body["lists"].(J)["all"].(J)["timeline_limit"] = 3
	room = slid(s.sync(), roomID)
	same(t, "the wider timeline", texts(room, "timeline.#.event_id"), []string{hello, one, two})
	if !room.Get("unstable_expanded_timeline").Bool() || room.Get("initial").Exists() {
		t.Errorf("the room is %s", room.Raw)
	}
}

// Positions belong to one connection of one device, and none other knows them.
func TestSlidingSyncPositions(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	s := roomList(alice, 19, 1)
	s.sync()
	other := roomList(alice, 19, 1)
	other.body["conn_id"] = "encryption"
	theirs, elsewhere := roomList(bob, 19, 1), roomList(alice.With("OTHER"), 19, 1)
	for _, x := range []*slider{other, theirs, elsewhere} {
		x.pos = s.pos
		x.ask().Refused(400, "M_UNKNOWN_POS")
	}
	for _, pos := range []string{"x", "s1_1", "s1_1_1_1_1", "m1_1_1_1_1", "s1_99999999999999999999_1_1_1"} {
		bad := roomList(alice, 19, 1)
		bad.pos = pos
		bad.ask().Refused(400, "M_UNKNOWN_POS")
	}
	s.sync()
	s.body["lists"].(J)["all"].(J)["ranges"] = [][2]int{{5, 1}}
	s.ask().Refused(400, "M_INVALID_PARAM")
}

// A room that left the window is caught up with, not begun anew, when it is in the window again.
func TestSlidingSyncWindow(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	a := alice.CreateRoom(J{"preset": "public_chat", "name": "a"})
	b := alice.CreateRoom(J{"preset": "public_chat", "name": "b"})
	bob.Join(a)
	s := roomList(alice, 1, 2)
	s.sync()
	s.body["lists"].(J)["all"].(J)["ranges"] = [][2]int{{0, 0}}
	alice.Say(b, "to the top")
	s.sync()
	alice.SetState(a, "m.room.topic", "", J{"topic": "new"})
	for range 4 {
		bob.Say(a, "news")
	}
	alice.Say(b, "still at the top")
	if out := s.sync(); slid(out, a).Exists() || !slid(out, b).Exists() {
		t.Errorf("the window is %s", out.Raw)
	}
	last := []string{bob.Say(a, "x"), bob.Say(a, "y")}
	room := slid(s.sync(), a)
	same(t, "the timeline", texts(room, "timeline.#.event_id"), last)
	if room.Get("initial").Exists() || !room.Get("limited").Bool() {
		t.Errorf("the room is %s", room.Raw)
	}
	if !slices.Contains(texts(room, "required_state.#.type"), "m.room.topic") {
		t.Errorf("the topic that changed meanwhile is not in %s", room.Get("required_state").Raw)
	}
}

// An invite shows stripped state; accepted it begins the room, and refused it is told once.
func TestSlidingSyncInvites(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	a, b := alice.CreateRoom(J{"name": "a"}), alice.CreateRoom(J{"name": "b"})
	s := roomList(bob, 19, 5)
	s.sync()
	alice.Invite(a, bob)
	alice.Invite(b, bob)
	invited := s.sync()
	if types := texts(slid(invited, a), "invite_state.#.type"); !slices.Contains(types, "m.room.create") || !slices.Contains(types, "m.room.member") {
		t.Errorf("the invite has %q", types)
	}
	if slid(invited, a).Get("timeline").Exists() || slid(invited, a).Get("stripped_state").Exists() {
		t.Errorf("the invite is %s", slid(invited, a).Raw)
	}
	bob.Join(a)
	bob.Leave(b)
	next := s.sync()
	if !slid(next, a).Get("initial").Bool() || !slid(next, b).Exists() || next.At("lists.all.count").Int() != 2 {
		t.Errorf("after that there is %s", next.Raw)
	}
	if last := s.sync(); slid(last, b).Exists() || last.At("lists.all.count").Int() != 1 {
		t.Errorf("the invite that was refused is told again: %s", last.Raw)
	}
}

// Messages to a device are there until a since acknowledges them, whatever becomes of the connection.
func TestSlidingSyncToDevice(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	device := alice.Get("/account/whoami").OK().Text("device_id")
	send := func(txn string) {
		bob.Put(clienttest.Path("sendToDevice", "org.example.note", txn), J{"messages": J{alice.ID: J{device: J{"n": txn}}}}).OK()
	}
	inbox := J{"enabled": true}
	s := &slider{User: alice, body: J{"conn_id": "encryption", "extensions": J{"to_device": inbox}}}
	send("1")
	const path = "extensions.to_device.events.#.content.n"
	same(t, "the messages", s.sync().Texts(path), []string{"1"})
	s.pos = ""
	again := s.sync()
	same(t, "the messages, not acknowledged", again.Texts(path), []string{"1"})
	inbox["since"] = again.Text("extensions.to_device.next_batch")
	send("2")
	same(t, "the messages after that", s.sync().Texts(path), []string{"2"})
	delete(inbox, "since")
	same(t, "the messages that are stored", s.sync().Texts(path), []string{"2"})
}

// Extensions tell of rooms of which the rooms themselves have nothing new.
func TestSlidingSyncExtensions(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "a"})
	bob.Join(roomID)
	root := alice.Say(roomID, "hello")
	s := roomList(alice, 19, 1)
	s.sync()
	bob.Post(clienttest.Room(roomID, "receipt", "m.read", root), J{}).OK()
	bob.Put(clienttest.Room(roomID, "typing", bob.ID), J{"typing": true, "timeout": 30000}).OK()
	alice.Put(clienttest.Path("user", alice.ID, "rooms", roomID, "account_data", "m.tag"), J{"tags": J{"m.favourite": J{}}}).OK()
	alice.Put(subscription(roomID, root), J{}).OK()
	a := s.sync()
	extension := func(name string) gjson.Result { return a.At("extensions." + name + ".rooms").Map()[roomID] }
	if r := extension("receipts"); r.Get("type").Str != "m.receipt" || !r.Get("content").Map()[root].Exists() {
		t.Errorf("the receipts are %s", r.Raw)
	}
	same(t, "who types", texts(extension("typing"), "content.user_ids"), []string{bob.ID})
	same(t, "the account data", texts(extension("account_data"), "#.type"), []string{"m.tag"})
	threads := a.At(`extensions.io\.element\.msc4308\.thread_subscriptions.subscribed`)
	if !threads.Map()[roomID].Map()[root].Get("bump_stamp").Exists() {
		t.Errorf("the thread subscriptions are %s", threads.Raw)
	}
	s.body["lists"].(J)["all"].(J)["filters"] = J{"tags": []string{"m.favourite"}}
	if n := s.sync().At("lists.all.count").Int(); n != 1 {
		t.Errorf("%d rooms are favourites", n)
	}
	s.body["lists"].(J)["all"].(J)["filters"] = J{"is_encrypted": true}
	if n := s.sync().At("lists.all.count").Int(); n != 0 {
		t.Errorf("%d rooms are encrypted", n)
	}
}

// The proposal's own dialect has its position in the body, rules for state, and tells of lists and membership.
func TestSlidingSyncStable(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "a"})
	body := J{"txn_id": "x", "lists": J{"all": J{"range": [2]int{0, 9}, "timeline_limit": 1, "required_state": J{
		"include": []J{{}}, "exclude": []J{{"type": "m.room.create", "state_key": ""}}, "lazy_members": true}}}}
	const path = "/_matrix/client/v4/sync"
	first := alice.Post(path, body).OK()
	room := slid(first, roomID)
	same(t, "the lists", texts(room, "lists"), []string{"all"})
	if room.Get("membership").Str != "join" || room.Get("notification_count").Exists() || first.At("lists.all.ops").Exists() || first.Text("txn_id") != "x" {
		t.Errorf("the answer is %s", first.Raw)
	}
	types := texts(room, "required_state.#.type")
	if slices.Contains(types, "m.room.create") || !slices.Contains(types, "m.room.power_levels") {
		t.Errorf("the state is %q", types)
	}
	body["pos"] = first.Text("pos")
	if next := alice.Post(path, body).OK(); len(next.At("rooms").Map()) != 0 {
		t.Errorf("nothing happened, but %s", next.Raw)
	}
	body["pos"] = "unknown"
	alice.Post(path, body).Refused(400, "M_UNKNOWN_POS")
	alice.Post(path, J{"lists": J{"all": J{"required_state": J{}}}}).Refused(400, "M_MISSING_PARAM")
	alice.Post(path, J{"room_subscriptions": J{roomID: J{"timeline_limit": 1}}}).Refused(400, "M_MISSING_PARAM")
}

// Invites that /sync hides are hidden here as well: of those who are ignored, and of those whom the invite filter ignores.
func TestSlidingSyncHidesInvites(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carl, dora := w.Register("alice"), w.Register("bob"), w.Register("carl"), w.Register("dora")
	invite := func(u *clienttest.User) string { return u.CreateRoom(J{"invite": []string{alice.ID}}) }
	ofBob, ofCarl, ofDora := invite(bob), invite(carl), invite(dora)
	alice.Put(clienttest.Path("user", alice.ID, "account_data", "m.ignored_user_list"), J{"ignored_users": J{bob.ID: J{}}}).OK()
	filter := clienttest.Path("user", alice.ID, "account_data", "org.matrix.msc4155.invite_permission_config")
	alice.Put(filter, J{"ignored_users": []string{carl.ID}}).OK()

	s := roomList(alice, 19, 1)
	s.body["room_subscriptions"] = J{ofBob: J{"timeline_limit": 1}, ofCarl: J{"timeline_limit": 1}}
	first := s.sync()
	same(t, "the window", first.Texts("lists.all.ops.0.room_ids"), []string{ofDora})
	if slid(first, ofBob).Exists() || slid(first, ofCarl).Exists() || !slid(first, ofDora).Get("invite_state").Exists() {
		t.Errorf("the rooms are %s", first.At("rooms").Raw)
	}
	alice.Put(filter, J{}).OK()
	if next := s.sync(); !slid(next, ofCarl).Get("invite_state").Exists() || slid(next, ofBob).Exists() {
		t.Errorf("the rooms are %s", next.At("rooms").Raw)
	}
}

// Account data that was deleted is told of once, as empty, to those who may have it; as /sync does.
func TestSlidingSyncOfDeletedAccountData(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	const unstable = "/_matrix/client/unstable/org.matrix.msc3391"
	for _, place := range []string{clienttest.Path("user", alice.ID, "account_data", "x"), clienttest.Path("user", alice.ID, "rooms", roomID, "account_data", "x")} {
		alice.Put(place, J{"a": 1}).OK()
	}
	s := roomList(alice, 19, 1)
	told := func(a *clienttest.Answer) (found []string) {
		for _, e := range append(a.At("extensions.account_data.global").Array(), a.At("extensions.account_data.rooms").Map()[roomID].Array()...) {
			if e.Get("type").Str == "x" {
				found = append(found, e.Get("content").Raw)
			}
		}
		return found
	}
	same(t, "at first", told(s.sync()), []string{`{"a":1}`, `{"a":1}`})
	alice.Delete(unstable + "/user/" + url.PathEscape(alice.ID) + "/account_data/x").OK()
	alice.Delete(unstable + "/user/" + url.PathEscape(alice.ID) + "/rooms/" + url.PathEscape(roomID) + "/account_data/x").OK()
	same(t, "deleted", told(s.sync()), []string{"{}", "{}"})
	same(t, "from scratch", told(roomList(alice, 19, 1).sync()), nil)
}

// What is wrong in a request is said, and changes nothing.
func TestSlidingSyncRefuses(t *testing.T) {
	t.Parallel()
	alice := clienttest.New(t).Register("alice")
	list := func(l J) J { return J{"lists": J{"all": l}} }
	many := J{}
	for i := range 101 {
		many["!"+strconv.Itoa(i)+":test"] = J{"timeline_limit": 1}
	}
	for _, c := range []struct {
		code string
		body any
	}{
		{"M_INVALID_PARAM", J{"conn_id": strings.Repeat("x", 300)}},
		{"M_INVALID_PARAM", J{"conn_id": "\x00"}},
		{"M_INVALID_PARAM", list(J{"ranges": [][2]int{{-1, 4}}})},
		{"M_INVALID_PARAM", list(J{"timeline_limit": -1})},
		{"M_INVALID_PARAM", list(J{"required_state": [][2]string{{"\x00", ""}}})},
		{"M_INVALID_PARAM", list(J{"required_state": [][2]string{{strings.Repeat("x", 40_000), ""}}})},
		{"M_INVALID_PARAM", J{"room_subscriptions": many}},
		{"M_INVALID_PARAM", J{"extensions": J{"to_device": J{"enabled": true, "limit": 0}}}},
		{"M_INVALID_PARAM", J{"extensions": J{"to_device": J{"enabled": true, "since": "x"}}}},
		{"M_BAD_JSON", J{"lists": J{"all": nil}}},
		{"M_BAD_JSON", list(J{"ranges": [][]int{{1}}})},
		{"M_BAD_JSON", list(J{"required_state": [][]string{{"m.room.name"}}})},
		{"M_BAD_JSON", J{"lists": []string{}}},
	} {
		alice.Post(slidingPath, c.body).Refused(400, c.code)
	}
	alice.Post(slidingPath+"?set_presence=busy", J{}).Refused(400, "M_INVALID_PARAM")
	alice.Post(slidingPath+"?timeout=-1", J{}).Refused(400, "M_INVALID_PARAM")
	alice.Post(slidingPath, J{"room_subscriptions": J{"!nowhere:test": J{"timeline_limit": 1}, "\x00": J{"timeline_limit": 1}},
		"extensions": J{"unknown": J{"enabled": true}}, "unknown": 1}).OK()
}
