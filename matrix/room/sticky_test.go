package room

import (
	"fmt"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

// stick sends an event that sticks for so many ms.
func (w *world) stick(userID, text string, ms int64) Reply {
	w.t.Helper()
	return w.ask(Propose{From: w.from(userID), Event: Proposal{Type: "m.room.message", Sender: userID, Content: []byte(`{"body":"` + text + `"}`), StickyMS: ms}})
}

func TestStickyEventsEndAndAreForgottenWithTheNext(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		w.create("@alice:test", `{"room_version":"`+version+`"}`)
		first := w.stick("@alice:test", "first", 1000).Entry
		if got, want := w.sticky[first.Seq], (Sticky{first.Seq, first.Event.ID(), "@alice:test", first.ReceivedTS + 1000, false}); got != want || len(w.sticky) != 1 {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if ms := event.StickyMS(first.Event.Redacted().JSON()); ms != 0 {
			t.Error("a redacted event sticks")
		}
		w.say("@alice:test", "does not stick")
		w.now += 1000
		second := w.stick("@alice:test", "second", 1000).Entry
		if _, kept := w.sticky[first.Seq]; kept || len(w.sticky) != 1 || w.sticky[second.Seq].Seq != second.Seq {
			t.Errorf("%+v", w.sticky)
		}
	})
}

func TestHowManyEventsStick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("@alice:test", `{"preset":"public_chat"}`)
	for i := range maxStickyOf {
		if r := w.stick("@alice:test", fmt.Sprint(i), event.MaxStickyMS); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if r := w.stick("@alice:test", "too many", event.MaxStickyMS); r.Err == nil || r.Err.Code != "M_LIMIT_EXCEEDED" {
		t.Errorf("%v", r.Err)
	}
	w.m = w.reload(uint64(len(w.entries)))
	if r := w.stick("@alice:test", "too many", event.MaxStickyMS); r.Err == nil || r.Err.Code != "M_LIMIT_EXCEEDED" {
		t.Errorf("after the room was loaded again: %v", r.Err)
	}
	w.okay(ChangeMembership{From: w.from("@bob:test"), Action: Join, Target: "@bob:test"})
	if r := w.stick("@bob:test", "another's", event.MaxStickyMS); r.Err != nil {
		t.Error(r.Err)
	}
	w.say("@alice:test", "does not stick")
}

// What other servers send sticks by the earlier of their clock and ours. What is soft-failed is told once its sender may speak again, but what a
// policy refuses is not.
func TestStickyEventsOfOtherServers(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newServer(t, "other")
	a.create("@alice:test", `{"preset":"public_chat"}`)
	b.join("@bob:other", a)
	tip := a.entries[len(a.entries)-1].Event.ID()
	auths := []string{a.current[powerLevelsTuple], a.current[memberTuple("@bob:other")]}
	n := 0
	sticky := func(ms int64) *event.Event {
		n++
		return crafted(t, a, b, n, event.Proto{Type: "m.room.message", Sender: "@bob:other", Content: []byte(`{"body":"x"}`), PrevEvents: []string{tip}, AuthEvents: auths, StickyMS: ms})
	}
	said := a.receive(sticky(60_000))[0].Entry
	if got := a.sticky[said.Seq]; got.EndsTS != min(said.Event.OriginServerTS(), said.ReceivedTS)+60_000 || got.SoftFailed {
		t.Errorf("%+v", got)
	}
	if wrong := a.receive(sticky(event.MaxStickyMS + 1))[0].Entry; a.sticky[wrong.Seq].Seq != 0 {
		t.Error("an event sticks for longer than it may")
	}

	a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Ban, Target: "@bob:other"})
	late := a.receive(sticky(60_000))[0]
	if late.Status != ResultSoftFailed || !a.sticky[late.Entry.Seq].SoftFailed {
		t.Fatalf("%v %+v", late.Status, a.sticky)
	}
	refused := sticky(60_000)
	a.now += 10
	w := a.okay(ReceivePDUs{From: a.from(""), Origin: "other", PDUs: []PDU{{EventID: refused.ID(), JSON: refused.JSON(), SoftFail: true}}}).Results[0]
	if a.sticky[w.Entry.Seq].Seq != 0 {
		t.Error("what a policy refuses sticks")
	}
	a.m = a.reload(uint64(len(a.entries)))
	a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Unban, Target: "@bob:other"})
	if !a.sticky[late.Entry.Seq].SoftFailed {
		t.Error("who is not in the room speaks")
	}
	b.join("@bob:other", a)
	if got := a.sticky[late.Entry.Seq]; got.SoftFailed || got.Seq != late.Entry.Seq {
		t.Errorf("%+v", got)
	}
	if a.entry(late.Entry.Seq).Status != SoftFailed {
		t.Error("it came into the timeline")
	}
}

// A server that comes into the room is to be sent what sticks there and is ours.
func TestServersThatLackWhatSticks(t *testing.T) {
	t.Parallel()
	a, b, c, d := newWorld(t), newServer(t, "b"), newServer(t, "c"), newServer(t, "d")
	a.create("@alice:test", `{"preset":"public_chat"}`)
	b.join("@bob:b", a)
	a.stick("@alice:test", "for a minute", 60_000)
	c.join("@carol:c", a)
	c.join("@carl:c", a)
	if !slices.Equal(a.lack, []string{"c"}) {
		t.Errorf("%v", a.lack)
	}
	a.now += 60_000
	d.join("@dave:d", a)
	if !slices.Equal(a.lack, []string{"c"}) {
		t.Errorf("%v", a.lack)
	}
}
