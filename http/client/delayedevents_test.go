package client_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/client/clienttest"
	brain "github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
)

const msc4140 = "/_matrix/client/unstable/org.matrix.msc4140"

// delay schedules a text in the newest form, and gives its delay_id.
func delay(u *clienttest.User, roomID, text string, by time.Duration) string {
	return u.Put(msc4140+clienttest.Room(roomID, "delayed_event", "m.room.message", text),
		J{"delay_ms": by.Milliseconds(), "content": J{"msgtype": "m.text", "body": text}}).OK().Text("delay_id")
}

func delayedPath(parts ...string) string {
	return msc4140 + clienttest.Path(append([]string{"delayed_events"}, parts...)...)
}

// said are the bodies of the room's messages, the newest first.
func said(u *clienttest.User, roomID string) []string {
	return u.Get(clienttest.Room(roomID, "messages") + "?dir=b&limit=100").OK().Texts(`chunk.#(type=="m.room.message")#.content.body`)
}

func saidIs(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("the messages are %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("the messages are %q, want %q", got, want)
		}
	}
}

func TestDelayedEventIsSentWhenItIsDue(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	began := w.Clock.Now().UnixMilli()
	late := delay(alice, room, "late", time.Hour)
	soon := delay(alice, room, "soon", time.Minute)

	list := alice.Get(delayedPath()).OK()
	saidIs(t, list.Texts("delayed_events.#.delay_id"), soon, late)
	list.Has("delayed_events.0.room_id", strconv.Quote(room)).Has("delayed_events.0.type", `"m.room.message"`).
		Has("delayed_events.0.delay_ms", "60000").Has("delayed_events.0.scheduled_at", strconv.FormatInt(began, 10)).
		Has("delayed_events.0.content", `{"body":"soon","msgtype":"m.text"}`).Lacks("delayed_events.0.state_key").Lacks("delayed_events.0.finalised_ts")
	bob.Get(delayedPath()).OK().Has("delayed_events", "[]")
	bob.Get(delayedPath(soon)).Refused(404, "M_NOT_FOUND")

	w.Clock.Advance(time.Minute - time.Millisecond)
	w.Delayed.SendDue(t.Context())
	saidIs(t, said(bob, room))
	w.Clock.Advance(time.Millisecond)
	w.Delayed.SendDue(t.Context())
	w.Delayed.SendDue(t.Context())
	saidIs(t, said(bob, room), "soon")
	w.Clock.Advance(time.Hour)
	w.Delayed.SendDue(t.Context())
	saidIs(t, said(bob, room), "late", "soon")

	done := alice.Get(delayedPath(soon)).OK()
	done.Has("finalised_ts", strconv.FormatInt(began+60_000, 10)).Lacks("error")
	event := done.Text("event_id")
	alice.Get(clienttest.Room(room, "event", event)).OK().Has(`unsigned.org\.matrix\.msc4140\.delay_id`, strconv.Quote(soon)).
		Has("origin_server_ts", strconv.FormatInt(began+60_000, 10)).Lacks("unsigned.transaction_id")
	bob.Get(clienttest.Room(room, "event", event)).OK().Lacks(`unsigned.org\.matrix\.msc4140\.delay_id`)
	alice.Get(delayedPath()).OK().Has("delayed_events", "[]")
}

func TestDelayedEventsOfEarlierProposals(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := alice.CreateRoom(J{})
	query := "?org.matrix.msc4140.delay="
	message := clienttest.Room(room, "send", "m.room.message", "t")
	state := clienttest.Room(room, "state", "org.matrix.msc3401.call.member", "_"+alice.ID+"_DEVICE_m.call")

	id := alice.Put(message+query+"1000", J{"body": "later"}).OK().Text("delay_id")
	alice.Put(message+query+"1000", J{"body": "later"}).OK().Has("delay_id", strconv.Quote(id))
	left := alice.Put(state+query+"8000", J{}).OK().Text("delay_id")
	alice.SetState(room, "org.matrix.msc3401.call.member", "_"+alice.ID+"_DEVICE_m.call", J{"in": true})
	list := alice.Get(delayedPath()).OK()
	list.Has("delayed_events.#", "2").Has("delayed_events.1.state_key", strconv.Quote("_"+alice.ID+"_DEVICE_m.call")).
		Has("delayed_events.1.delay", "8000").Has("delayed_events.1.running_since", list.At("delayed_events.1.scheduled_at").Raw)

	for range 5 {
		w.Clock.Advance(5 * time.Second)
		w.Delayed.SendDue(t.Context())
		w.Nobody().Post(delayedPath(left), J{"action": "restart"}).OK()
	}
	alice.Get(state).OK().Has("in", "true")
	w.Clock.Advance(8 * time.Second)
	w.Delayed.SendDue(t.Context())
	alice.Get(state).OK().Lacks("in")
	w.Nobody().Post(delayedPath(left), J{"action": "restart"}).Refused(404, "M_NOT_FOUND")

	for _, bad := range []string{"0", "-1", "x", "", "1.5"} {
		alice.Put(message+"2"+query+bad, J{}).Refused(400, "M_INVALID_PARAM")
	}
	alice.Put(message+"2"+query+"86400001", J{}).Refused(400, "M_UNKNOWN").
		Has(`org\.matrix\.msc4140\.errcode`, `"M_MAX_DELAY_EXCEEDED"`).Has(`org\.matrix\.msc4140\.max_delay`, "86400000")
	alice.Post(delayedPath(id), J{"action": "dance"}).Refused(400, "M_INVALID_PARAM")
	alice.Post(delayedPath(id), J{}).Refused(400, "M_INVALID_PARAM")
}

func TestDelayedEventIsManaged(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)

	now := delay(alice, room, "now", time.Hour)
	bob.Post(delayedPath(now, "send"), J{}).Refused(404, "M_NOT_FOUND")
	bob.Post(delayedPath(now, "cancel"), J{}).Refused(404, "M_NOT_FOUND")
	alice.Post(delayedPath(now, "send"), J{}).OK()
	alice.Post(delayedPath(now, "send"), J{}).OK()
	saidIs(t, said(bob, room), "now")
	alice.Post(delayedPath(now, "cancel"), J{}).Refused(409, "M_UNKNOWN")
	alice.Post(delayedPath(now, "restart"), J{}).Refused(404, "M_NOT_FOUND")

	never := delay(alice, room, "never", time.Minute)
	w.Nobody().Post(delayedPath(never, "cancel"), nil).OK()
	alice.Post(delayedPath(never, "cancel"), J{}).OK()
	alice.Post(delayedPath(never, "send"), J{}).Refused(409, "M_UNKNOWN")
	alice.Post(delayedPath(never, "restart"), J{}).Refused(409, "M_UNKNOWN")
	alice.Get(delayedPath(never)).OK().Lacks("event_id").Lacks("error").Has("finalised_ts", strconv.FormatInt(w.Clock.Now().UnixMilli(), 10))
	w.Clock.Advance(time.Hour)
	w.Delayed.SendDue(t.Context())
	saidIs(t, said(bob, room), "now")

	for _, action := range []string{"send", "cancel", "restart"} {
		w.Nobody().Post(delayedPath("nothing", action), J{}).Refused(404, "M_NOT_FOUND")
	}
	w.Nobody().Get(delayedPath()).Refused(401, "M_MISSING_TOKEN")
}

// Between the room and whoever waits for its answer an event is sent already.
func TestDelayedEventIsNotScheduledOnceItIsInTheRoom(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	id := delay(alice, roomID, "hello", time.Hour)
	begun, err := cluster.Ask[*messages.DelayedEventBegun](t.Context(), w.Node, cluster.Identity{Kind: cluster.KindUser, ID: alice.ID},
		&messages.BeginDelayedEvent{DelayId: id, ByHand: true})
	if err != nil {
		t.Fatal(err)
	}
	alice.Get(delayedPath()).OK().Has("delayed_events.#", "1")
	alice.Post(delayedPath(id, "restart"), J{}).Refused(409, "M_UNKNOWN")
	sent, err := cluster.Ask[*messages.EventSent](t.Context(), w.Node, cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, &messages.SendEvent{
		By:    &messages.Requester{UserId: alice.ID, DeviceId: brain.DelayedDevice},
		Event: &messages.Proposal{Type: begun.Type, Sender: alice.ID, Content: begun.Content}, TxnId: id})
	if err != nil {
		t.Fatal(err)
	}
	alice.Get(delayedPath()).OK().Has("delayed_events.#", "0")
	alice.Get(delayedPath(id)).OK().Has("event_id", strconv.Quote(sent.EventId)).Has("finalised_ts", strconv.FormatInt(w.Clock.Now().UnixMilli(), 10))
	alice.Post(delayedPath(id, "restart"), J{}).Refused(404, "M_NOT_FOUND")
	alice.Post(delayedPath(id, "cancel"), J{}).Refused(409, "M_UNKNOWN")
	alice.Post(delayedPath(id, "send"), J{}).OK()
	alice.Get(delayedPath(id)).OK().Has("event_id", strconv.Quote(sent.EventId))
	saidIs(t, said(alice, roomID), "hello")
}

// What a user may not do is found out when it is time.
func TestDelayedEventIsRefused(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	topic := func(by time.Duration, txn string) string {
		return bob.Put(msc4140+clienttest.Room(room, "delayed_event", "m.room.topic", txn),
			J{"delay_ms": by.Milliseconds(), "state_key": "", "content": J{"topic": txn}}).OK().Text("delay_id")
	}
	refused := topic(time.Second, "too early")
	w.Clock.Advance(time.Second)
	w.Delayed.SendDue(t.Context())
	bob.Get(delayedPath(refused)).OK().Has("error.errcode", `"M_FORBIDDEN"`).Lacks("event_id")
	bob.Post(delayedPath(refused, "send"), J{}).Refused(409, "M_UNKNOWN")
	bob.Post(delayedPath(refused, "cancel"), J{}).OK()

	allowed := topic(time.Minute, "in time")
	bob.Post(delayedPath(allowed, "send"), J{}).Refused(403, "M_FORBIDDEN")
	bob.Get(delayedPath(allowed)).OK().Lacks("finalised_ts").Lacks("error")
	alice.SetState(room, "m.room.power_levels", "", J{"users": J{bob.ID: 50}, "state_default": 50})
	w.Clock.Advance(time.Minute)
	w.Delayed.SendDue(t.Context())
	alice.Get(clienttest.Room(room, "state", "m.room.topic", "")).OK().Has("topic", `"in time"`)

	left := topic(time.Minute, "gone")
	bob.Leave(room)
	w.Clock.Advance(time.Minute)
	w.Delayed.SendDue(t.Context())
	bob.Get(delayedPath(left)).OK().Has("error.errcode", `"M_FORBIDDEN"`)

	invite := alice.Put(msc4140+clienttest.Room(room, "delayed_event", "m.room.member", "i"),
		J{"delay_ms": 1000, "state_key": bob.ID, "content": J{"membership": "invite"}}).OK().Text("delay_id")
	bob.Put("/user/"+bob.ID+"/account_data/m.invite_permission_config", J{"default_action": "block"}).OK()
	w.Clock.Advance(time.Second)
	w.Delayed.SendDue(t.Context())
	alice.Get(delayedPath(invite)).OK().Has("error.errcode", `"M_INVITE_BLOCKED"`)
}

func TestDelayedEventsAreBounded(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, eve := w.Register("alice"), w.Register("eve")
	room := alice.CreateRoom(J{})
	path := func(txn string) string {
		return msc4140 + clienttest.Room(room, "delayed_event", "m.room.message", txn)
	}
	first := delay(alice, room, "0", 10*time.Second)
	for i := 1; i < 5; i++ {
		delay(alice, room, strconv.Itoa(i), time.Minute)
	}
	a := alice.Put(path("5"), J{"delay_ms": 1000, "content": J{}}).Refused(429, "M_LIMIT_EXCEEDED")
	if got := a.Header.Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After is %q", got)
	}
	if again := delay(alice, room, "0", 10*time.Second); again != first {
		t.Errorf("a repeated request scheduled %s besides %s", again, first)
	}
	alice.Post(delayedPath(first, "cancel"), J{}).OK()
	delay(alice, room, "5", time.Second)

	eve.Put(path("1"), J{"delay_ms": 1000, "content": J{}}).Refused(403, "M_FORBIDDEN")
	for name, c := range map[string]struct {
		body J
		code string
	}{
		"no delay":              {J{"content": J{}}, "M_MISSING_PARAM"},
		"no content":            {J{"delay_ms": 1}, "M_MISSING_PARAM"},
		"a list":                {J{"delay_ms": 1, "content": []int{}}, "M_BAD_JSON"},
		"no time":               {J{"delay_ms": 0, "content": J{}}, "M_INVALID_PARAM"},
		"the past":              {J{"delay_ms": -1, "content": J{}}, "M_INVALID_PARAM"},
		"text":                  {J{"delay_ms": "1", "content": J{}}, "M_BAD_JSON"},
		"no redacted event":     {J{"delay_ms": 1, "content": J{}}, "M_BAD_JSON"},
		"a number as state key": {J{"delay_ms": 1, "content": J{}, "state_key": 1}, "M_BAD_JSON"},
	} {
		p := path("x")
		if name == "no redacted event" {
			p = msc4140 + clienttest.Room(room, "delayed_event", "m.room.redaction", "x")
		}
		if got := alice.Put(p, c.body).Refused(400, c.code); t.Failed() {
			t.Fatalf("%s: %s", name, got.Raw)
		}
	}
	alice.Put(path("x"), J{"delay_ms": 86400001, "content": J{}}).Refused(403, "M_FORBIDDEN")
}
