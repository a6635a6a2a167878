//go:build interop

package federation

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestSynapse has rooms of either server shared with the other, in every room version that both make.
func TestSynapse(t *testing.T) {
	a := peers.NewAuthority(t)
	ours := a.Start(1)[0]
	theirs := a.Synapse(t)
	t.Cleanup(func() { explain(t, []*peers.Server{ours}) })
	alice, bob := &person{Client: ours.User(t, "alice"), t: t}, &person{Client: theirs.User("bob"), t: t}
	for _, version := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} {
		for _, pair := range [][2]*person{{alice, bob}, {bob, alice}} {
			maker, guest := pair[0], pair[1]
			name, _, _ := strings.Cut(maker.UserID, ":")
			t.Run("version "+version+" made by "+name, func(t *testing.T) {
				sharedRoom(maker.in(t), guest.in(t), version)
				privateRoom(maker.in(t), guest.in(t), version)
				v, _ := roomversion.Get(version)
				if v.Knock {
					knockedRoom(maker.in(t), guest.in(t), version)
				}
				if v.Restricted {
					restrictedRoom(maker.in(t), guest.in(t), version)
				}
			})
		}
	}
	t.Run("notes to theirs", func(t *testing.T) { notes(bob.in(t), alice.in(t)) })
	t.Run("notes to ours", func(t *testing.T) { notes(alice.in(t), bob.in(t)) })
	t.Run("rooms of theirs are found", func(t *testing.T) { found(bob.in(t), alice.in(t)) })
	t.Run("rooms of ours are found", func(t *testing.T) { found(alice.in(t), bob.in(t)) })
	t.Run("forks", func(t *testing.T) {
		away := func() { theirs.Stop() }
		forks(alice.in(t), bob.in(t), away, func() { ours.Stop(); theirs.Run() }, func() { ours.Run() })
	})
	t.Run("after an outage of theirs", func(t *testing.T) { outage(alice.in(t), bob.in(t), theirs.Stop, theirs.Run) })
	t.Run("after an outage of ours", func(t *testing.T) { outage(bob.in(t), alice.in(t), ours.Stop, func() { ours.Run() }) })
}

// sharedRoom: a public room, in which both say and change things.
func sharedRoom(maker, guest *person, version string) {
	t := maker.t
	roomID := maker.create(J{"preset": "public_chat", "room_version": version, "name": "Square"})
	before := maker.say(roomID, "before")
	guest.joinVia(roomID, maker.server())
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "join")
	guest.seesState(roomID, "m.room.name", "", "name", "Square")
	guest.has(roomID, maker.say(roomID, "hello"))
	maker.has(roomID, guest.say(roomID, "hello"))
	maker.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.topic", ""), J{"topic": "new"})
	guest.seesState(roomID, "m.room.topic", "", "topic", "new")
	spoken := guest.say(roomID, "a mistake")
	maker.has(roomID, spoken)
	if _, err := guest.Redact(t.Context(), roomID, spoken, fmt.Sprint("r", transactions.Add(1))); err != nil {
		t.Fatal(err)
	}
	maker.until("the redaction", func(gjson.Result) bool {
		got, err := maker.Do(t.Context(), "GET", matrixclient.Path("rooms", roomID, "event", spoken), nil)
		return err == nil && !got.Get("content.body").Exists()
	})
	guest.until("the history", func(gjson.Result) bool {
		from := ""
		for range 20 {
			page, err := guest.Messages(t.Context(), roomID, from, "b", 100)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(page.Get("chunk").Array(), func(e gjson.Result) bool { return e.Get("event_id").Str == before }) {
				return true
			}
			if from = page.Get("end").Str; from == "" {
				return false
			}
		}
		return false
	})
	guest.do("POST", matrixclient.Path("rooms", roomID, "leave"), J{})
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "leave")
}

// privateRoom: an invite is declined, and one is taken; who was kicked is out.
func privateRoom(maker, guest *person, version string) {
	roomID := maker.create(J{"preset": "private_chat", "room_version": version, "invite": []string{guest.UserID}})
	guest.invited(roomID)
	guest.do("POST", matrixclient.Path("rooms", roomID, "leave"), J{})
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "leave")
	maker.do("POST", matrixclient.Path("rooms", roomID, "invite"), J{"user_id": guest.UserID})
	guest.invited(roomID)
	guest.joinVia(roomID, maker.server())
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "join")
	guest.has(roomID, maker.say(roomID, "hello"))
	maker.has(roomID, guest.say(roomID, "hello"))
	maker.do("POST", matrixclient.Path("rooms", roomID, "ban"), J{"user_id": guest.UserID})
	guest.until("the ban", func(sync gjson.Result) bool { return sync.Get("rooms.leave").Map()[roomID].Exists() })
}

// knockedRoom: who knocks is let in.
func knockedRoom(maker, guest *person, version string) {
	roomID := maker.create(J{"preset": "private_chat", "room_version": version,
		"initial_state": []J{{"type": "m.room.join_rules", "state_key": "", "content": J{"join_rule": "knock"}}}})
	guest.do("POST", matrixclient.Path("knock", roomID)+"?via="+maker.server()+"&server_name="+maker.server(), J{"reason": "may I"})
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "knock")
	maker.do("POST", matrixclient.Path("rooms", roomID, "invite"), J{"user_id": guest.UserID})
	guest.invited(roomID)
	guest.joinVia(roomID, maker.server())
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "join")
}

// restrictedRoom: members of one room may join another.
func restrictedRoom(maker, guest *person, version string) {
	club := maker.create(J{"preset": "public_chat", "room_version": version})
	roomID := maker.create(J{"preset": "private_chat", "room_version": version, "initial_state": []J{{"type": "m.room.join_rules", "state_key": "",
		"content": J{"join_rule": "restricted", "allow": []J{{"type": "m.room_membership", "room_id": club}}}}}})
	if _, err := guest.Do(guest.t.Context(), "POST", matrixclient.Path("join", roomID)+"?via="+maker.server()+"&server_name="+maker.server(), J{}); err == nil {
		guest.t.Fatal("somebody who is not in the club was let in")
	}
	guest.joinVia(club, maker.server())
	maker.seesState(club, "m.room.member", guest.UserID, "membership", "join")
	guest.joinVia(roomID, maker.server())
	maker.seesState(roomID, "m.room.member", guest.UserID, "join_authorised_via_users_server", maker.UserID)
	maker.has(roomID, guest.say(roomID, "hello"))
}

// notes: what is no event goes across too: typing, receipts, messages to devices, profiles and aliases.
func notes(maker, guest *person) {
	t := maker.t
	name := fmt.Sprint("square", transactions.Add(1))
	roomID := maker.create(J{"preset": "public_chat", "room_alias_name": name})
	alias := "#" + name + ":" + maker.server()
	if got := guest.do("GET", matrixclient.Path("directory", "room", alias), nil); got.Get("room_id").Str != roomID {
		t.Fatalf("the alias leads to %s", got)
	}
	guest.do("POST", matrixclient.Path("join", alias), J{})
	maker.seesState(roomID, "m.room.member", guest.UserID, "membership", "join")
	said := maker.say(roomID, "hello")
	guest.has(roomID, said)
	guest.do("PUT", matrixclient.Path("rooms", roomID, "typing", guest.UserID), J{"typing": true, "timeout": 20000})
	maker.until("typing", func(sync gjson.Result) bool {
		return strings.Contains(sync.Get("rooms.join").Map()[roomID].Get("ephemeral").Raw, guest.UserID)
	})
	guest.do("POST", matrixclient.Path("rooms", roomID, "receipt", "m.read", said), J{})
	maker.until("the receipt", func(sync gjson.Result) bool {
		return strings.Contains(sync.Get("rooms.join").Map()[roomID].Get("ephemeral").Raw, said)
	})
	guest.do("PUT", matrixclient.Path("sendToDevice", "org.example.note", fmt.Sprint("d", transactions.Add(1))), J{"messages": J{maker.UserID: J{"*": J{"note": "psst"}}}})
	maker.until("the message to the device", func(sync gjson.Result) bool { return strings.Contains(sync.Get("to_device").Raw, "psst") })
	guest.do("PUT", matrixclient.Path("profile", guest.UserID, "displayname"), J{"displayname": "The Guest"})
	if got := maker.do("GET", matrixclient.Path("profile", guest.UserID), nil); got.Get("displayname").Str != "The Guest" {
		t.Fatalf("the profile is %s", got)
	}
	maker.seesState(roomID, "m.room.member", guest.UserID, "displayname", "The Guest")
	keys := maker.do("POST", "/keys/query", J{"device_keys": J{guest.UserID: []string{}}})
	if len(keys.Get("failures").Map()) > 0 {
		t.Fatalf("the keys cannot be asked for: %s", keys)
	}
}

// found: rooms are found by the list of those that a server publishes, and in spaces, also by who is in none of them.
func found(maker, guest *person) {
	t := maker.t
	name := fmt.Sprint("Hall ", transactions.Add(1))
	hall := maker.create(J{"preset": "public_chat", "visibility": "public", "name": name})
	limit := 10
	guest.eventually("the room in the list", func() bool { // Synapse lists it after a while
		limit++ // another question, since what was answered before is remembered
		listed := guest.do("POST", "/publicRooms?server="+url.QueryEscape(maker.server()), J{"limit": limit, "filter": J{"generic_search_term": name}}).Get("chunk")
		return len(listed.Array()) == 1 && listed.Get("0.room_id").Str == hall && listed.Get("0.num_joined_members").Int() == 1
	})
	space := func(p *person, preset, name string, children ...string) string {
		t.Helper()
		id := p.create(J{"preset": preset, "name": name, "creation_content": J{"type": "m.space"}})
		for _, child := range children {
			if _, err := p.SetState(t.Context(), id, "m.space.child", child, J{"via": []string{maker.server()}}); err != nil {
				t.Fatal(err)
			}
		}
		return id
	}
	theirs := space(maker, "public_chat", "theirs", hall, maker.create(J{"preset": "private_chat", "name": "closed"}))
	top := space(guest, "private_chat", "top", theirs)
	tree, err := guest.Call(t.Context(), "GET", "/_matrix/client/v1/rooms/"+url.PathEscape(top)+"/hierarchy", nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, room := range tree.Get("rooms").Array() {
		names = append(names, room.Get("name").Str)
	}
	if !slices.Equal(names, []string{"top", "theirs", name}) {
		t.Errorf("the space shows %q: %s", names, tree)
	}
}

// forks: in rooms of every way to resolve conflicts, each side does what the other would not allow, while the other is away. Afterwards both have the
// same state, in which what a higher level did stands.
func forks(higher, lower *person, lowerAway, higherAway, together func()) {
	t := higher.t
	topic := func(p *person, roomID, text string) {
		p.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.topic", ""), J{"topic": text})
	}
	levels := func(roomID string, lowers int) {
		got := higher.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.power_levels", ""), nil)
		changed := got.Value().(map[string]any)
		changed["users"].(map[string]any)[lower.UserID] = lowers
		higher.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.power_levels", ""), changed)
	}
	rooms := map[string]string{}
	for _, version := range []string{"1", "2", "9", "11", "12"} { // as they were at first, with resolution 2, and with 2.1
		roomID := higher.create(J{"preset": "public_chat", "room_version": version})
		rooms[version] = roomID
		lower.joinVia(roomID, higher.server())
		higher.seesState(roomID, "m.room.member", lower.UserID, "membership", "join")
		levels(roomID, 60)
		topic(higher, roomID, "before")
		lower.seesState(roomID, "m.room.topic", "", "topic", "before")
	}
	lowerAway()
	last := map[string][2]string{}
	for version, roomID := range rooms {
		levels(roomID, 0)
		higher.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.name", ""), J{"name": "named by who may"})
		last[version] = [2]string{higher.say(roomID, "on this side")}
	}
	higherAway()
	for version, roomID := range rooms {
		topic(lower, roomID, "by who may no more")
		last[version] = [2]string{last[version][0], lower.say(roomID, "on that side")}
	}
	together()
	for version, roomID := range rooms {
		// News of each side brings the other what it missed.
		lower.has(roomID, higher.say(roomID, "together again"))
		higher.has(roomID, lower.say(roomID, "together again"))
		for _, p := range []*person{higher, lower} {
			p.eventually("what the other said in version "+version, func() bool {
				known := history(p, roomID)
				return known[last[version][0]] > 0 && (p == higher || known[last[version][1]] > 0)
			})
		}
		same := func() bool { return maps.Equal(higher.state(roomID), lower.state(roomID)) }
		higher.eventually("the same state on both sides in version "+version, same)
		if got := higher.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.topic", ""), nil).Get("topic").Str; got != "before" {
			t.Errorf("in version %s the topic is %q", version, got)
		}
	}
}

// outage: what one says while the other's server is away arrives when it is back.
func outage(speaker, absent *person, stop, run func()) {
	roomID := speaker.create(J{"preset": "public_chat"})
	absent.joinVia(roomID, speaker.server())
	speaker.seesState(roomID, "m.room.member", absent.UserID, "membership", "join")
	stop()
	var said []string
	for i := range 30 {
		said = append(said, speaker.say(roomID, fmt.Sprint("while you were out ", i)))
	}
	run()
	for _, eventID := range said {
		absent.has(roomID, eventID)
	}
}
