package destination_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/destination"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// nop is a dispatcher that nobody runs.
func nop() *destination.Dispatcher {
	return destination.NewDispatcher(destination.DispatcherOptions{})
}

func TestEDUsThatMustArriveDoOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var rows []persistence.Mutation
	for n := range uint64(130) {
		rows = append(rows, schema.OutboundEDUs.Put(schema.OutboundEDU{Destination: remote, N: n, Type: "m.direct_to_device", Content: fmt.Appendf(nil, `{"n":%d}`, n)}))
	}
	w.commit(&messages.EduNotice{Destinations: []string{remote}}, rows...)
	first := w.next()
	w.Restart()
	w.register()
	w.tend(w.keeper())
	again := w.next()
	if again.id != first.id || again.body != first.body || len(gjson.Get(again.body, "edus").Array()) != 100 {
		t.Fatalf("after a restart: %s %s", again.id, again.body)
	}
	again.answer(nil)
	second := w.next()
	edus := gjson.Get(second.body, "edus").Array()
	if len(edus) != 30 || edus[0].Get("content.n").Int() != 100 || edus[0].Get("edu_type").Str != "m.direct_to_device" {
		t.Fatalf("then %s", second.body)
	}
	second.answer(nil)
	w.await("the EDUs are gone", func() bool { return count(w, schema.OutboundEDUs) == 0 })
}

func TestDeviceChangesCarryTheKeysOfTheMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Write(schema.Devices.Put(schema.Device{UserID: "@us:test", DeviceID: "D", DisplayName: "phone", Keys: []byte(`{"device_id":"D"}`)}),
		schema.CrossSigningKeys.Put(schema.CrossSigningKey{UserID: "@us:test", Usage: "self_signing", JSON: []byte(`{"usage":["self_signing"]}`)}))
	w.commit(&messages.EduNotice{Destinations: []string{remote}},
		schema.OutboundEDUs.Put(schema.OutboundEDU{Destination: remote, N: 0, Type: "m.device_list_update", Content: []byte(`{"user_id":"@us:test","device_id":"D","prev_id":[7]}`)}),
		schema.OutboundEDUs.Put(schema.OutboundEDU{Destination: remote, N: 1, Type: "m.device_list_update", Content: []byte(`{"user_id":"@us:test","device_id":"GONE"}`)}),
		schema.OutboundEDUs.Put(schema.OutboundEDU{Destination: remote, N: 2, Type: "m.signing_key_update", Content: []byte(`{"user_id":"@us:test"}`)}))
	s := w.next()
	s.answer(nil)
	edus := gjson.Get(s.body, "edus.#.content").Array()
	if len(edus) != 3 {
		t.Fatal(s.body)
	}
	if d := edus[0]; d.Get("keys.device_id").Str != "D" || d.Get("device_display_name").Str != "phone" || d.Get("prev_id.0").Int() != 7 || d.Get("stream_id").Int() == 0 || d.Get("deleted").Bool() {
		t.Errorf("of a device: %s", d.Raw)
	}
	if d := edus[1]; !d.Get("deleted").Bool() || d.Get("keys").Exists() {
		t.Errorf("of a device that is gone: %s", d.Raw)
	}
	if d := edus[2]; d.Get("self_signing_key.usage.0").Str != "self_signing" || d.Get("user_id").Str != "@us:test" {
		t.Errorf("of cross-signing keys: %s", d.Raw)
	}
}

func TestWhatMayBeLostIsMergedAndGetsStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	w.event("!a")
	first := w.next()
	typing := func(users ...string) {
		w.dispatcher.Typing(&messages.RoomNotice{RoomId: "!a", TypingChanged: true, Typing: users})
	}
	receipt := func(user, kind, thread, event string) {
		w.commit(&messages.RoomNotice{RoomId: "!a", Receipts: []*messages.ReceiptUpdate{{UserId: user, ReceiptType: kind, ThreadId: thread, EventId: event, Ts: 5}}})
	}
	typing("@us:test", "@them:"+remote)
	typing()
	receipt("@us:test", "m.read", "", "$1")
	receipt("@us:test", "m.read", "", "$2")
	receipt("@us:test", "m.read", "$thread", "$3")
	receipt("@us:test", "m.read.private", "", "$4")
	receipt("@them:"+remote, "m.read", "", "$5")
	w.commit(&messages.PresenceNotice{UserId: "@us:test", Rooms: []string{"!a"}}, schema.Presences.Put(schema.Presence{UserID: "@us:test", State: "online"}))
	w.await("they wait", func() bool { return w.operate(messages.OperateDestination_DESCRIBE).QueuedEphemeral == 4 })
	first.answer(nil)
	s := w.next()
	s.answer(nil)
	edus := gjson.Get(s.body, "edus").Array()
	events := map[string]string{}
	for _, e := range edus {
		content := e.Get("content")
		switch e.Get("edu_type").Str {
		case "m.typing":
			if content.Get("typing").Bool() || content.Get("user_id").Str != "@us:test" || content.Get("room_id").Str != "!a" {
				t.Errorf("typing: %s", content.Raw)
			}
		case "m.receipt":
			r := content.Get(`!a.m\.read.@us:test`)
			events[r.Get("event_ids.0").Str] = r.Get("data.thread_id").Str
		case "m.presence":
			if content.Get("push.0.user_id").Str != "@us:test" || !content.Get("push.0.currently_active").Bool() {
				t.Errorf("presence: %s", content.Raw)
			}
		}
	}
	if len(edus) != 4 || len(events) != 2 || events["$3"] != "$thread" {
		t.Fatalf("sent %v: %s", events, s.body)
	}
	w.rest()

	// Who goes on typing is told again.
	typing("@us:test")
	w.next().answer(nil)
	w.rest()
	w.dispatcher.Typing(&messages.RoomNotice{RoomId: "!a", TypingAgain: []string{"@us:test"}})
	again := w.next()
	again.answer(nil)
	if e := gjson.Get(again.body, "edus.0"); e.Get("edu_type").Str != "m.typing" || !e.Get("content.typing").Bool() || e.Get("content.user_id").Str != "@us:test" {
		t.Errorf("who goes on typing: %s", again.body)
	}
	w.rest()
	typing()
	w.next().answer(nil)
	w.rest()

	w.event("!a")
	first = w.next()
	typing("@us:test")
	w.await("it waits", func() bool { return w.operate(messages.OperateDestination_DESCRIBE).QueuedEphemeral == 1 })
	w.Clock.Advance(time.Minute)
	first.answer(nil)
	w.rest()
	last := w.event("!a")
	s = w.next()
	s.answer(nil)
	if fmt.Sprint(s.events()) != "["+last+"]" || gjson.Get(s.body, "edus").Exists() {
		t.Fatalf("what is stale is sent: %s", s.body)
	}
}
