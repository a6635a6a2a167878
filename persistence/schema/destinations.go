package schema

import "github.com/matrixon/matrixon/persistence"

// Destination is how far another server has been sent what waits for it, and how that went. Written, like all tables here unless they
// say otherwise, by the destination's actor.
type Destination struct {
	Destination string `col:"destination,key"`
	// The last of outbound_events that was sent, or did not concern the server.
	SentPos        uint64 `col:"sent_pos"`
	SentRoom       string `col:"sent_room"`
	SentSeq        uint64 `col:"sent_seq"`
	Paused         bool   `col:"paused"`
	Failures       int64  `col:"failures"`         // in a row
	FailingSinceTS int64  `col:"failing_since_ts"` // ms, 0 while it is well
	RetryTS        int64  `col:"retry_ts"`         // ms
	LastSuccessTS  int64  `col:"last_success_ts"`  // ms
	LastError      string `col:"last_error"`
}

// DestinationTransaction is the transaction that is being sent, until it is answered: the same under the same id.
type DestinationTransaction struct {
	Destination string `col:"destination,key"`
	TxnID       string `col:"txn_id"`
	// What it ends with: the last of outbound_events …
	SentPos  uint64 `col:"sent_pos"`
	SentRoom string `col:"sent_room"`
	SentSeq  uint64 `col:"sent_seq"`
	// … the last of outbound_edus, 0 when there is none …
	EDUPos uint64 `col:"edu_pos"`
	EDUN   uint64 `col:"edu_n"`
	// … and the room of missed_rooms, empty when there is none.
	MissedRoom string `col:"missed_room"`
	PDUs       int64  `col:"pdus"`
	EDUs       int64  `col:"edus"`
	Body       []byte `col:"body,json"`
}

// OutboundEDU is an EDU that another server must get. It is appended in the commit with its reason, and deleted when it was sent. Those of
// the types m.device_list_update and m.signing_key_update name the user and device, whose keys are filled in when they are sent.
type OutboundEDU struct {
	Destination string `col:"destination,key"`
	Pos         uint64 `col:"pos,key,position"`
	N           uint64 `col:"n,key"` // order within one commit
	Type        string `col:"type"`
	Content     []byte `col:"content,json"`
}

// DeviceChange is the content of an OutboundEDU of the types m.device_list_update and m.signing_key_update.
type DeviceChange struct {
	UserID   string   `json:"user_id"`
	DeviceID string   `json:"device_id,omitempty"`
	PrevID   []uint64 `json:"prev_id,omitempty"` // stream ids of the change before
}

// MissedRoom is a room of which events were swept from outbound_events before a server got them: it is sent the newest ones, and what sticks there.
// Written by the sweep, in the commit that deletes the events, and by the room, when the server comes into it while something sticks there. Deleted
// when it was sent.
type MissedRoom struct {
	Destination string `col:"destination,key"`
	RoomID      string `col:"room_id,key"`
	Pos         uint64 `col:"pos,position"`
}

// InboundTransaction remembers the answer to one of the last transactions of another server. They go round in a few slots.
type InboundTransaction struct {
	Origin string `col:"origin,key"`
	Slot   uint64 `col:"slot,key"`
	TxnID  string `col:"txn_id"`
	Answer []byte `col:"answer,json"`
	TS     int64  `col:"ts"` // ms
}

// InboundMessage remembers a message to devices by its id, so that it is delivered once. Written with the messages in the inboxes.
type InboundMessage struct {
	Day       int64  `col:"day,key"` // since 1970
	Sender    string `col:"sender,key"`
	MessageID string `col:"message_id,key"`
}

// The tables of what other servers are sent, and have sent.
var (
	Destinations            = persistence.NewTable[Destination]("destinations")
	DestinationTransactions = persistence.NewTable[DestinationTransaction]("destination_transactions")
	OutboundEDUs            = persistence.NewTable[OutboundEDU]("outbound_edus")
	MissedRooms             = persistence.NewTable[MissedRoom]("missed_rooms")
	InboundTransactions     = persistence.NewTable[InboundTransaction]("inbound_transactions")
	InboundMessages         = persistence.NewTable[InboundMessage]("inbound_messages")
)
