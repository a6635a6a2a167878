package schema

import "github.com/matrixon/matrixon/persistence"

// SearchTask says that the full-text index must look at an event again, because it is new or was redacted. Written with the
// event; deleted by the node that keeps the index, when that is durable.
type SearchTask struct {
	Pos    uint64 `col:"pos,key,position"`
	RoomID string `col:"room_id,key"`
	Seq    uint64 `col:"seq,key"`
}

// SearchTasks are what the full-text index has yet to do.
var SearchTasks = persistence.NewTable[SearchTask]("search_tasks")
