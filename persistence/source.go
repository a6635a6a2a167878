package persistence

import "context"

// Head is where a stream stands, and its newest snapshot.
type Head struct {
	Stream      Stream
	Epoch       Epoch
	Seq         uint64
	Snapshot    []byte // nil when there is none
	SnapshotSeq uint64
}

// Source is a store that can be copied whole, while nobody writes to it.
type Source interface {
	Reader
	Position() Position
	// Heads calls yield with the head of every stream, always in the same order, until it returns false.
	Heads(ctx context.Context, yield func(Head) bool) error
}
