package schema

import "github.com/matrixon/matrixon/persistence"

// OutlierBase is where the numbers of outliers begin: events whose place in the room is not known. All below it have a place in the
// timeline. An outlier that gets its place later is written again with the number of that place.
const OutlierBase = uint64(1) << 62

// RoomGap is a stretch of history that this server does not have: between the event with this number and what is before it.
// Written by the room's actor.
type RoomGap struct {
	RoomID string `col:"room_id,key"`
	Seq    uint64 `col:"seq,key"`     // of the oldest event after the gap when it began
	Next   uint64 `col:"next"`        // the number that the next older event gets; all from here up to Seq are filled
	Floor  uint64 `col:"floor"`       // the newest number before the gap
	Wanted []byte `col:"wanted,json"` // a JSON array of the ids of the events before the gap's end that are not here
}

// RoomServer counts the joined users that a server has in a room. Written with the memberships.
type RoomServer struct {
	RoomID    string `col:"room_id,key"`
	Server    string `col:"server,key"`
	Joined    int64  `col:"joined"`     // how many of its users are in the room
	JoinedSeq uint64 `col:"joined_seq"` // of the event with which the first of them came
	LeftSeq   uint64 `col:"left_seq"`   // of the event with which the last of them went; it is the last that the server is sent. 0: never
}

// OutboundEvent is an event of this server that other servers in its room must get. Written with the event.
type OutboundEvent struct {
	Pos    uint64 `col:"pos,key,position"`
	RoomID string `col:"room_id,key"`
	Seq    uint64 `col:"seq,key"`
}

// AuthEdge holds the auth events of a state event, so that auth chains are walked without reading events. Written with the event.
type AuthEdge struct {
	RoomID string `col:"room_id,key"`
	Number uint64 `col:"number,key"` // of the event, as state trees have it
	Cites  []byte `col:"cites"`      // the numbers of its auth events, as varints
}

// RoomPosition says which was the newest event of a room's timeline after a commit. Written with the events that came live, from the
// first gap in the room's history on: until then the events' own positions rise with their numbers, but those that fill gaps are newer
// than what follows them.
type RoomPosition struct {
	RoomID string `col:"room_id,key"`
	Pos    uint64 `col:"pos,key,position"`
	Seq    uint64 `col:"seq"`
}

// EventRoom finds the room of an event when only its id is told. Servers choose the ids in room versions 1 and 2, so that there may be several.
// Written with the event.
type EventRoom struct {
	EventID string `col:"event_id,key"`
	RoomID  string `col:"room_id,key"`
}

// The tables of rooms that are shared with other servers.
var (
	RoomGaps       = persistence.NewTable[RoomGap]("room_gaps")
	RoomServers    = persistence.NewTable[RoomServer]("room_servers")
	OutboundEvents = persistence.NewTable[OutboundEvent]("outbound_events")
	AuthEdges      = persistence.NewTable[AuthEdge]("auth_edges")
	RoomPositions  = persistence.NewTable[RoomPosition]("room_positions")
	EventRooms     = persistence.NewTable[EventRoom]("event_rooms")
)
