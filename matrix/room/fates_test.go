package room

import (
	"fmt"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

// crafted is an event of a user elsewhere that follows these events, authorised by these.
func crafted(t *testing.T, b *world, server *world, n int, p event.Proto) *event.Event {
	t.Helper()
	p.RoomID, p.Depth, p.OriginServerTS, p.EventIDRandom = b.o.RoomID, int64(100+n), b.now, fmt.Sprint("crafted", n)
	e, err := event.Build(p, b.m.version, server.o.ServerName, server.o.Key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// HARD_PLACES.md 20: rejected, soft-failed and unknown are three fates, and what builds on such events shares theirs only as the rules say.
func TestRejectedSoftFailedAndWhatFollows(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		a.set("@alice:test", "m.room.topic", "", `{"topic":"before"}`)
		tip := a.entries[len(a.entries)-1].Event.ID()
		auths := []string{a.current[powerLevelsTuple], a.current[memberTuple("@bob:other")]}
		if !a.m.version.RoomIDFromCreate {
			auths = append(auths, a.current[createTuple])
		}
		topic := ""
		message := func(n int, prev ...string) *event.Event {
			return crafted(t, a, b, n, event.Proto{Type: "m.room.message", Sender: "@bob:other", Content: []byte(`{"body":"x"}`), PrevEvents: prev, AuthEvents: auths})
		}
		fate := func(e *event.Event, want ResultStatus) *Entry {
			t.Helper()
			r := a.receive(e)[0]
			if r.Status != want {
				t.Fatalf("%s: %v %s, want %v", e.JSON(), r.Status, r.Reason, want)
			}
			return r.Entry
		}

		// Rejected: it is kept, changes nothing, is nothing that an event of ours follows, and what is authorised by it is rejected.
		rejected := crafted(t, a, b, 1, event.Proto{Type: "m.room.topic", StateKey: &topic, Sender: "@bob:other", Content: []byte(`{"topic":"no"}`),
			PrevEvents: []string{tip}, AuthEvents: auths})
		entry := fate(rejected, ResultRejected)
		if a.summary.Topic != "before" || entry.StateAfter != entry.StateBefore || a.byID(rejected.ID()) == nil {
			t.Errorf("the topic is %q; %+v", a.summary.Topic, entry)
		}
		levels := crafted(t, a, b, 2, event.Proto{Type: "m.room.power_levels", StateKey: &topic, Sender: "@bob:other", Content: []byte(`{"users":{}}`),
			PrevEvents: []string{tip}, AuthEvents: auths})
		fate(levels, ResultRejected)
		byRejected := append([]string{levels.ID()}, auths[1:]...)
		fate(crafted(t, a, b, 3, event.Proto{Type: "m.room.message", Sender: "@bob:other", Content: []byte(`{}`), PrevEvents: []string{tip}, AuthEvents: byRejected}), ResultRejected)
		// What follows it is good: the state before is that before the rejected event.
		after := fate(message(4, rejected.ID()), ResultAccepted)
		if after.StateBefore != entry.StateBefore {
			t.Error("a rejected event changes the state of what follows it")
		}
		if fate(rejected, ResultKnown).Status != Rejected {
			t.Error("it is no longer rejected")
		}

		// Soft-failed: allowed by the state before it, and not by the state now.
		kick := a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Ban, Target: "@bob:other"}).Entry
		extremities := len(a.m.Extremities())
		failed := fate(message(5, tip), ResultSoftFailed)
		if len(a.m.Extremities()) != extremities || a.m.Extremities()[0].EventID != kick.Event.ID() {
			t.Errorf("a soft-failed event is an extremity: %v", a.m.Extremities())
		}
		// What follows it is worked out with it, and soft-fails for itself, not for what it follows.
		if next := fate(message(6, failed.Event.ID()), ResultSoftFailed); next.StateBefore != failed.StateAfter {
			t.Error("what follows a soft-failed event has another state before it")
		}
		// An event of one who may speak now brings it into the room, without the right to be seen.
		reply := crafted(t, a, a, 7, event.Proto{Type: "m.room.message", Sender: "@alice:test", Content: []byte(`{}`), PrevEvents: []string{failed.Event.ID(), kick.Event.ID()},
			AuthEvents: append([]string{a.current[memberTuple("@alice:test")]}, append(auths[:1:1], auths[2:]...)...)})
		fate(reply, ResultAccepted)
		if a.current[memberTuple("@bob:other")] != kick.Event.ID() || a.byID(failed.Event.ID()).Status != SoftFailed {
			t.Error("what follows a soft-failed event undoes the ban")
		}
		// Unknown: nothing is kept.
		lost := message(8, "$nobody")
		fate(lost, ResultMissing)
		if a.byID(lost.ID()) != nil {
			t.Error("an event that cannot be placed is kept")
		}
	})
}

// An event that follows others only through soft-failed or rejected ones follows them all the same: none of those stays an extremity.
func TestFollowingThroughEventsThatNobodySees(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		tip := a.entries[len(a.entries)-1].Event.ID()
		auths := []string{a.current[powerLevelsTuple], a.current[memberTuple("@bob:other")]}
		if !a.m.version.RoomIDFromCreate {
			auths = append(auths, a.current[createTuple])
		}
		n := 0
		send := func(typ string, want ResultStatus, prev ...string) string {
			t.Helper()
			n++
			e := crafted(t, a, b, n, event.Proto{Type: typ, Sender: "@bob:other", Content: []byte(`{"body":"x"}`), PrevEvents: prev, AuthEvents: auths})
			if r := a.receive(e)[0]; r.Status != want {
				t.Fatalf("%s: %v %s, want %v", e.JSON(), r.Status, r.Reason, want)
			}
			return e.ID()
		}
		extremities := func(want ...string) {
			t.Helper()
			slices.Sort(want)
			if got := ends(a); !slices.Equal(got, want) {
				t.Errorf("the extremities are %v, want %v", got, want)
			}
		}
		users := ""
		if !a.m.version.RoomIDFromCreate {
			users = `"users":{"@alice:test":100},`
		}
		levels := a.set("@alice:test", "m.room.power_levels", "", `{`+users+`"events":{"forbidden":50,"m.room.power_levels":100}}`).Event.ID()
		said := send("m.room.message", ResultAccepted, tip)
		extremities(levels, said)
		failed := send("forbidden", ResultSoftFailed, send("forbidden", ResultSoftFailed, said))
		extremities(levels, said)
		next := send("m.room.message", ResultAccepted, failed, levels)
		extremities(next)
		rejected := crafted(t, a, b, 90, event.Proto{Type: "m.room.message", Sender: "@stranger:other", Content: []byte(`{}`), PrevEvents: []string{next}, AuthEvents: auths[:1]})
		if r := a.receive(rejected)[0]; r.Status != ResultRejected {
			t.Fatalf("%v %s", r.Status, r.Reason)
		}
		extremities(next)
		extremities(send("m.room.message", ResultAccepted, rejected.ID()))
	})
}

// HARD_PLACES.md 21: an outlier has no state and no place; it fills no gap by being known, and gets its place when it comes for itself.
func TestOutliersGetTheirPlaceWhenTheyCome(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		topic := a.set("@alice:test", "m.room.topic", "", `{"topic":"new"}`)
		next := a.say("@alice:test", "next")
		b.outliersOf(a, topic.Event.ID())
		if b.summary.Topic != "" || !b.byID(topic.Event.ID()).outlier() {
			t.Fatal("an outlier changes the room")
		}
		if r := b.receive(next.Event)[0]; r.Status != ResultMissing || len(r.MissingPrev) != 1 || r.MissingPrev[0] != topic.Event.ID() {
			t.Fatalf("a known outlier counts as a previous event: %+v", r)
		}
		b.accepts(topic.Event, next.Event)
		placed := b.byID(topic.Event.ID())
		if b.summary.Topic != "new" || placed.outlier() || placed.Status != Accepted {
			t.Errorf("it did not get its place: %+v", placed)
		}
		if r := b.receive(topic.Event)[0]; r.Status != ResultKnown {
			t.Errorf("again: %+v", r)
		}
		agree(t, a, b)
	})
}
