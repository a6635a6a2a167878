package schema

import "github.com/matrixon/matrixon/persistence"

// PartialRoom is a room that was joined without its members, and what is wanted before they are known. Once they are it stays, so that who
// synchronises from before that is told. Written by the room's actor.
type PartialRoom struct {
	RoomID  string `col:"room_id,key"`
	Seq     uint64 `col:"seq"`          // of the join: nothing before it is partial
	Pos     uint64 `col:"pos,position"` // of the newest change of this row: when Whole, of the commit with which the members became known
	Whole   bool   `col:"whole"`
	Points  []byte `col:"points,json"`  // a JSON array of events whose whole state before must be told, {"event_id", "state"}: its root in hex, empty until it is
	Servers []byte `col:"servers,json"` // a JSON array of those that are in the room as the other server says
	Origin  string `col:"origin"`       // the server through which the room was joined
}

// PartialAt reports whether the members were not known at the position.
func (p *PartialRoom) PartialAt(pos uint64) bool { return !p.Whole || pos < p.Pos }

// PartialRooms are the rooms that were joined without their members.
var PartialRooms = persistence.NewTable[PartialRoom]("partial_rooms")
