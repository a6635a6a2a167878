package unread

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// markers are how far a user's receipts in a room reach.
type markers struct {
	// newest and rows identify the receipts: a receipt that moves gets a newer position.
	newest   uint64
	rows     int
	room     uint64            // the unthreaded receipt
	threaded map[string]uint64 // the threads' receipts; nil when there are none
}

func (c *Counter) markers(ctx context.Context, userID, roomID string) (markers, error) {
	var m markers
	for row, err := range schema.Receipts.Scan(ctx, c.store, persistence.Range[schema.Receipt]{
		Prefix: schema.Receipt{RoomID: roomID, UserID: userID}, Keys: 2}) {
		if err != nil {
			return m, err
		}
		if row.Type != "m.read" && row.Type != "m.read.private" {
			continue
		}
		m.rows++
		m.newest = max(m.newest, row.Pos)
		if row.ThreadID == "" {
			m.room = max(m.room, row.Seq)
			continue
		}
		if m.threaded == nil {
			m.threaded = map[string]uint64{}
		}
		m.threaded[row.ThreadID] = max(m.threaded[row.ThreadID], row.Seq)
	}
	return m, nil
}

// ReadUpTo is the number of the last event of the room that the user has read, whatever its thread, by receipts; 0 if there is none.
func (c *Counter) ReadUpTo(ctx context.Context, userID, roomID string) (uint64, error) {
	m, err := c.markers(ctx, userID, roomID)
	return m.room, err
}

// same reports whether both are of the same receipts.
func (m *markers) same(other *markers) bool { return m.newest == other.newest && m.rows == other.rows }

// of is the last event that was read in the thread, as far as receipts say.
func (m *markers) of(thread string) uint64 { return max(m.room, m.threaded[thread]) }

// behind reports whether a receipt of m is behind that of old, which only happens when receipts were deleted.
func (m *markers) behind(old *markers) bool {
	if m.room < old.room {
		return true
	}
	for thread := range old.threaded {
		if m.of(thread) < old.of(thread) {
			return true
		}
	}
	return false
}
