package client_test

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// stick sends a sticky text, as Element Call does; more are further query parameters.
func stick(u *clienttest.User, roomID, text string, by time.Duration, more ...string) *clienttest.Answer {
	q := url.Values{"org.matrix.msc4354.sticky_duration_ms": {strconv.FormatInt(by.Milliseconds(), 10)}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return u.Put(clienttest.Room(roomID, "send", "org.matrix.msc4143.rtc.member", text)+"?"+q.Encode(), J{"msc4354_sticky_key": "DEV", "text": text})
}

// stuckIn are the texts of the sticky section of a room in an answer of /sync.
func stuckIn(a *clienttest.Answer, roomID string) []string {
	return textsOf(gjson.Parse(a.Raw).Get("rooms.join").Map()[roomID].Get("msc4354_sticky.events"))
}

func textsOf(events gjson.Result) []string {
	var texts []string
	for _, e := range events.Array() {
		texts = append(texts, e.Get("content.text").Str)
	}
	return texts
}

func TestStickyEventIsToldWhateverHappenedSince(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	room := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(room)
	since := bob.Get("/sync").OK().Text("next_batch")
	sent := stick(alice, room, "first", time.Minute).OK().Text("event_id")

	// In the timeline it comes like others, and nowhere else.
	a := bob.Get("/sync?since=" + since).OK()
	saidIs(t, stuckIn(a, room))
	e := gjson.Parse(a.Raw).Get("rooms.join").Map()[room].Get("timeline.events.0")
	if e.Get("event_id").Str != sent || e.Get("msc4354_sticky.duration_ms").Int() != 60_000 || e.Get("unsigned.msc4354_sticky_duration_ttl_ms").Int() != 60_000 {
		t.Errorf("the event is %s", e.Raw)
	}

	// Where much has happened it comes beside.
	for range 30 {
		alice.Say(room, "something else")
	}
	w.Clock.Advance(time.Second)
	a = bob.Get("/sync?since=" + since).OK()
	saidIs(t, stuckIn(a, room), "first")
	e = gjson.Parse(a.Raw).Get("rooms.join").Map()[room].Get("msc4354_sticky.events.0")
	if e.Get("unsigned.msc4354_sticky_duration_ttl_ms").Int() != 59_000 || e.Get("room_id").Exists() {
		t.Errorf("the event is %s", e.Raw)
	}
	saidIs(t, stuckIn(bob.Get("/sync?since="+a.Text("next_batch")).OK(), room))
	saidIs(t, stuckIn(bob.Get("/sync").OK(), room), "first")

	// A filter of the timeline does not hide it, nor does the history's visibility hide it from whoever comes later.
	saidIs(t, stuckIn(bob.Get("/sync?since="+since+"&filter="+url.QueryEscape(`{"room":{"timeline":{"types":["m.room.message"],"limit":100}}}`)).OK(), room), "first")
	alice.SetState(room, "m.room.history_visibility", "", J{"history_visibility": "joined"})
	before := carol.Get("/sync").OK().Text("next_batch")
	carol.Join(room)
	saidIs(t, stuckIn(carol.Get("/sync?since="+before).OK(), room), "first")

	// Nothing is told of whom one ignores.
	bob.Put("/user/"+bob.ID+"/account_data/m.ignored_user_list", J{"ignored_users": J{alice.ID: J{}}}).OK()
	saidIs(t, stuckIn(bob.Get("/sync").OK(), room))

	// It ends by itself.
	w.Clock.Advance(time.Minute)
	saidIs(t, stuckIn(carol.Get("/sync?since="+before).OK(), room))
	if e := carol.Get(clienttest.Room(room, "messages") + "?dir=b&limit=100").OK(); gjson.Get(e.Raw, `chunk.#(event_id=="`+sent+`").unsigned.msc4354_sticky_duration_ttl_ms`).Exists() {
		t.Errorf("%s", e.Raw)
	}
}

func TestRedactedEventDoesNotStick(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := alice.CreateRoom(J{})
	sent := stick(alice, room, "first", time.Hour).OK().Text("event_id")
	for range 20 {
		alice.Say(room, "something else")
	}
	saidIs(t, stuckIn(alice.Get("/sync").OK(), room), "first")
	alice.Put(clienttest.Room(room, "redact", sent, "t"), J{}).OK()
	saidIs(t, stuckIn(alice.Get("/sync").OK(), room))
	alice.Get(clienttest.Room(room, "event", sent)).OK().Lacks("msc4354_sticky").Lacks("unsigned.msc4354_sticky_duration_ttl_ms")
}

func TestStickyStateAndDelayedEvents(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := alice.CreateRoom(J{})
	put := func() string {
		return alice.Put(clienttest.Room(room, "state", "org.example.state", "")+"?org.matrix.msc4354.sticky_duration_ms=60000", J{"text": "state"}).OK().Text("event_id")
	}
	// Sticking longer is a reason to say the same again.
	if first, second := put(), put(); first == second {
		t.Error("a sticky state event was not sent again")
	}
	stick(alice, room, "left", time.Hour, "org.matrix.msc4140.delay", "1000").OK()
	w.Clock.Advance(time.Second)
	w.Delayed.SendDue(t.Context())
	for range 20 {
		alice.Say(room, "something else")
	}
	saidIs(t, stuckIn(alice.Get("/sync").OK(), room), "state", "state", "left")
}

func TestStickyDurations(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := alice.CreateRoom(J{})
	for _, wrong := range []string{"-1", "3600001", "1.5", "soon"} {
		alice.Put(clienttest.Room(room, "send", "m.x", wrong)+"?org.matrix.msc4354.sticky_duration_ms="+wrong, J{}).Refused(400, "M_INVALID_PARAM")
	}
	e := alice.Put(clienttest.Room(room, "send", "m.x", "none")+"?org.matrix.msc4354.sticky_duration_ms=0", J{}).OK().Text("event_id")
	alice.Get(clienttest.Room(room, "event", e)).OK().Lacks("msc4354_sticky")
	if !gjson.Get(alice.Get("/_matrix/client/versions").OK().Raw, `unstable_features.org\.matrix\.msc4354`).Bool() {
		t.Error("clients are not told of sticky events")
	}
	// A user who has too many is told when there is room again.
	for i := range 200 {
		stick(alice, room, strconv.Itoa(i), time.Minute).OK()
		w.Clock.Advance(time.Millisecond)
	}
	stick(alice, room, "too many", time.Minute).Refused(429, "M_LIMIT_EXCEEDED").Has("retry_after_ms", "59800")
	w.Clock.Advance(59800 * time.Millisecond)
	stick(alice, room, "now", time.Minute).OK()
}

func TestStickyEventsInSlidingSync(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	quiet, busy := alice.CreateRoom(J{"preset": "public_chat"}), alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(quiet)
	bob.Join(busy)
	stick(alice, quiet, "quiet 1", time.Hour).OK()
	stick(alice, quiet, "quiet 2", time.Hour).OK()
	stick(alice, busy, "busy", time.Hour).OK()
	s := &slider{User: bob, body: J{"lists": J{"all": J{"ranges": [][2]int{{0, 0}}, "timeline_limit": 1, "required_state": [][2]string{}}},
		"extensions": J{"org.matrix.msc4354.sticky_events": J{"enabled": true, "limit": 1}}}}
	x := func(a *clienttest.Answer) gjson.Result {
		return gjson.Parse(a.Raw).Get(`extensions.org\.matrix\.msc4354\.sticky_events`)
	}
	texts := func(a *clienttest.Answer, roomID string) []string {
		return textsOf(x(a).Get("rooms").Map()[roomID].Get("events"))
	}
	since := func(token string) {
		s.body["extensions"] = J{"org.matrix.msc4354.sticky_events": J{"enabled": true, "limit": 1, "since": token}}
	}

	// Also of a room outside of the window; the oldest first, no more than asked for.
	first := s.sync()
	saidIs(t, texts(first, quiet), "quiet 1")
	saidIs(t, texts(first, busy))
	// Without since the same comes again, also on a new connection.
	saidIs(t, texts(s.sync(), quiet), "quiet 1")
	since(x(first).Get("next_batch").Str)
	second := s.sync()
	saidIs(t, texts(second, quiet), "quiet 2")
	since(x(second).Get("next_batch").Str)
	third := s.sync()
	saidIs(t, texts(third, quiet))
	since(x(third).Get("next_batch").Str)
	if a := s.sync(); len(x(a).Get("rooms").Map()) != 0 {
		t.Errorf("%s", a.Raw)
	}

	// What is in a timeline of the answer is not told twice.
	stick(alice, busy, "busy again", time.Hour).OK()
	a := s.sync()
	saidIs(t, texts(a, busy))
	if got := slid(a, busy).Get("timeline.0.content.text").Str; got != "busy again" {
		t.Errorf("%s", a.Raw)
	}

	// Who comes into a room gets what sticks there, though it is older than since.
	late := alice.CreateRoom(J{"preset": "public_chat"})
	stick(alice, late, "late", time.Hour).OK()
	alice.Say(late, "something else")
	since(x(a).Get("next_batch").Str)
	since(x(s.sync()).Get("next_batch").Str)
	bob.Join(late)
	saidIs(t, texts(s.sync(), late), "late")
}
