package persistence

import (
	"context"
	"errors"
)

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

// The refusals of a copy; test with errors.Is.
var (
	// ErrNotEmpty says that what should be copied into has data of another origin.
	ErrNotEmpty = errors.New("persistence: there is data already where the copy should go")
	// ErrUnfinished says that a copy into the store has begun and not ended, so that it cannot be used.
	ErrUnfinished = errors.New("persistence: a copy into it is not finished: run matrixon db copy again")
)

// Target is an empty store that is being filled. It keeps how far that is, so that a copy whose process dies goes on
// where it was; until Finish nobody can open it as a Store.
type Target interface {
	// Begin makes the target ready for a copy of the source with this name: ErrNotEmpty when it holds anything else than what
	// an unfinished copy of the same source has left.
	Begin(ctx context.Context, source string) error
	// Far is how many rows of a part the target has, and whether those are all.
	Far(ctx context.Context, part string) (rows int64, done bool, err error)
	// PutRow adds a row (a *R) to what the next Save writes, with its positions as they are, and gives about how many bytes
	// that are. The row may be changed afterwards, but not what its byte slices hold.
	PutRow(s *Schema, row any) int
	// PutHead does the same with the head of a stream.
	PutHead(h Head) int
	// Save writes what was put and how far the part is, durably and at once.
	Save(ctx context.Context, part string, rows int64, done bool) error
	// Saved reads back what was saved.
	Saved() Source
	// Finish writes the extra rows, sets the position and makes the target a store that can be opened.
	Finish(ctx context.Context, p Position, extra []Mutation) error
}
