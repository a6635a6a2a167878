package admin

import (
	"context"
	"log/slog"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// BlockedRoom is a room into which nobody of this server can come.
type BlockedRoom struct {
	RoomID string `json:"room_id"`
	By     string `json:"by,omitzero"` // absent: the operator of the machine
	TS     int64  `json:"ts"`          // ms
}

// BlockedRooms is a page of blocked rooms, by their id.
type BlockedRooms struct {
	Rooms []BlockedRoom `json:"blocked_rooms"`
	Next  string        `json:"next,omitzero"` // the from of the next page
}

// BlockedRooms lists the rooms that are blocked.
func (o Operator) BlockedRooms(ctx context.Context, p Page) (BlockedRooms, error) {
	rows, next, err := collect(ctx, o.Store, schema.BlockedRooms, persistence.Range[schema.BlockedRoom]{}, p, false,
		func(roomID string) schema.BlockedRoom { return schema.BlockedRoom{RoomID: roomID} },
		func(row schema.BlockedRoom) (string, bool) { return row.RoomID, p.matches(row.RoomID, row.ByID) })
	if err != nil {
		return BlockedRooms{}, err
	}
	list := BlockedRooms{Rooms: make([]BlockedRoom, len(rows)), Next: next}
	for i, row := range rows {
		list.Rooms[i] = BlockedRoom{row.RoomID, row.ByID, row.TS}
	}
	return list, nil
}

// BlockRoom keeps all users of this server who are not in the room out of it, or lets them in again. The server need not know the room.
func (o Operator) BlockRoom(ctx context.Context, by By, roomID string, blocked bool, now time.Time) error {
	if !id.ValidRoomID(roomID) {
		return mxerr.InvalidParam("%.300q is no room id", roomID)
	}
	row := schema.BlockedRoom{RoomID: roomID, ByID: string(by), TS: now.UnixMilli()}
	change := schema.BlockedRooms.Put(row)
	if !blocked {
		change = schema.BlockedRooms.Delete(row)
	}
	_, err := persistence.Await(ctx, o.Store, &persistence.Commit{Write: []persistence.Mutation{change}})
	o.note(ctx, by, "a room is blocked or let free", err, slog.String("room", roomID), slog.Bool("blocked", blocked))
	return err
}

func (h handler) listBlockedRooms(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	return h.BlockedRooms(r.Ctx, p)
}

func (h handler) blockRoom(r *api.Request) (any, error) {
	var body struct {
		Blocked *bool `json:"blocked"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Blocked == nil {
		return nil, mxerr.MissingParam("blocked is required")
	}
	return nil, h.BlockRoom(r.Ctx, By(r.User()), r.Vars["room"], *body.Blocked, r.Now)
}
