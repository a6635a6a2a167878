package schema

import "github.com/matrixon/matrixon/persistence"

// Report tells the administrators that somebody finds something inappropriate (client-server API, "Reporting content"): an
// event, a room, or a user. Written by the actor of the user who reports; deleted when it has been dealt with.
type Report struct {
	Pos        uint64 `col:"pos,key,position"`
	ReporterID string `col:"reporter_id"`
	TS         int64  `col:"ts"`       // ms
	RoomID     string `col:"room_id"`  // of the event or room, empty when a user is reported
	EventID    string `col:"event_id"` // empty when a room or user is reported
	UserID     string `col:"user_id"`  // the sender of the event, or the user; empty when a room is reported
	Reason     string `col:"reason"`
}

// Reports are what users have reported, in the order of time.
var Reports = persistence.NewTable[Report]("reports")
