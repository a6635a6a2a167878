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
