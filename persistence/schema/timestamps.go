package schema

import "github.com/matrixon/matrixon/persistence"

// EventByTime orders the accepted events of a room by when their senders say they sent them. Written with the event.
type EventByTime struct {
	RoomID         string `col:"room_id,key"`
	OriginServerTS int64  `col:"origin_server_ts,key"` // ms
	Seq            uint64 `col:"seq,key"`
}

// EventsByTime finds events by their time.
var EventsByTime = persistence.NewTable[EventByTime]("event_times")
