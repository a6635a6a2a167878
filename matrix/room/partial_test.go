package room

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// joinPartially is join by a handshake that leaves the members out.
func (w *world) joinPartially(userID string, through *world) *Entry {
	w.t.Helper()
	w.meet(through)
	made := through.okay(MakeMembership{From: through.from(""), Action: Join, Target: userID}).Built
	sent := through.okay(SendMembership{From: through.from(""), Origin: w.o.ServerName, PDU: pduOf(w.complete(made)), Action: Join})
	in := SeedRoom{From: w.from(""), Version: through.m.Version(), Join: pduOf(sent.Entry.Event), Partial: true, Origin: through.o.ServerName}
	ids := sent.Entry.Event.AuthEvents()
	for _, e := range through.stateAt(through.entry(sent.Entry.Seq).StateBefore) {
		if e.Event.Type() != "m.room.member" {
			in.StateBefore = append(in.StateBefore, e.Event.ID())
		}
	}
	for name, row := range through.servers {
		if row.Joined > 0 {
			in.Servers = append(in.Servers, name)
		}
	}
	slices.Sort(in.Servers)
	w.outliersOf(through, append(ids, in.StateBefore...)...)
	return w.okay(in).Entry
}

// hears takes in an event of the other server, with what authorises it.
func (w *world) hears(from *world, e *Entry) {
	w.t.Helper()
	w.outliersOf(from, e.Event.AuthEvents()...)
	w.accepts(e.Event)
}

// tell has the other server tell the whole states that are wanted.
func (w *world) tell(through *world) {
	w.t.Helper()
	for w.m.Partial() != nil {
		for _, point := range w.m.Partial().Points {
			if r := w.tellAt(through, point.EventID); r.Status != ResultAccepted && r.Status != ResultKnown {
				w.t.Fatalf("the state before %s: %+v", point.EventID, r)
			}
		}
		w.okay(BecomeWhole{w.from("")})
	}
}

func (w *world) tellAt(through *world, eventID string) Result {
	w.t.Helper()
	var ids []string
	for _, e := range through.stateAt(through.byID(eventID).StateBefore) {
		ids = append(ids, e.Event.ID())
	}
	w.outliersOf(through, ids...)
	if r := through.tellHalf(w, eventID); r.Status != ResultAccepted {
		return r
	}
	return w.okay(TellState{From: w.from(""), EventID: eventID, State: ids}).Results[0]
}

// tellHalf tells the other world the first part of the state before the event.
func (w *world) tellHalf(to *world, eventID string) Result {
	w.t.Helper()
	var ids []string
	for _, e := range w.stateAt(w.byID(eventID).StateBefore) {
		ids = append(ids, e.Event.ID())
	}
	ids = ids[:len(ids)/2]
	to.outliersOf(w, ids...)
	return to.okay(TellState{From: to.from(""), EventID: eventID, State: ids, First: true, More: true}).Results[0]
}

// crowd is a room with members on two servers.
func crowd(t *testing.T, version string) (a, b *world) {
	a, b = newWorld(t), newServer(t, "other")
	a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`","name":"Square"}`)
	for i := range 20 {
		userID := fmt.Sprintf("@user%d:test", i)
		a.okay(ChangeMembership{From: a.from(userID), Action: Join, Target: userID})
	}
	b.join("@bob:other", a)
	a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Ban, Target: "@mallory:third"})
	return a, b
}

// TestPartialJoin: a room is joined without its members, talks both ways, and is the same as on the other servers when they are known.
func TestPartialJoin(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, _ := crowd(t, version)
		c := newServer(t, "third")
		join := c.joinPartially("@carol:third", a)
		if p := c.partial; p == nil || p.Seq != join.Seq || p.Points[0].EventID != join.Event.ID() || !slices.Equal(p.Servers, []string{"other", "test"}) {
			t.Fatalf("the room lacks %+v", c.partial)
		}
		if c.summary.Name != "Square" || c.members["@carol:third"].Membership != "join" || c.members["@user3:test"].Exists {
			t.Errorf("the summary is %+v", c.summary)
		}
		// Both speak. Who speaks becomes known.
		hello := c.say("@carol:third", "hello")
		if !hello.Outbound {
			t.Error("what is said in the meantime goes nowhere")
		}
		a.accepts(hello.Event)
		c.hears(a, a.say("@user3:test", "hi"))
		if row := c.members["@user3:test"]; row.Membership != "join" || c.current[memberTuple("@user3:test")] == "" {
			t.Errorf("who speaks is %+v", row)
		}
		leave := a.okay(ChangeMembership{From: a.from("@user4:test"), Action: Leave, Target: "@user4:test"}).Entry
		c.hears(a, leave)
		if c.servers["test"].Joined < 1 || c.servers["other"].Joined != 1 {
			t.Errorf("the servers are %v", c.servers)
		}
		// What needs the others waits, or is for others to answer.
		c.refused(ChangeMembership{From: c.from("@carol:third"), Action: Invite, Target: "@user5:test"}, CodePartial)
		c.refused(ChangeMembership{From: c.from("@mallory:third"), Action: Join, Target: "@mallory:third"}, CodePartial)
		c.refused(MakeMembership{From: c.from(""), Action: Join, Target: "@dave:fourth"}, "M_NOT_FOUND")
		c.refused(Backfill{From: c.from(""), Gap: join.Seq}, CodePartial)

		c.m = c.reload(uint64(len(c.entries))) // as after a crash
		c.tell(a)
		if c.partial != nil || c.servers["test"].Joined != 20 || c.servers["other"].Joined != 1 || c.servers["third"].Joined != 1 {
			t.Errorf("afterwards: %+v, %v", c.partial, c.servers)
		}
		agree(t, a, c)
		if c.summary.JoinedMembers != a.summary.JoinedMembers {
			t.Errorf("%d members instead of %d", c.summary.JoinedMembers, a.summary.JoinedMembers)
		}
		for _, e := range c.entries {
			if theirs := a.byID(e.Event.ID()); !maps.Equal(idsAt(c, e.StateBefore), idsAt(a, theirs.StateBefore)) || !maps.Equal(idsAt(c, e.StateAfter), idsAt(a, theirs.StateAfter)) {
				t.Errorf("the state at %s %s is not the same", e.Event.Type(), e.Event.ID())
			}
		}
		if again := c.reload(uint64(len(c.entries))); !bytes.Equal(again.Snapshot(), c.m.Snapshot()) {
			t.Error("the machine from the snapshot is another")
		}
		c.refused(ChangeMembership{From: c.from("@mallory:third"), Action: Join, Target: "@mallory:third"}, "M_FORBIDDEN")
		a.accepts(c.say("@carol:third", "there you are").Event)
		c.hears(a, a.say("@user5:test", "indeed"))
		agree(t, a, c)
	})
}

// TestPartialRoomsAreCheckedAgain: what was let in because a ban was not known is out when it is, with what it changed.
func TestPartialRoomsAreCheckedAgain(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, _ := crowd(t, version)
		a.set("@alice:test", "m.room.power_levels", "", strings.Replace(`{"users":{},"state_default":0}`, `{}`,
			map[bool]string{true: `{}`, false: `{"@alice:test":100}`}[version == "12"], 1))
		// The room of mallory's server, where nobody heard of the ban.
		evil := newServer(t, "evil")
		evil.join("@mallory:evil", a)
		a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Ban, Target: "@mallory:evil"})
		topic := evil.set("@mallory:evil", "m.room.topic", "", `{"topic":"mine"}`)
		c := newServer(t, "third")
		join := c.joinPartially("@carol:third", a)
		before := []string{}
		r := c.okay(ReceivePDUAt{From: c.from(""), Origin: "evil", PDU: pduOf(topic.Event), StateBefore: before}).Results[0]
		if r.Status == ResultMissing {
			c.outliersOf(evil, topic.Event.AuthEvents()...)
			r = c.okay(ReceivePDUAt{From: c.from(""), Origin: "evil", PDU: pduOf(topic.Event), StateBefore: before}).Results[0]
		}
		if r.Status != ResultAccepted || len(c.partial.Points) != 2 {
			t.Fatalf("%+v, %+v", r, c.partial)
		}
		if got := c.tellAt(a, join.Event.ID()); got.Status != ResultAccepted || c.partial == nil {
			t.Fatalf("%+v, %+v", got, c.partial)
		}
		c.tellAt(evil, topic.Event.ID())
		c.okay(BecomeWhole{c.from("")})
		if c.partial != nil {
			t.Fatalf("the room lacks %+v", c.partial)
		}
		if e := c.byID(topic.Event.ID()); e.Status != SoftFailed && e.Status != Rejected || c.summary.Topic == "mine" {
			t.Errorf("the topic is %q, %v", c.summary.Topic, e.Status)
		}
		agree(t, a, c)
	})
}

// TestLiesAboutMembers: a state in which the join is not allowed is refused, and one that lacks events asks for them.
func TestLiesAboutMembers(t *testing.T) {
	t.Parallel()
	a, _ := crowd(t, "11")
	a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Ban, Target: "@carol:third"})
	ban := a.byID(a.current[memberTuple("@carol:third")])
	a.okay(ChangeMembership{From: a.from("@alice:test"), Action: Unban, Target: "@carol:third"})
	unban := a.current[memberTuple("@carol:third")]
	c := newServer(t, "third")
	join := c.joinPartially("@carol:third", a)
	if c.current[memberTuple("@carol:third")] == unban {
		t.Fatal("the join is not in the state")
	}
	c.outliersOf(a, ban.Event.ID())
	r := c.okay(TellState{From: c.from(""), EventID: join.Event.ID(), State: []string{"$unknown"}}).Results[0]
	if r.Status != ResultMissing || !slices.Equal(r.MissingAuth, []string{"$unknown"}) {
		t.Errorf("%+v", r)
	}
	// The membership that the join replaced is known from its auth events, so that a lie about that is not heard at all.
	r = c.okay(TellState{From: c.from(""), EventID: join.Event.ID(), State: []string{ban.Event.ID()}}).Results[0]
	if r.Status != ResultAccepted || c.current[memberTuple("@carol:third")] != join.Event.ID() {
		t.Errorf("%+v", r)
	}
	if r := c.tellAt(a, join.Event.ID()); r.Status != ResultKnown {
		t.Errorf("%+v", r)
	}
}

// TestLeavingBeforeMembersAreKnown: a room that is left again needs no more members, and counts those who were told; it can be joined anew.
func TestLeavingBeforeMembersAreKnown(t *testing.T) {
	t.Parallel()
	a, _ := crowd(t, "11")
	c := newServer(t, "third")
	join := c.joinPartially("@carol:third", a)
	a.tellHalf(c, join.Event.ID())
	if c.servers["test"].Joined < 5 {
		t.Errorf("the servers are %v", c.servers)
	}
	leave := c.okay(ChangeMembership{From: c.from("@carol:third"), Action: Leave, Target: "@carol:third"}).Entry
	a.accepts(leave.Event)
	if c.partial != nil || c.servers["test"].Joined != int64(c.summary.JoinedMembers) || c.servers["other"].Joined != 0 || c.servers["third"].Joined != 0 || !leave.Outbound {
		t.Errorf("afterwards: %+v, %v", c.partial, c.servers)
	}
	c.refused(TellState{From: c.from(""), EventID: join.Event.ID()}, "M_NOT_FOUND")
	c.okay(BecomeWhole{c.from("")})
	c.joinPartially("@carol:third", a)
	c.hears(a, a.say("@user3:test", "again"))
	c.tell(a)
	agree(t, a, c)
}

// TestUnnamedServersAreSentWhatTheyMissed: a server that was not named by the one through which the room was joined gets what was said meanwhile.
func TestUnnamedServersAreSentWhatTheyMissed(t *testing.T) {
	t.Parallel()
	a, _ := crowd(t, "11")
	c := newServer(t, "third")
	named := a.servers["other"]
	delete(a.servers, "other")
	c.joinPartially("@carol:third", a)
	a.servers["other"] = named
	hello := c.say("@carol:third", "hello")
	c.outbound = nil
	c.tell(a)
	if !slices.Equal(c.outbound, []uint64{hello.Seq}) || c.servers["other"].JoinedSeq > hello.Seq {
		t.Errorf("sent again: %v; the servers are %v", c.outbound, c.servers)
	}
}

// TestPartialThenWholeIsWhole: whatever happens in a room between a join without its members and the moment in which they are known, and in whatever
// order it is heard of, in the end the room is what it is on the other servers.
func TestPartialThenWholeIsWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		version := rapid.SampledFrom(roomversion.All()).Draw(rt, "version").ID
		n := &network{t: t, rt: rt, waiting: map[*world][]*event.Event{}}
		for _, name := range []string{"test", "other", "third"} {
			w := newServer(t, name)
			w.o.CacheEvents = rapid.SampledFrom([]int{2, 1000}).Draw(rt, "cache")
			n.worlds = append(n.worlds, w)
		}
		a, b, c := n.worlds[0], n.worlds[1], n.worlds[2]
		a.create("@anchor:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@anchor:other", a)
		n.worlds = n.worlds[:2]
		for range rapid.IntRange(0, 15).Draw(rt, "before") {
			n.act()
		}
		n.deliverAll()
		if a.current[memberTuple("@anchor:other")] != b.current[memberTuple("@anchor:other")] || a.servers["other"].Joined == 0 || a.servers["test"].Joined == 0 {
			return
		}
		if r := a.ask(MakeMembership{From: a.from(""), Action: Join, Target: "@anchor:third"}); r.Err != nil {
			return // invite only, or banned
		}
		join := c.joinPartially("@anchor:third", a)
		b.accepts(join.Event)
		n.worlds, n.newcomer, n.events = append(n.worlds, c), c, nil // what was before is history
		steps := rapid.IntRange(5, 40).Draw(rt, "steps")
		whole := rapid.IntRange(0, steps).Draw(rt, "whole")
		for step := range steps {
			if step == whole {
				n.tellStates(c)
			}
			if rapid.IntRange(0, 2).Draw(rt, "what") < 2 {
				n.act()
			} else {
				n.deliver(rapid.SampledFrom(n.worlds).Draw(rt, "to"))
			}
			if p := c.m.Partial(); p != nil && rapid.IntRange(0, 5).Draw(rt, "half") == 0 {
				n.knows(p.Points[0].EventID).tellHalf(c, p.Points[0].EventID)
			}
			if rapid.IntRange(0, 9).Draw(rt, "crash") == 0 {
				c.m = c.reload(uint64(len(c.entries)))
			}
		}
		n.deliverAll()
		n.tellStates(c)
		n.deliverAll()
		if c.m.Resident() { // what others did before they heard of the join may forbid it
			n.check()
		}
	})
}

// tellStates has the server told the whole states that it wants, by whoever knows them.
func (n *network) tellStates(w *world) {
	for w.m.Partial() != nil {
		for _, point := range w.m.Partial().Points {
			w.tellAt(n.knows(point.EventID), point.EventID)
		}
		w.okay(BecomeWhole{w.from("")})
	}
}

// TestJoinsLeaveNothingBehind: what was looked at for a join, which is the whole state of a room, is not kept for the sake of the tip.
func TestJoinsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	a, _ := crowd(t, roomversion.Default)
	c := newServer(t, "third")
	look := func(when string) {
		t.Helper()
		c.m.cache.reset()
		if _, _, err := c.m.head.state.Get(memberTuple("@user3:test")); !errors.Is(err, errNodeMissing) {
			t.Errorf("%s: the state is read from elsewhere than the cache: %v", when, err)
		}
	}
	c.joinPartially("@carol:third", a)
	look("after the join")
	c.tell(a)
	look("when the members are known")
	agree(t, a, c)
}
