package schema

import "github.com/matrixon/matrixon/persistence"

// FeedEntry is what a commit told, kept for application services until all have been sent what concerns them. Written with the
// commit while any is registered; one node of the cluster deletes what all are past.
type FeedEntry struct {
	Pos     uint64 `col:"pos,key,position"`
	Notices []byte `col:"notices"` // messages.FeedNotices
}

// AppserviceQueue is how far an application service has been sent what concerns it. Written by its actor.
type AppserviceQueue struct {
	ID     string `col:"id,key"`
	Pos    uint64 `col:"pos"`     // of the feed's entry to go on with
	Skip   uint64 `col:"skip"`    // how many parts of that entry are done
	TxnID  uint64 `col:"txn_id"`  // of the last transaction
	Body   []byte `col:"body"`    // of it while it has not been acknowledged, else nil
	Drop   []byte `col:"drop"`    // messages.DeviceMessages: what leaves the inboxes when it has been
	SentTS int64  `col:"sent_ts"` // ms; when a transaction was acknowledged last
	TS     int64  `col:"ts"`      // ms; when this row was written
	Events uint64 `col:"events"`  // how many events were acknowledged
}

// NetworkRoom is a room in the directory of a third-party network that an application service bridges. Written by the actor of the
// application service's own user.
type NetworkRoom struct {
	AppserviceID string `col:"appservice_id,key"`
	NetworkID    string `col:"network_id,key"`
	RoomID       string `col:"room_id,key"`
}

// The tables of application services.
var (
	Feed             = persistence.NewTable[FeedEntry]("feed")
	AppserviceQueues = persistence.NewTable[AppserviceQueue]("appservice_queues")
	NetworkRooms     = persistence.NewTable[NetworkRoom]("network_rooms")
)
