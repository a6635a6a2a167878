package schema

import "github.com/matrixon/matrixon/persistence"

// StickyEvent is an event that is told to everybody in its room until it ends, whatever else has happened since (MSC4354). Written by the
// room's actor, which deletes what has ended when the next one comes.
type StickyEvent struct {
	RoomID     string `col:"room_id,key"`
	Seq        uint64 `col:"seq,key"`
	EventID    string `col:"event_id"`
	Sender     string `col:"sender"`
	EndsTS     int64  `col:"ends_ts"`      // ms
	SoftFailed bool   `col:"soft_failed"`  // it is not told yet; it may be once the sender's membership changes
	Pos        uint64 `col:"pos,position"` // of the commit since which it is told
}

// StickyEvents is the table of sticky events.
var StickyEvents = persistence.NewTable[StickyEvent]("sticky_events")
