package schema

import "github.com/matrixon/matrixon/persistence"

// StagedPDU is an event that came from another server and waits for others, which are being fetched. Written by the node that has received
// it, deleted when the room has decided about it.
type StagedPDU struct {
	RoomID     string `col:"room_id,key"`
	EventID    string `col:"event_id,key"`
	Origin     string `col:"origin"`      // the server that sent it
	JSON       []byte `col:"json,json"`   // as messages.Pdu has it
	ReceivedTS int64  `col:"received_ts"` // ms
	NextTS     int64  `col:"next_ts"`     // ms: when it is tried again, or whoever staged it is taken to be gone
	Attempts   int64  `col:"attempts"`
}

// StagedPDUs are the events that wait.
var StagedPDUs = persistence.NewTable[StagedPDU]("staged_pdus")
