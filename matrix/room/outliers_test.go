package room

import "testing"

// TestWhatARoomRestsOnCannotBeUndone: the state with which a room was joined are outliers. That another server sends them as if they were
// new, or with a false account of the state before them, does the room no harm.
func TestWhatARoomRestsOnCannotBeUndone(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		before := len(b.entries)

		create := a.entries[0].Event
		for range 2 {
			if r := b.receive(create)[0]; r.Status != ResultKnown {
				t.Errorf("the create event that comes once more: %v %s", r.Status, r.Reason)
			}
		}
		for _, e := range a.entries[1:] {
			if e.Event.Type() != "m.room.power_levels" {
				continue
			}
			if version == "12" {
				continue // whose sender may do anything, in any state
			}
			// In a state in which its sender has not joined.
			r := b.okay(ReceivePDUAt{From: b.from(""), Origin: "elsewhere", PDU: pduOf(e.Event), StateBefore: []string{create.ID()}}).Results[0]
			if r.Status != ResultRejected {
				t.Errorf("the power levels with a false account: %v %s", r.Status, r.Reason)
			}
		}
		if len(b.entries) != before {
			t.Errorf("%d events were stored", len(b.entries)-before)
		}
		agree(t, a, b)
		b.accepts(a.set("@alice:test", "m.room.topic", "", `{"topic":"all is well"}`).Event)
		a.accepts(b.say("@bob:other", "it is").Event)
		agree(t, a, b)
	})
}
