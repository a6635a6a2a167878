package reader

import (
	"context"

	"github.com/matrixon/matrixon/matrix/visibility"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Acquaintances decides whom a user may find (client-server API, "User Directory"): who shares a room with the user, or is in a
// room that everybody may join or read. It is made for one request.
type Acquaintances struct {
	r      *Reader
	rooms  map[string]bool // in which the user is
	public map[string]bool // whether a room is open to everybody
}

// Acquaintances looks up the user's rooms.
func (r *Reader) Acquaintances(ctx context.Context, userID string) (*Acquaintances, error) {
	joined, err := JoinedRooms(ctx, r.store, userID)
	if err != nil {
		return nil, err
	}
	a := &Acquaintances{r: r, rooms: make(map[string]bool, len(joined)), public: map[string]bool{}}
	for _, roomID := range joined {
		a.rooms[roomID] = true
	}
	return a, nil
}

// othersRooms bounds how many rooms of the other user are looked at.
const othersRooms = 2000

// Finds reports whether the user may find the other.
func (a *Acquaintances) Finds(ctx context.Context, other string) (bool, error) {
	for m, err := range schema.Memberships.Scan(ctx, a.r.store, persistence.Range[schema.Membership]{
		Prefix: schema.Membership{UserID: other}, Keys: 1, Limit: othersRooms}) {
		if err != nil {
			return false, err
		}
		if m.Membership != "join" {
			continue
		}
		if a.rooms[m.RoomID] {
			return true, nil
		}
		public, err := a.isPublic(ctx, m.RoomID)
		if err != nil || public {
			return public, err
		}
	}
	return false, nil
}

func (a *Acquaintances) isPublic(ctx context.Context, roomID string) (bool, error) {
	public, ok := a.public[roomID]
	if !ok {
		room, _, err := schema.Rooms.Get(ctx, a.r.store, schema.Room{RoomID: roomID})
		if err != nil {
			return false, err
		}
		public = room.JoinRule == "public" || room.HistoryVisibility == visibility.WorldReadable
		a.public[roomID] = public
	}
	return public, nil
}
