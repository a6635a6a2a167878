package room

import (
	"context"
	"fmt"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// transactionTail is how many of the newest events are searched for transaction ids when a room is loaded. Whoever asks a
// room has looked for the transaction id in the store (schema.RoomTransactions) shortly before; the tail is what may have
// become durable since, when another activation was at work until now.
const transactionTail = 512

// load makes the machine from the snapshot and the tail of the journal. What it costs does not depend on how long the
// room's history is.
func (f facts) load(ctx context.Context, o room.Options, active persistence.Activation) (*room.Machine, error) {
	m, err := room.Restore(o, active.Snapshot)
	if err != nil {
		return nil, fmt.Errorf("room %s: %w", f.roomID, err)
	}
	if m.Seq() != active.SnapshotSeq {
		return nil, fmt.Errorf("room %s: %w: the snapshot of %d says %d", f.roomID, persistence.ErrCorrupt, active.SnapshotSeq, m.Seq())
	}
	if err := f.federated(ctx, m); err != nil {
		return nil, err
	}
	if err := f.sticky(ctx, m); err != nil {
		return nil, err
	}
	if active.Seq == 0 {
		return m, nil
	}
	first := min(active.SnapshotSeq, active.Seq-min(active.Seq, transactionTail)) + 1
	tail := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: f.roomID}, Keys: 1, From: &schema.Event{Seq: first}, Before: &schema.Event{Seq: schema.OutlierBase}}
	for row, err := range schema.Events.Scan(ctx, f.store, tail) {
		if err != nil {
			return nil, err
		}
		if row.Seq <= active.SnapshotSeq && row.TxnID == "" {
			continue
		}
		entry, err := entryOf(row, m.Version())
		if err != nil {
			return nil, err
		}
		if row.Seq <= active.SnapshotSeq {
			m.Remember(entry)
			continue
		}
		if err := f.replay(ctx, m, entry); err != nil {
			return nil, fmt.Errorf("room %s: %w", f.roomID, err)
		}
	}
	if m.Seq() != active.Seq {
		return nil, fmt.Errorf("room %s: %w: the journal ends at %d, not %d", f.roomID, persistence.ErrCorrupt, m.Seq(), active.Seq)
	}
	return m, nil
}

// replay gives the entry to the machine, and the facts that it wants first.
func (f facts) replay(ctx context.Context, m *room.Machine, entry *room.Entry) error {
	for {
		missing, err := m.Replay(entry)
		if err != nil || missing == nil {
			return err
		}
		found, err := f.fetch(ctx, missing)
		if err != nil {
			return err
		}
		m.Learn(found)
	}
}
