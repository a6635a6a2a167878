package room

import (
	"context"
	"fmt"
	"slices"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// transactionTail is how many of the newest events are searched for transaction ids when a room is loaded, those that are as old as
// room.TransactionsFor excepted. Whoever asks a room has looked for the transaction id in the store (schema.RoomTransactions) shortly before;
// the tail is what may have become durable since, when another activation was at work until now.
const transactionTail = 512

// firstLook is how many of them are read at first: most rooms that are loaded were at rest.
const firstLook = 16

// load makes the machine from the snapshot and the tail of the journal. What it costs does not depend on how long the
// room's history is. Transactions from before since, in ms, are not remembered.
func (f facts) load(ctx context.Context, o room.Options, active persistence.Activation, since int64) (*room.Machine, error) {
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
	if err := f.remember(ctx, m, active, since); err != nil {
		return nil, err
	}
	if active.Seq == active.SnapshotSeq {
		return m, nil
	}
	tail := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: f.roomID}, Keys: 1, From: &schema.Event{Seq: active.SnapshotSeq + 1},
		Before: &schema.Event{Seq: schema.OutlierBase}, Limit: int(active.Seq - active.SnapshotSeq)}
	for row, err := range schema.Events.Scan(ctx, f.store, tail) {
		if err != nil {
			return nil, err
		}
		entry, err := entryOf(row, m.Version())
		if err != nil {
			return nil, err
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

// remember gives the machine the transactions that lie before the tail of the journal, the oldest first.
func (f facts) remember(ctx context.Context, m *room.Machine, active persistence.Activation, since int64) error {
	var sent []schema.Event
	next := active.SnapshotSeq + 1
	most := transactionTail - int(min(active.Seq-active.SnapshotSeq, transactionTail))
	for limit := min(firstLook, most); limit > 0; limit = most {
		rows, err := schema.Events.All(ctx, f.store, persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: f.roomID}, Keys: 1, Before: &schema.Event{Seq: next},
			Reverse: true, Limit: limit})
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.ReceivedTS < since {
				most = 0
			} else if row.TxnID != "" {
				sent = append(sent, row)
			}
		}
		if most = max(most-len(rows), 0); len(rows) < limit {
			break
		}
		next = rows[len(rows)-1].Seq
	}
	for _, row := range slices.Backward(sent) {
		entry, err := entryOf(row, m.Version())
		if err != nil {
			return err
		}
		m.Remember(entry)
	}
	return nil
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
