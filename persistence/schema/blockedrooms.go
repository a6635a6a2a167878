package schema

import "github.com/matrixon/matrixon/persistence"

// BlockedRoom is a room into which nobody of this server can come, whether or not the server has heard of it. Written for administrators;
// the row is whole and says always the same, so that it matters not who writes it when.
type BlockedRoom struct {
	RoomID string `col:"room_id,key"`
	ByID   string `col:"by_id"` // of the administrator, empty for the operator of the machine
	TS     int64  `col:"ts"`    // ms
}

// BlockedRooms is the table of rooms that administrators have blocked.
var BlockedRooms = persistence.NewTable[BlockedRoom]("blocked_rooms")
