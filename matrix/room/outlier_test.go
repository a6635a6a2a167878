package room

import (
	"slices"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

// TestOutliersComeInAnyOrder: the room takes events after those of them that authorise them, and answers in the order of the request.
func TestOutliersComeInAnyOrder(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		a.set("@alice:test", "m.room.power_levels", "", `{"users":`+map[bool]string{true: `{}`, false: `{"@alice:test":100}`}[version == "12"]+`,"invite":0}`)
		a.set("@alice:test", "m.room.join_rules", "", `{"join_rule":"invite"}`)
		a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Invite, Target: "@bob:test"})
		bob := a.okay(ChangeMembership{From: a.from("@bob:test"), Action: Join, Target: "@bob:test"}).Entry
		b.meet(a)
		request := AddOutliers{From: b.from(""), Version: version, PDUs: []PDU{{EventID: "$nothing", JSON: []byte(`{}`)}}}
		for _, e := range slices.Backward(a.chain(bob.Event.ID(), a.entries[0].Event.ID())) {
			request.PDUs = append(request.PDUs, pduOf(e.Event))
		}
		results := b.okay(request).Results
		if len(results) != len(request.PDUs) || results[0].Status != ResultRejected {
			t.Fatalf("%d results, the first is %+v", len(results), results[0])
		}
		for i, r := range results[1:] {
			if r.Status != ResultAccepted || r.EventID != request.PDUs[i+1].EventID {
				t.Errorf("%d: %+v", i, r)
			}
		}
		request.Ticket = b.from("").Ticket
		request.PDUs = request.PDUs[1:2] // the last of all, alone
		if r := b.okay(request).Results; len(r) != 1 || r[0].Status != ResultKnown {
			t.Errorf("again: %+v", r)
		}
	})
}

// TestOutliersInARing: events that authorise each other, or want what nobody gives, are missing something, and the rest is taken.
func TestOutliersInARing(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newServer(t, "other")
	a.create("@alice:test", `{"preset":"public_chat","room_version":"2"}`) // whose ids a server chooses
	b.meet(a)
	first := a.entries[0].Event
	ring := func(id, cites string) *event.Event {
		key := id
		e, err := event.Build(event.Proto{Type: "x", StateKey: &key, Sender: "@alice:test", RoomID: a.o.RoomID, Content: []byte(`{}`), EventIDRandom: id,
			PrevEvents: []string{first.ID()}, AuthEvents: []string{cites}, Depth: 5, OriginServerTS: a.now}, first.Version(), "test", a.o.Key)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	one, two := ring("one", "$two:test"), ring("two", "$one:test")
	results := b.okay(AddOutliers{From: b.from(""), Version: "2", PDUs: []PDU{pduOf(one), pduOf(two), pduOf(first)}}).Results
	if results[0].Status != ResultMissing || results[1].Status != ResultMissing || results[2].Status != ResultAccepted {
		t.Errorf("%+v", results)
	}
}
