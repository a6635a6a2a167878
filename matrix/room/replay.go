package room

import (
	"errors"
	"fmt"
	"slices"

	"github.com/matrixon/matrixon/matrix/statetree"
)

// Replay takes in the next entry of the journal after the snapshot. When it needs facts it changes nothing and says which:
// give them to Learn and replay the entry again.
//
// Commits that the journal alone does not explain carry a snapshot (Batch.SnapshotNeeded), so every entry that comes
// here follows all extremities before it.
func (m *Machine) Replay(e *Entry) (*Missing, error) {
	if e.Seq != m.head.seq+1 {
		return nil, fmt.Errorf("room: the journal goes on with %d after %d", e.Seq, m.head.seq)
	}
	if m.version == nil {
		return nil, errNoSnapshot
	}
	d := m.draft()
	if err := d.replay(e); err != nil {
		if d.need.empty() {
			return nil, err
		}
		d.need.Version = m.Version()
		return &d.need, nil
	}
	m.head, m.stored = d.head, d.head.state.Root()
	m.cache.putEntry(e)
	m.Remember(e)
	return nil, nil
}

// errNoSnapshot: the commit that creates a room carries a snapshot.
var errNoSnapshot = errors.New("room: a journal without a snapshot")

// Learn takes facts in while the room is being loaded.
func (m *Machine) Learn(f Facts) { m.learn(f) }

// Remember notes the transaction of an entry of the journal, so that repeating the request is answered with it.
func (m *Machine) Remember(e *Entry) {
	if e.TxnID != "" {
		m.transactions.add(transactionOf(e))
	}
}

func (d *draft) replay(e *Entry) error {
	d.head.seq, d.head.receivedTS = e.Seq, e.ReceivedTS
	if e.Status != Accepted {
		return nil
	}
	if e.Event.IsState() {
		if err := d.replayState(e); err != nil {
			return err
		}
	}
	followed := e.Event.PrevEvents()
	for _, x := range d.head.extremities {
		if !slices.Contains(followed, x.EventID) {
			return fmt.Errorf("room: entry %d does not follow the extremity %s", e.Seq, x.EventID)
		}
	}
	d.head.extremities = []Extremity{{Seq: e.Seq, EventID: e.Event.ID(), Depth: e.Event.Depth(), State: e.StateAfter}}
	d.head.state = statetree.Open(e.StateAfter, d.m.fetch)
	return nil
}

// replayState brings the summary to what it was after the state event.
func (d *draft) replayState(e *Entry) error {
	d.head.summary.show(e.Event)
	if e.Event.Type() == "m.room.member" {
		before := ""
		if e.ReplacesSeq != 0 {
			replaced := d.entry(e.ReplacesSeq)
			if err := d.waiting(); err != nil {
				return err
			}
			before = replaced.Event.Membership()
		}
		d.head.summary.count(before, e.Event.Membership())
	}
	return nil
}

// deepest are the n deepest extremities, the deepest first.
func deepest(extremities []Extremity, n int) []Extremity {
	if len(extremities) < 2 {
		return extremities
	}
	sorted := slices.Clone(extremities)
	slices.SortFunc(sorted, func(a, b Extremity) int {
		if a.Depth != b.Depth {
			return int(max(min(b.Depth-a.Depth, 1), -1))
		}
		return int(b.Seq) - int(a.Seq)
	})
	return sorted[:min(n, len(sorted))]
}
