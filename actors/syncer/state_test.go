package syncer_test

import (
	"slices"
	"testing"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/syncer"
)

const (
	stateAfter    = "state_after"
	stateUnstable = "org.matrix.msc4222.state_after"
)

// contents are the contents of the state events of a type in a part of a joined room.
func contents(a *actortest.Answer, roomID, part, typ string) []string {
	found := []string{}
	for _, e := range a.Room("join", roomID, part).Get("events").Array() {
		if e.Get("type").Str == typ {
			found = append(found, e.Get("content").Raw)
		}
	}
	return found
}

// A topic changes in the gap, and twice in the timeline: the state is that of the timeline's start, and with state_after
// that of its end.
func TestStateIsThatOfTheTimelinesStart(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	roomID := alice.Create(J{})
	alice.SetState(roomID, "m.room.topic", "", J{"topic": "known"})
	alice.Sync()
	topic := func(s string) { alice.SetState(roomID, "m.room.topic", "", J{"topic": s}) }
	topic("gap")
	alice.Say(roomID, "1")
	topic("first")
	topic("second")

	a := alice.Look(w.Limit(3))
	actortest.Same(t, "state", contents(a, roomID, "state", "m.room.topic"), `{"topic":"gap"}`)
	actortest.Same(t, "state", a.State(roomID, "state"), "m.room.topic|")
	a = alice.Look(w.Limit(3), actortest.StateAfter)
	actortest.Same(t, "state after", contents(a, roomID, stateAfter, "m.room.topic"), `{"topic":"second"}`)
	if a.Room("join", roomID, "state").Exists() {
		t.Errorf("state beside state_after: %s", a.Raw)
	}
	unstable := alice.Look(w.Limit(3), func(r *syncer.Request) { r.UnstableStateAfter = true })
	actortest.Same(t, "state after", unstable.State(roomID, stateUnstable), "m.room.topic|")
	if unstable.Room("join", roomID, "state").Exists() || unstable.Room("join", roomID, stateAfter).Exists() {
		t.Errorf("one spelling was asked for: %s", unstable.Raw)
	}

	// Without a gap the timeline says it all; state_after says it again.
	a = alice.Look()
	actortest.Same(t, "state without a gap", a.State(roomID, "state"))
	a = alice.Look(actortest.StateAfter)
	actortest.Same(t, "state after without a gap", contents(a, roomID, stateAfter, "m.room.topic"), `{"topic":"second"}`)
}

func TestAMemberThatRenamesBeforeInAndAfterTheGap(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	name := func(s string) {
		bob.SetState(roomID, "m.room.member", bob.User, J{"membership": "join", "displayname": s})
	}
	name("before")
	alice.Sync()
	name("within")
	alice.Say(roomID, "1")
	name("shown")
	a := alice.Sync(w.Limit(2))
	actortest.Same(t, "state", contents(a, roomID, "state", "m.room.member"), `{"displayname":"within","membership":"join"}`)
	if prev := a.Room("join", roomID, "timeline.events.1.unsigned.prev_content.displayname").Str; prev != "within" {
		t.Errorf("prev_content: %q in %s", prev, a.Raw)
	}
}

// What the filter hides from the timeline is in the state all the same, for no change of state may be lost.
func TestStateHiddenFromTheTimelineIsInTheState(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	roomID := alice.Create(J{})
	alice.Sync()
	alice.Say(roomID, "1")
	alice.SetState(roomID, "m.room.topic", "", J{"topic": "boats"})
	alice.Say(roomID, "2")
	f := w.Filter(J{"room": J{"timeline": J{"types": []string{"m.room.message"}}}})
	actortest.Same(t, "state", alice.Look(f).State(roomID, "state"), "m.room.topic|")
	// Also if nothing of the timeline is left.
	none := w.Filter(J{"room": J{"timeline": J{"types": []string{}}}})
	a := alice.Look(none)
	actortest.Same(t, "state", a.State(roomID, "state"), "m.room.topic|")
	actortest.Same(t, "timeline", a.Timeline(roomID))
}

func TestFullState(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	quiet, lively := alice.Create(J{"name": "Quiet"}), alice.Create(J{"name": "Lively"})
	alice.Sync()
	said := alice.Say(lively, "1")
	a := alice.Look(actortest.FullState)
	for _, roomID := range []string{quiet, lively} {
		for _, tuple := range []string{"m.room.create|", "m.room.member|@alice:test", "m.room.name|", "m.room.power_levels|"} {
			if !slices.Contains(a.State(roomID, "state"), tuple) {
				t.Errorf("no %s in the state of a room in %s", tuple, a.Raw)
			}
		}
	}
	actortest.Same(t, "the quiet timeline", a.Timeline(quiet))
	actortest.Same(t, "the lively timeline", a.Timeline(lively), said)
	// It answers at once, even if there is nothing new.
	alice.Sync()
	if a = alice.Look(actortest.FullState, actortest.Wait(time1h)); !slices.Contains(a.State(quiet, "state"), "m.room.create|") {
		t.Errorf("no state in %s", a.Raw)
	}
}
