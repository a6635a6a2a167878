package reader

import (
	"context"
	"math"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// timestampScan bounds how many events that the user may not see are passed over in search of one that is seen.
const timestampScan = 5000

// NearTimestamp finds the event closest to the time (ms) among those that the user sees and that are not after it when going
// backwards, else not before it (client-server API, "Jump to a date"); 404 M_NOT_FOUND when there is none. The time of an
// event is what its sender says.
func (a *Access) NearTimestamp(ctx context.Context, ts int64, backwards bool) (schema.Event, error) {
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return schema.Event{}, err
	}
	return a.r.nearTimestamp(ctx, a.RoomID, ts, backwards, func(row *schema.Event) (bool, error) {
		if row.StateKey == nil && ignored[row.Sender] {
			return false, nil
		}
		return a.Sees(ctx, row)
	})
}

// nearTimestamp finds the event closest to the time that is seen.
func (r *Reader) nearTimestamp(ctx context.Context, roomID string, ts int64, backwards bool, seen func(*schema.Event) (bool, error)) (schema.Event, error) {
	q := persistence.Range[schema.EventByTime]{Prefix: schema.EventByTime{RoomID: roomID}, Keys: 1, Reverse: backwards, Limit: timestampScan}
	switch {
	case !backwards:
		q.From = &schema.EventByTime{OriginServerTS: ts}
	case ts < math.MaxInt64:
		q.Before = &schema.EventByTime{OriginServerTS: ts + 1}
	}
	for at, err := range schema.EventsByTime.Scan(ctx, r.store, q) {
		if err != nil {
			return schema.Event{}, err
		}
		row, err := r.EventAt(ctx, roomID, at.Seq)
		if err != nil {
			return row, err
		}
		sees, err := seen(&row)
		if err != nil || sees {
			return row, err
		}
	}
	return schema.Event{}, mxerr.NotFound("there is no event that you may see in this direction")
}
