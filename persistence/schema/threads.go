package schema

import "github.com/matrixon/matrixon/persistence"

// ThreadReply says which events of a room are in threads, in the order of arrival. Written with the event's Relation, and
// deleted with it.
type ThreadReply struct {
	RoomID string `col:"room_id,key"`
	Seq    uint64 `col:"seq,key"` // of the event in the thread
	RootID string `col:"root_id"`
}

// ThreadReplies orders the threads of a room by their newest events.
var ThreadReplies = persistence.NewTable[ThreadReply]("thread_replies")

// ThreadSubscription says whether a user follows a thread (MSC4306). A user who never said so has no row. Written by the actor of
// the user.
type ThreadSubscription struct {
	UserID     string `col:"user_id,key"`
	RoomID     string `col:"room_id,key"`
	RootID     string `col:"root_id,key"`
	Subscribed bool   `col:"subscribed"`
	Automatic  bool   `col:"automatic"`    // the client subscribed by itself, because of an event
	Pos        uint64 `col:"pos,position"` // of the last change
}

// ThreadSubscriptionChange orders a user's thread subscriptions by when they last changed: one row for each. Written with the
// ThreadSubscription.
type ThreadSubscriptionChange struct {
	UserID string `col:"user_id,key"`
	Pos    uint64 `col:"pos,key,position"`
	RoomID string `col:"room_id,key"`
	RootID string `col:"root_id,key"`
}

// The tables of thread subscriptions.
var (
	ThreadSubscriptions       = persistence.NewTable[ThreadSubscription]("thread_subscriptions")
	ThreadSubscriptionChanges = persistence.NewTable[ThreadSubscriptionChange]("thread_subscription_changes")
)
