package reader

import (
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/visibility"
	"github.com/matrixon/matrixon/persistence/schema"
)

// allowedRooms bounds how many conditions of a restricted room are looked at.
const allowedRooms = 100

// Discovered is what may be told of a room to somebody who could join it.
type Discovered struct {
	schema.Room
	// AllowedRooms are the rooms whose members may join, if the room is restricted.
	AllowedRooms []string
}

// Discover summarises the room if the user may know of it: those who are in it or invited, who may join or knock, and everyone
// if all may read it (client-server API, "GET /hierarchy"). ok is false otherwise, and for rooms that are not known.
// Somebody without a user id is a stranger to every room.
func (a *Access) Discover(ctx context.Context) (d Discovered, ok bool, err error) {
	d, open, ok, err := a.r.discovered(ctx, a.RoomID)
	if err != nil || !ok {
		return d, false, err
	}
	switch {
	case d.HistoryVisibility == visibility.WorldReadable, a.Joined():
		return d, true, nil
	case a.Member.Membership == "ban":
		return d, false, nil
	case a.Member.Membership == "invite", open:
		return d, true, nil
	}
	ok, err = a.joinedAny(ctx, d.AllowedRooms)
	return d, ok, err
}

// discovered summarises a room that is known; open says that everyone may join or knock.
func (r *Reader) discovered(ctx context.Context, roomID string) (d Discovered, open, ok bool, err error) {
	if d.Room, ok, err = schema.Rooms.Get(ctx, r.store, schema.Room{RoomID: roomID}); err != nil || !ok {
		return d, false, false, err
	}
	v, _ := roomversion.Get(d.Version)
	if v == nil {
		v = new(roomversion.Version)
	}
	if d.JoinRule == "" {
		d.JoinRule = "invite"
	}
	knock := v.Knock && d.JoinRule == "knock" || v.KnockRestricted && d.JoinRule == "knock_restricted"
	restricted := v.Restricted && d.JoinRule == "restricted" || v.KnockRestricted && d.JoinRule == "knock_restricted"
	if restricted {
		d.AllowedRooms, err = r.allowedRooms(ctx, roomID)
	}
	return d, knock || d.JoinRule == "public", true, err
}

// joinedAny reports whether the user is in one of the rooms.
func (a *Access) joinedAny(ctx context.Context, rooms []string) (bool, error) {
	if a.UserID == "" {
		return false, nil
	}
	for _, roomID := range rooms {
		m, _, err := schema.Memberships.Get(ctx, a.r.store, schema.Membership{UserID: a.UserID, RoomID: roomID})
		if err != nil || m.Membership == "join" {
			return err == nil, err
		}
	}
	return false, nil
}

// allowedRooms reads the conditions of m.room.join_rules (client-server API, "Restricted rooms").
func (r *Reader) allowedRooms(ctx context.Context, roomID string) ([]string, error) {
	row, ok, err := r.Current(ctx, roomID, "m.room.join_rules", "")
	if err != nil || !ok {
		return nil, err
	}
	var rooms []string
	gjson.GetBytes(row.JSON, "content.allow").ForEach(func(_, condition gjson.Result) bool {
		if allowed := condition.Get("room_id").Str; condition.Get("type").Str == "m.room_membership" && id.ValidRoomID(allowed) {
			rooms = append(rooms, allowed)
		}
		return len(rooms) < allowedRooms
	})
	return rooms, nil
}
