// Package reader is the read side of rooms: events, state at any point, history in pages, relations, and the one place
// where a stored event becomes the JSON that clients get. It reads committed rows from the store, so it needs no actor,
// waits in no mailbox and runs in the caller's goroutine.
//
// Who may see what is decided by Access, and only there.
package reader

import (
	"context"
	"fmt"
	"time"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The sizes of the caches, in entries. All that these hold is immutable.
const (
	nodeCacheSize       = 20_000
	visibilityCacheSize = 20_000
	insiderCacheSize    = 20_000
)

// Reader answers questions about rooms from the store. It is safe for concurrent use.
type Reader struct {
	store      persistence.Reader
	now        func() time.Time
	notices    string
	nodes      *cache.Cache[nodeKey, []byte]
	visibility *cache.Cache[nodeKey, string]
	insiders   *cache.Cache[insider, struct{}]
	erased     *cache.Cache[string, erasure]
}

// nodeKey names a node of a room's state trees by the bytes of its hash.
type nodeKey struct{ roomID, hash string }

// New makes a reader of the store. Notices is the account of the server's notices, whose invites nobody refuses; empty: there is none.
func New(store persistence.Reader, now func() time.Time, notices string) *Reader {
	nodes := cache.New(cache.Options[nodeKey, []byte]{Size: nodeCacheSize})
	visibility := cache.New(cache.Options[nodeKey, string]{Size: visibilityCacheSize})
	insiders := cache.New(cache.Options[insider, struct{}]{Size: insiderCacheSize})
	erased := cache.New(cache.Options[string, erasure]{Size: erasedCacheSize})
	return &Reader{store: store, now: now, notices: notices, nodes: nodes, visibility: visibility, insiders: insiders, erased: erased}
}

// Store is what the reader reads.
func (r *Reader) Store() persistence.Reader { return r.store }

// Event finds an event of the room by its id. Rejected events, soft-failed ones and outliers are not found: clients
// never see them.
func (r *Reader) Event(ctx context.Context, roomID, eventID string) (schema.Event, bool, error) {
	ref, ok, err := schema.EventsByID.Get(ctx, r.store, schema.EventByID{RoomID: roomID, EventID: eventID})
	if err != nil || !ok {
		return schema.Event{}, false, err
	}
	row, err := r.EventAt(ctx, roomID, ref.Seq)
	return row, err == nil && row.Status == schema.Accepted, err
}

// EventAt reads the event with this number, which must exist.
func (r *Reader) EventAt(ctx context.Context, roomID string, seq uint64) (schema.Event, error) {
	row, ok, err := schema.EventAt(ctx, r.store, roomID, seq)
	if err == nil && !ok {
		err = fmt.Errorf("%w: room %s has no event %d, to which other rows point", persistence.ErrCorrupt, roomID, seq)
	}
	return row, err
}

// Room reads the room's summary; 404 M_NOT_FOUND when the server does not know the room.
func (r *Reader) Room(ctx context.Context, roomID string) (schema.Room, error) {
	room, ok, err := schema.Rooms.Get(ctx, r.store, schema.Room{RoomID: roomID})
	if err == nil && !ok {
		err = mxerr.NotFound("this server does not know the room %s", roomID)
	}
	return room, err
}

// JoinedRooms lists the rooms that the user is joined to.
func JoinedRooms(ctx context.Context, r persistence.Reader, userID string) ([]string, error) {
	var rooms []string
	for m, err := range schema.Memberships.Scan(ctx, r, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if m.Membership == "join" {
			rooms = append(rooms, m.RoomID)
		}
	}
	return rooms, nil
}
