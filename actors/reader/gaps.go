package reader

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// GapBelow finds the first stretch of history that is not here for whoever goes back from this gap between events (token.Timeline).
func (r *Reader) GapBelow(ctx context.Context, roomID string, from uint64) (gap schema.RoomGap, ok bool, err error) {
	gaps := persistence.Range[schema.RoomGap]{Prefix: schema.RoomGap{RoomID: roomID}, Keys: 1, Reverse: true}
	for row, err := range schema.RoomGaps.Scan(ctx, r.store, gaps) {
		if err != nil {
			return gap, false, err
		}
		if row.Next <= from {
			return row, true, nil
		}
	}
	return gap, false, nil
}

// GapAbove finds the first stretch of history that is not here for whoever goes forward from this gap between events. What is missing before
// the first event that is here is none: who begins at the beginning begins with what there is.
func (r *Reader) GapAbove(ctx context.Context, roomID string, from uint64) (gap schema.RoomGap, ok bool, err error) {
	for row, err := range schema.RoomGaps.Scan(ctx, r.store, persistence.Range[schema.RoomGap]{Prefix: schema.RoomGap{RoomID: roomID}, Keys: 1}) {
		if err != nil {
			return gap, false, err
		}
		if row.Next > from && row.Floor > 0 {
			return row, true, nil
		}
	}
	return gap, false, nil
}
