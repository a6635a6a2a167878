package room

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// TestAnyOrderOfArrivalGivesTheSameState: three servers change a room at once, and hear of each other late and in any order. What an event
// is worth, and the state before and after it, is the same everywhere; servers with the same ends of the graph have the same
// current state; that is what the specification's words make of the forks; and a machine that is made anew from what is stored is the
// one that stored it. rapid prints a seed of what fails: -args -rapid.seed N repeats it.
// HARD_PLACES.md 16: any order of arrival gives the same state.
func TestAnyOrderOfArrivalGivesTheSameState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		version := rapid.SampledFrom(roomversion.All()).Draw(rt, "version").ID
		n := &network{t: t, rt: rt, waiting: map[*world][]*event.Event{}}
		for _, name := range []string{"test", "other", "third"} {
			w := newServer(t, name)
			w.o.CacheEvents = rapid.SampledFrom([]int{2, 1000}).Draw(rt, "cache")
			n.worlds = append(n.worlds, w)
		}
		a := n.worlds[0]
		a.create("@anchor:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		for _, w := range n.worlds[1:] {
			join := w.join("@anchor:"+w.o.ServerName, a)
			for _, other := range n.worlds[1:] {
				if other != w && other.m != nil {
					other.accepts(join.Event)
				}
			}
		}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			if rapid.IntRange(0, 2).Draw(rt, "what") < 2 {
				n.act()
			} else {
				n.deliver(rapid.SampledFrom(n.worlds).Draw(rt, "to"))
			}
		}
		n.deliverAll()
		n.check()
		// One event on top of everything brings all to the same state, also those who had taken an event for forbidden that others took.
		for range 2 {
			for _, w := range n.worlds {
				n.tell(w, w.say("@anchor:"+w.o.ServerName, "all").Event)
				n.deliverAll()
			}
		}
		n.check()
		for _, w := range n.worlds[1:] {
			if !maps.Equal(w.current, a.current) {
				n.rt.Fatalf("%s and %s do not agree:\n%v\n%v", w.o.ServerName, a.o.ServerName, w.current, a.current)
			}
		}
	})
}

// network is servers that share a room, and what they have not heard of each other.
type network struct {
	t       *testing.T
	rt      *rapid.T
	worlds  []*world
	waiting map[*world][]*event.Event
	events  []string
	// newcomer came without what was before.
	newcomer *world
}

// act has a user do something, which may be refused.
func (n *network) act() {
	w := rapid.SampledFrom(n.worlds).Draw(n.rt, "server")
	w.now += int64(rapid.IntRange(0, 500).Draw(n.rt, "later"))
	users := []string{"@anchor:test", "@anchor:other", "@anchor:third", "@one:test", "@one:other", "@one:third"}
	sender := rapid.SampledFrom([]string{"@anchor:", "@one:"}).Draw(n.rt, "sender") + w.o.ServerName
	target := rapid.SampledFrom(users[3:]).Draw(n.rt, "target")
	from := w.from(sender)
	state := func(eventType, content string) Input {
		stateKey := ""
		return Propose{From: from, Event: Proposal{Type: eventType, StateKey: &stateKey, Sender: sender, Content: []byte(content)}}
	}
	var in Input
	switch rapid.SampledFrom([]string{"say", "topic", "name", "levels", "join", "leave", "kick", "ban", "unban", "rules"}).Draw(n.rt, "do") {
	case "say":
		in = Propose{From: from, Event: Proposal{Type: "m.room.message", Sender: sender, Content: []byte(`{"body":"hi"}`)}}
	case "topic":
		in = state("m.room.topic", fmt.Sprintf(`{"topic":"%d"}`, w.now))
	case "name":
		in = state("m.room.name", fmt.Sprintf(`{"name":"%d"}`, w.now))
	case "levels":
		levels := `"` + rapid.SampledFrom(users[1:]).Draw(n.rt, "of") + `":` + rapid.SampledFrom([]string{"0", "50", "100"}).Draw(n.rt, "level")
		if !w.m.version.PrivilegedCreators {
			levels += `,"@anchor:test":100`
		}
		in = state("m.room.power_levels", `{"users":{`+levels+`},"state_default":`+rapid.SampledFrom([]string{"0", "50"}).Draw(n.rt, "default")+`}`)
	case "rules":
		in = state("m.room.join_rules", `{"join_rule":"`+rapid.SampledFrom([]string{"public", "invite"}).Draw(n.rt, "rule")+`"}`)
	case "join":
		in = ChangeMembership{From: w.from("@one:" + w.o.ServerName), Action: Join, Target: "@one:" + w.o.ServerName}
	case "leave":
		in = ChangeMembership{From: w.from("@one:" + w.o.ServerName), Action: Leave, Target: "@one:" + w.o.ServerName}
	case "kick":
		in = ChangeMembership{From: from, Action: Kick, Target: target}
	case "ban":
		in = ChangeMembership{From: from, Action: Ban, Target: target}
	case "unban":
		in = ChangeMembership{From: from, Action: Unban, Target: target}
	}
	newest := w.m.Seq()
	r := w.ask(in)
	if r.Err != nil || w.m.Seq() == newest {
		return // refused, or said already
	}
	n.tell(w, r.Entry.Event)
}

// tell has the others hear of an event of this server later.
func (n *network) tell(w *world, e *event.Event) {
	n.events = append(n.events, e.ID())
	for _, other := range n.worlds {
		if other != w {
			n.waiting[other] = append(n.waiting[other], e)
		}
	}
}

func (n *network) find(w *world, id string) (*Entry, bool) {
	e := w.byID(id)
	return e, e != nil
}

// deliver gives a server one of the events that it has not heard of. What cannot be placed yet goes on waiting.
func (n *network) deliver(w *world) bool {
	waiting := n.waiting[w]
	if len(waiting) == 0 {
		return false
	}
	i := rapid.IntRange(0, len(waiting)-1).Draw(n.rt, "event")
	e := waiting[i]
	r := n.receive(w, e)
	if r.Status == ResultMissing {
		return false
	}
	n.waiting[w] = slices.Delete(slices.Clone(waiting), i, i+1)
	return true
}

// receive gives a server an event. A newcomer gets it with the auth events that it has never heard of, and is told the state before it when the
// event follows others from before it came.
func (n *network) receive(w *world, e *event.Event) Result {
	if w == n.newcomer && !w.m.Resident() {
		return Result{Status: ResultKnown}
	}
	r := w.receive(e)[0]
	if w != n.newcomer {
		return r
	}
	if len(r.MissingAuth) > 0 {
		w.outliersOf(n.knows(e.ID()), e.AuthEvents()...)
		r = w.receive(e)[0]
	}
	if r.Status == ResultMissing && !slices.ContainsFunc(r.MissingPrev, func(id string) bool { return slices.Contains(n.events, id) }) {
		other := n.knows(e.ID())
		var state []string
		for _, s := range other.stateAt(other.byID(e.ID()).StateBefore) {
			state = append(state, s.Event.ID())
		}
		w.outliersOf(other, state...)
		r = w.okay(ReceivePDUAt{From: w.from(""), PDU: pduOf(e), StateBefore: state}).Results[0]
	}
	return r
}

// knows is a server that has the event and all states.
func (n *network) knows(eventID string) *world {
	for _, w := range n.worlds {
		if w.m.Partial() == nil && w.byID(eventID) != nil && !w.byID(eventID).outlier() {
			return w
		}
	}
	n.rt.Fatalf("nobody knows the state before %s", eventID)
	return nil
}

// deliverAll gives every server all that it has not heard of, from the oldest on as far as that is possible.
func (n *network) deliverAll() {
	for progress := true; progress; {
		progress = false
		for _, w := range n.worlds {
			var left []*event.Event
			for _, e := range n.waiting[w] {
				if n.receive(w, e).Status == ResultMissing {
					left = append(left, e)
				} else {
					progress = true
				}
			}
			n.waiting[w] = left
		}
	}
	for w, left := range n.waiting {
		if len(left) > 0 {
			n.rt.Fatalf("%s cannot place %d events; the first: %+v", w.o.ServerName, len(left), w.receive(left[0])[0])
		}
	}
}

func idsAt(w *world, root statetree.Hash) map[event.Tuple]string {
	state := map[event.Tuple]string{}
	for _, e := range w.stateAt(root) {
		state[e.Event.Tuple()] = e.Event.ID()
	}
	return state
}

func (n *network) check() {
	first := n.worlds[0]
	for _, id := range n.events {
		mine, ok := n.find(first, id)
		if !ok {
			n.rt.Fatalf("%s has no event %s", first.o.ServerName, id)
		}
		for _, w := range n.worlds[1:] {
			theirs, ok := n.find(w, id)
			switch {
			case !ok:
				n.rt.Fatalf("%s has no event %s", w.o.ServerName, id)
			case (mine.Status == Rejected) != (theirs.Status == Rejected):
				n.rt.Fatalf("%s is %v on %s, and %v on %s", id, mine.Status, first.o.ServerName, theirs.Status, w.o.ServerName)
			case !maps.Equal(idsAt(first, mine.StateBefore), idsAt(w, theirs.StateBefore)), !maps.Equal(idsAt(first, mine.StateAfter), idsAt(w, theirs.StateAfter)):
				n.rt.Fatalf("the state at %s is not the same on %s and %s", id, first.o.ServerName, w.o.ServerName)
			}
		}
	}
	for _, w := range n.worlds {
		if !maps.Equal(idsAt(w, w.m.StateRoot()), w.current) {
			n.rt.Fatalf("%s: the rows of the current state are not the state", w.o.ServerName)
		}
		for _, other := range n.worlds {
			if slices.Equal(ends(w), ends(other)) && !maps.Equal(w.current, other.current) {
				n.rt.Fatalf("%s and %s have the same ends and not the same state", w.o.ServerName, other.o.ServerName)
			}
		}
		n.checkViews(w)
		n.checkOracle(w)
	}
}

func ends(w *world) []string {
	var ids []string
	for _, x := range w.m.Extremities() {
		ids = append(ids, x.EventID)
	}
	slices.Sort(ids)
	return ids
}

// checkViews compares what is derived of the current state with it, and the machine with one that is made anew.
func (n *network) checkViews(w *world) {
	servers := map[string]int64{}
	joined := int64(0)
	for t, eventID := range w.current {
		if e, _ := n.find(w, eventID); t.Type == "m.room.member" {
			if row := w.members[t.StateKey]; row.Membership != e.Event.Membership() {
				n.rt.Fatalf("%s: the row of %s says %q, the state %q", w.o.ServerName, t.StateKey, row.Membership, e.Event.Membership())
			}
			if e.Event.Membership() == "join" {
				joined++
				servers[id.ServerOf(t.StateKey)]++
			}
		}
	}
	for name, row := range w.servers {
		if row.Joined != servers[name] {
			n.rt.Fatalf("%s: %s has %d users in the room, not %d", w.o.ServerName, name, servers[name], row.Joined)
		}
	}
	if got := w.m.Summary().JoinedMembers; got != joined {
		n.rt.Fatalf("%s: %d members, not %d", w.o.ServerName, joined, got)
	}
	for at := range w.snapshots {
		if again := w.reload(at); !bytes.Equal(again.Snapshot(), w.m.Snapshot()) {
			n.rt.Fatalf("%s: the machine from the snapshot after %d of %d entries is another", w.o.ServerName, at, len(w.entries))
		}
	}
}
