package reader

import (
	"context"
	"net/http"
	"time"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of waiting for the members of a room, and of the pauses between looking.
const (
	wholePatience = 90 * time.Second
	firstLook     = 20 * time.Millisecond
	longestLook   = time.Second
)

// JoinedPartially reads how a room stands that was joined without its members; ok is false for all others.
func JoinedPartially(ctx context.Context, r persistence.Reader, roomID string) (row schema.PartialRoom, ok bool, err error) {
	return schema.PartialRooms.Get(ctx, r, schema.PartialRoom{RoomID: roomID})
}

// AwaitWhole waits until the members of the room are known, which most of the time they are: 504 M_UNKNOWN when it takes too long.
func AwaitWhole(ctx context.Context, r persistence.Reader, roomID string) error {
	ctx, cancel := context.WithTimeout(ctx, wholePatience)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, longestLook) {
		row, ok, err := JoinedPartially(ctx, r, roomID)
		if err == nil && (!ok || row.Whole) {
			return nil
		}
		if err == nil {
			err = sleep(ctx, pause)
		}
		if ctx.Err() != nil {
			return mxerr.New(http.StatusGatewayTimeout, "M_UNKNOWN", "the members of the room %s are still being fetched from other servers; try again later", roomID)
		}
		if err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
