package schema

import "github.com/matrixon/matrixon/persistence"

// SlidingConnection is what a connection of simplified sliding sync (MSC4186) has been sent, as far as it is known: it is written
// when the user's actor rests or moves. Losing it costs the client a fresh start, no more.
type SlidingConnection struct {
	UserID   string `col:"user_id,key"`
	DeviceID string `col:"device_id,key"`
	ConnID   string `col:"conn_id,key"`
	UsedTS   int64  `col:"used_ts"` // ms
	State    []byte `col:"state"`   // messages.SlidingConnection
}

// SlidingConnections are written by the user's actor.
var SlidingConnections = persistence.NewTable[SlidingConnection]("sliding_connections")
