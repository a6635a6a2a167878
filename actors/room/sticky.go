package room

import (
	"context"
	"slices"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// stickyRows are the changes of the table of sticky events.
func (a *actor) stickyRows(w *writes, b *room.Batch) {
	for _, s := range b.Sticky {
		w.add(schema.StickyEvents.Put(schema.StickyEvent{RoomID: a.roomID, Seq: s.Seq, EventID: s.EventID, Sender: s.Sender, EndsTS: s.EndsTS, SoftFailed: s.SoftFailed}))
	}
	for _, server := range b.Lack {
		w.add(schema.MissedRooms.Put(schema.MissedRoom{Destination: server, RoomID: a.roomID}))
	}
	for _, seq := range b.Unstuck {
		w.add(schema.StickyEvents.Delete(schema.StickyEvent{RoomID: a.roomID, Seq: seq}))
	}
}

// stickBeside reports whether sticky events are to be told that the timeline does not bring: they are older than what is known, or were not
// told before.
func stickBeside(b *room.Batch) bool {
	return slices.ContainsFunc(b.Sticky, func(s room.Sticky) bool {
		brought := func(e *room.Entry) bool { return e.Seq == s.Seq }
		return !s.SoftFailed && !slices.ContainsFunc(b.Entries, brought)
	})
}

// sticky tells the machine which events stick.
func (f facts) sticky(ctx context.Context, m *room.Machine) error {
	for row, err := range schema.StickyEvents.Scan(ctx, f.store, persistence.Range[schema.StickyEvent]{Prefix: schema.StickyEvent{RoomID: f.roomID}, Keys: 1}) {
		if err != nil {
			return err
		}
		m.KnowSticky(room.Sticky{Seq: row.Seq, EventID: row.EventID, Sender: row.Sender, EndsTS: row.EndsTS, SoftFailed: row.SoftFailed})
	}
	return nil
}
