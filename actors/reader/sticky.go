package reader

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Sticky lists the events that stick in the room now and have been told since after, up to the position until: everybody in the room is to have
// them, however much has happened since (MSC4354). They come in the order in which they were told.
func (r *Reader) Sticky(ctx context.Context, roomID string, after, until uint64) ([]schema.StickyEvent, error) {
	now := r.now().UnixMilli()
	var rows []schema.StickyEvent
	for row, err := range schema.StickyEvents.Scan(ctx, r.store, persistence.Range[schema.StickyEvent]{Prefix: schema.StickyEvent{RoomID: roomID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if !row.SoftFailed && row.EndsTS > now && row.Pos > after && row.Pos <= until {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// StickyEvents gives the events of the rows, but for those that were redacted, of which nothing sticks, and those of users whom this one ignores.
// The history's visibility does not count: whoever is in the room may see what sticks.
func (a *Access) StickyEvents(ctx context.Context, rows []schema.StickyEvent) ([]schema.Event, error) {
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return nil, err
	}
	var events []schema.Event
	for _, s := range rows {
		if ignored[s.Sender] {
			continue
		}
		row, err := a.r.EventAt(ctx, a.RoomID, s.Seq)
		if err != nil {
			return nil, err
		}
		if row.RedactedBy == "" {
			events = append(events, row)
		}
	}
	return events, nil
}
