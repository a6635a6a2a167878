package room

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// TestReplayGivesTheSameMachine does random things to a room, with a cache that is far too small, and crashes it again and
// again. What was acknowledged is there exactly once; a machine that is made from any snapshot and the journal after it is
// the machine that wrote them; and the views say what the journal says.
func TestReplayGivesTheSameMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.o.CacheEvents = rapid.IntRange(1, 6).Draw(rt, "cache")
		version := rapid.SampledFrom([]string{"1", "6", "10", "12"}).Draw(rt, "version")
		if r := w.create("@u0:test", `{"preset":"public_chat","room_version":"`+version+`"}`); r.Err != nil {
			rt.Fatal(r.Err)
		}
		for _, userID := range []string{"@u1:test", "@u2:test"} {
			w.ask(ChangeMembership{From: w.from(userID), Action: Join, Target: userID})
		}
		c := chaos{world: w, rt: rt, asked: map[uint64]Input{}}
		for range rapid.IntRange(20, 100).Draw(rt, "steps") {
			c.step()
		}
		w.settle()
		c.check()
	})
}

// chaos plays random requests.
type chaos struct {
	*world
	rt    *rapid.T
	asked map[uint64]Input
}

func (c *chaos) user(label string) string {
	return rapid.SampledFrom([]string{"@u0:test", "@u0:test", "@u1:test", "@u2:test", "@u3:test"}).Draw(c.rt, label)
}

func (c *chaos) step() {
	switch rapid.SampledFrom([]string{
		"ask", "ask", "ask", "ask", "ask", "begin", "begin", "learn", "learn", "land", "land", "settle", "crash",
	}).Draw(c.rt, "step") {
	case "begin":
		c.begin()
	case "learn":
		c.learn()
	case "land":
		c.land()
	case "settle":
		c.settle()
		c.check()
	case "crash":
		c.crash()
	default:
		in := c.input()
		c.asked[ticketOf(in)] = in
		c.m.Step(in)
	}
}

func (c *chaos) input() Input {
	from := c.from(c.user("sender"))
	content := []byte(fmt.Sprintf(`{"n":%d}`, c.now%3))
	switch rapid.SampledFrom([]string{
		"member", "member", "join", "send", "send", "topic", "redact", "redact", "receipt", "publish", "forget", "alias",
	}).Draw(c.rt, "input") {
	case "member":
		action := rapid.SampledFrom([]Action{Join, Invite, Knock, Leave, Kick, Ban, Unban, Refresh}).Draw(c.rt, "action")
		change := ChangeMembership{From: from, Action: action, Target: c.user("target")}
		if action == Leave || action == Join {
			change.Target = from.UserID
		}
		return change
	case "join":
		return ChangeMembership{From: from, Action: Join, Target: from.UserID}
	case "send":
		return Propose{From: from, Event: Proposal{Type: "m.room.message", Sender: from.UserID, Content: content},
			TxnID: fmt.Sprint(rapid.IntRange(0, 9).Draw(c.rt, "txn"))}
	case "topic":
		key := ""
		return Propose{From: from, Event: Proposal{Type: "m.room.topic", StateKey: &key, Sender: from.UserID, Content: []byte(fmt.Sprintf(`{"topic":"%d"}`, c.now%3))}}
	case "redact":
		return Propose{From: from, Event: Proposal{Type: "m.room.redaction", Sender: from.UserID, Content: []byte(`{}`), Redacts: c.anyEvent()}}
	case "receipt":
		return SendReceipt{From: from, Type: "m.read", EventID: c.anyEvent()}
	case "publish":
		return SetPublished{From: from, Published: rapid.Bool().Draw(c.rt, "published")}
	case "alias":
		return CreateAlias{From: from, Alias: fmt.Sprintf("#a%d:test", c.now%7)}
	}
	return Forget{From: from}
}

// anyEvent names an event that is durable, or about to be.
func (c *chaos) anyEvent() string {
	var ids []string
	for _, e := range c.entries[max(0, len(c.entries)-8):] {
		ids = append(ids, e.Event.ID())
	}
	batches := c.m.pending
	if c.flight != nil {
		batches = append(slices.Clone(batches), c.flight)
	}
	for _, b := range batches {
		for _, e := range b.Entries {
			ids = append(ids, e.Event.ID())
		}
	}
	return rapid.SampledFrom(ids).Draw(c.rt, "event")
}

// crash loses the machine: with a commit in flight that happened or did not, and with everything that waited.
func (c *chaos) crash() {
	c.begin()
	if c.flight != nil && rapid.Bool().Draw(c.rt, "the commit happened") && !c.taken(c.flight) {
		c.store(c.flight)
	}
	c.flight, c.fetched = nil, nil
	for _, ticket := range c.m.Abort() {
		delete(c.asked, ticket)
	}
	c.m = c.reload(c.anySnapshot())
}

func (c *chaos) anySnapshot() uint64 {
	var seqs []uint64
	for seq := range c.snapshots {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return rapid.SampledFrom(seqs).Draw(c.rt, "snapshot")
}

// check compares the machine, a machine made from the journal, and the views.
func (c *chaos) check() {
	for ticket, in := range c.asked {
		if _, ok := c.replies[ticket]; !ok {
			c.rt.Fatalf("%#v was not answered", in)
		}
	}
	if again := c.reload(c.anySnapshot()); !bytes.Equal(again.Snapshot(), c.m.Snapshot()) {
		c.rt.Fatalf("the journal gives another machine:\n%+v\n%+v", again.head.summary, c.m.head.summary)
	}
	state := map[event.Tuple]uint64{}
	seen := map[string]uint64{}
	for _, e := range c.entries {
		if before := seen[e.Event.ID()]; before != 0 {
			c.rt.Fatalf("event %d is event %d again", e.Seq, before)
		}
		seen[e.Event.ID()] = e.Seq
		if e.Event.IsState() {
			if e.ReplacesSeq != state[e.Event.Tuple()] {
				c.rt.Fatalf("event %d replaces %d, not %d", e.Seq, state[e.Event.Tuple()], e.ReplacesSeq)
			}
			state[e.Event.Tuple()] = e.Seq
		}
		c.checkStored(e, state)
	}
	c.checkRedactions(seen)
	c.checkSummary(state)
	for _, r := range c.replies {
		if r.Err == nil && r.Entry != nil && seen[r.Entry.Event.ID()] != r.Entry.Seq {
			c.rt.Fatalf("event %d was acknowledged and is not there", r.Entry.Seq)
		}
	}
}

// checkStored wants the tree after the entry to be stored, and to be the state that a plain map gives.
func (c *chaos) checkStored(e *Entry, state map[event.Tuple]uint64) {
	tree := statetree.Open(e.StateAfter, func(h statetree.Hash) ([]byte, error) {
		if b, ok := c.nodes[h]; ok {
			return b, nil
		}
		return nil, fmt.Errorf("node %x was never stored", h)
	})
	n := 0
	for place, err := range tree.All() {
		if err != nil {
			c.rt.Fatal(err)
		}
		if state[place.Tuple] != place.Value {
			c.rt.Fatalf("after event %d %v is %d, not %d", e.Seq, place.Tuple, place.Value, state[place.Tuple])
		}
		n++
	}
	if n != len(state) {
		c.rt.Fatalf("after event %d the state has %d events, not %d", e.Seq, n, len(state))
	}
}

// checkRedactions wants every redaction to have taken effect, since everybody is of this server, but on the create event; and
// nothing to be pruned without one. A redaction that was redacted itself may not tell its target any more.
func (c *chaos) checkRedactions(seen map[string]uint64) {
	redacted := map[uint64]bool{}
	for _, e := range c.entries {
		if e.Event.Type() == "m.room.redaction" && seen[e.Event.Redacts()] > 1 {
			redacted[seen[e.Event.Redacts()]] = true
		}
	}
	for _, e := range c.entries {
		pruned := e.RedactedBy != ""
		if redacted[e.Seq] && !pruned || pruned && (seen[e.RedactedBy] == 0 || c.entries[seen[e.RedactedBy]-1].Event.Type() != "m.room.redaction") {
			c.rt.Fatalf("event %d was redacted by %q, and should be redacted: %v", e.Seq, e.RedactedBy, redacted[e.Seq])
		}
	}
}

func (c *chaos) checkSummary(state map[event.Tuple]uint64) {
	want := c.summary
	want.JoinedMembers, want.InvitedMembers = 0, 0
	for tuple, seq := range state {
		if tuple.Type != "m.room.member" {
			continue
		}
		e := c.entries[seq-1]
		row := c.members[tuple.StateKey]
		if row.Membership != e.Event.Membership() || row.Seq != seq || row.Pos != e.Pos {
			c.rt.Fatalf("the row of %s is %+v, its event %+v", tuple.StateKey, row, e)
		}
		want.count("", row.Membership)
	}
	if c.summary != want || c.m.Summary() != want {
		c.rt.Fatalf("the summary is %+v and %+v, want %+v", c.summary, c.m.Summary(), want)
	}
}
