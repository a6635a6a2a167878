package schema

import (
	"github.com/cespare/xxhash/v2"

	"github.com/matrixon/matrixon/persistence"
)

// Pusher is where a user wants to be told of notifications (client-server API, "Push Notifications"). Written by the user's actor.
type Pusher struct {
	UserID            string `col:"user_id,key"`
	AppID             string `col:"app_id,key"`
	Pushkey           string `col:"pushkey,key"`
	Kind              string `col:"kind"` // http or email
	AppDisplayName    string `col:"app_display_name"`
	DeviceDisplayName string `col:"device_display_name"`
	ProfileTag        string `col:"profile_tag"`
	Lang              string `col:"lang"`
	Data              []byte `col:"data,json"` // an object, with the url of an http pusher
	Enabled           bool   `col:"enabled"`
	DeviceID          string `col:"device_id"` // of the session that set it, and with which it goes
	SetTS             int64  `col:"set_ts"`    // ms
}

// PusherByKey finds who has a pusher with an app id and pushkey. Written with Pusher.
type PusherByKey struct {
	AppID   string `col:"app_id,key"`
	Pushkey string `col:"pushkey,key"`
	UserID  string `col:"user_id,key"`
}

// PushTask says that somebody may have to be told of events of a room, or that what somebody has unread there changed. Written with
// the events or receipts; deleted, in one commit with the PushItems that follow from it, by the node that does the shard.
type PushTask struct {
	Shard    uint64 `col:"shard,key"`
	Pos      uint64 `col:"pos,key,position"`
	RoomID   string `col:"room_id,key"`
	FirstSeq uint64 `col:"first_seq"` // of the events; 0: none
	LastSeq  uint64 `col:"last_seq"`
	// Readers are the local users whose receipts moved, or whose membership changed without an event (see Membership.OutOfBand): an array;
	// nil: none.
	Readers []byte `col:"readers,json"`
}

// InviteSeq is the Seq of a PushItem for the invite of another server, of which there is no event; the user's Membership tells of it.
const InviteSeq = uint64(1)<<63 - 1

// PushItem waits for its pusher: an event of which the user is to be told, or with Seq 0 the news that less is unread in the room. Written by
// the node that does the room's PushTasks; deleted by the user's push actor when it is delivered, or given up.
type PushItem struct {
	UserID  string `col:"user_id,key"`
	AppID   string `col:"app_id,key"`
	Pushkey string `col:"pushkey,key"`
	Pos     uint64 `col:"pos,key"` // of the event, or the task
	RoomID  string `col:"room_id,key"`
	Seq     uint64 `col:"seq,key"`
	TS      int64  `col:"ts"` // ms; when the event came
}

// PushDigest says when a pusher of the kind email last sent a message, and how long it then waits for the next. Written by the
// user's push actor.
type PushDigest struct {
	UserID  string `col:"user_id,key"`
	AppID   string `col:"app_id,key"`
	Pushkey string `col:"pushkey,key"`
	SentTS  int64  `col:"sent_ts"` // ms
	PauseMS int64  `col:"pause_ms"`
}

// PushShards is over how many shards the rooms' PushTasks are spread.
const PushShards = 16

// PushShard is the shard of a room's PushTasks.
func PushShard(roomID string) uint64 { return xxhash.Sum64String(roomID) % PushShards }

// The tables of push notifications.
var (
	Pushers      = persistence.NewTable[Pusher]("pushers")
	PushersByKey = persistence.NewTable[PusherByKey]("pushers_by_key")
	PushTasks    = persistence.NewTable[PushTask]("push_tasks")
	PushItems    = persistence.NewTable[PushItem]("push_items")
	PushDigests  = persistence.NewTable[PushDigest]("push_digests")
)
