// Package persistence is the contract between the actors and what keeps their data: streams with epochs that
// fence off stale writers, rows in declared tables, and one durable commit for many changes.
//
// The contract, which storetest checks on every backend:
//
//   - A Commit is atomic and durable when its done function is called with a nil error, and has not happened at
//     all when it is called with ErrFenced, ErrConflict, ErrExists or ErrOverloaded. Any other error leaves its
//     fate open: the writer must stop, and whoever claims the stream next sees the truth.
//   - A stream has one writer: the holder of its newest epoch. A commit under an older epoch is refused with
//     ErrFenced, one that expects another sequence number with ErrConflict; neither disturbs other streams. The epoch
//     is checked first, then the sequence number, then Commit.Absent.
//   - Every commit gets a Position, larger than that of every commit before it, which columns marked "position"
//     receive. The done functions of one node are called in the order of positions, one at a time.
//   - What a reader sees after done was called includes that commit.
//   - The notices of every commit, whichever node of the database made it, are told to the follower of every node, in
//     the order of positions and none left out; of a node's own commits before done is called.
package persistence

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Stream names the journal of one actor, for example {"room", "!abc"}.
type Stream struct{ Kind, ID string }

// Epoch counts the activations of a stream, from 1. Zero belongs to nobody.
type Epoch uint64

// Position orders commits. On a single node it is exact: a commit with a higher position became visible later.
type Position uint64

// The refusals of a commit; test with errors.Is.
var (
	// ErrFenced says that another activation has claimed the stream since: discard everything and stop.
	ErrFenced = errors.New("persistence: fenced: the stream was claimed by a newer epoch")
	// ErrConflict says that the stream is not at the sequence number the commit expected.
	ErrConflict = errors.New("persistence: conflict: the stream is at another sequence number")
	// ErrExists says that a row named in Commit.Absent is there.
	ErrExists = errors.New("persistence: a row that must be absent exists")
	// ErrOverloaded says that too much is waiting to be committed; the caller may retry later.
	ErrOverloaded = errors.New("persistence: too many commits are waiting")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("persistence: the store is closed")
	// ErrUnavailable says that the database cannot be reached, or not in time; nothing is wrong with what was asked. Whoever
	// waits for the answer is told so: 503 M_UNKNOWN.
	ErrUnavailable = mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "the database cannot be reached at the moment; please try again")
	// ErrCorrupt says that stored bytes cannot be what was written.
	ErrCorrupt = errors.New("persistence: corrupt data")
)

// Activation is what a new writer of a stream learns when it claims it.
type Activation struct {
	Epoch    Epoch
	Seq      uint64 // the stream's sequence number: how far earlier writers advanced it
	Snapshot []byte // the newest snapshot, nil when there is none
	// SnapshotSeq is the sequence number at which the snapshot was taken.
	SnapshotSeq uint64
}

// Commit is what one writer wants to happen at once.
type Commit struct {
	// Stream, Epoch and Seq fence the writer: Seq is the sequence number at which it believes the stream to be.
	// A zero Stream is not fenced; only append-only or precondition-guarded rows may be written so.
	Stream Stream
	Epoch  Epoch
	Seq    uint64
	// Advance is how many sequence numbers the commit uses.
	Advance uint64
	// Write is applied in order.
	Write []Mutation
	// Absent lists rows that must not exist before this commit.
	Absent []Mutation
	// Snapshot replaces the stream's snapshot when it is not nil; it describes the stream after this commit.
	Snapshot []byte
	// Notices are told to the followers when the commit is durable. They are small: what is large is read from the rows.
	Notices []proto.Message
}

// Follower hears of the notices of commits, one commit after another in the order of positions. It must not block. The
// notices are its own.
type Follower func(Position, []proto.Message)

// Done tells the fate of a commit. The done functions of a store are called one at a time, in the order of positions
// among the successful, and must not block.
type Done func(Position, error)

// Store is what a backend gives.
type Store interface {
	Reader
	// Claim makes the caller the only writer of the stream, durably, before it returns.
	Claim(ctx context.Context, s Stream) (Activation, error)
	// Submit queues a commit and returns at once. done is always called, exactly once, never on the caller's stack.
	// The commit, its rows and its snapshot must not be changed before that.
	Submit(c *Commit, done Done)
	// Follow sets who hears of notices on this node. It is called once at most, before the first Submit.
	Follow(Follower)
	// Position is how far this node has been told: to it and all below it, or what was there when the store was opened.
	Position() Position
	// CatchUp waits until this node has been told of all commits that a reader could see when it was called, and gives
	// the Position then.
	CatchUp(ctx context.Context) (Position, error)
	// Close waits for what is queued and closes the files or connections.
	Close() error
}

// Reader reads committed rows. The untyped methods are for Table, which is what callers use.
type Reader interface {
	// ReadRow fills the row (a pointer to the schema's row type) whose key columns are set, and reports whether it exists.
	ReadRow(ctx context.Context, s *Schema, row any) (bool, error)
	// ScanRows calls yield with a pointer to each row of the range, in key order (or reverse), until it returns false.
	// The pointer is valid during the call only; byte slices and strings read from it stay valid.
	ScanRows(ctx context.Context, s *Schema, r RowRange, yield func(row any) bool) error
}

// RowRange selects rows of one table by their key.
type RowRange struct {
	Prefix any // *R: the first Keys key columns must equal its
	Keys   int
	From   any // *R or nil: the key column after the prefix is ≥ its
	Before any // *R or nil: the key column after the prefix is < its
	After  any // *R or nil: the whole key is > its (< when Reverse)
	// Reverse gives the largest key first.
	Reverse bool
	// Limit is the most rows to give; 0 means no limit.
	Limit int
}

// Mutation is a change of one row, made by Table.Put and Table.Delete; as an element of Commit.Absent only its key counts.
type Mutation struct {
	Schema *Schema
	Row    any // *R
	Delete bool
}

// Await submits the commit and waits for it, for callers that may block.
func Await(ctx context.Context, s Store, c *Commit) (Position, error) {
	type fate struct {
		pos Position
		err error
	}
	ch := make(chan fate, 1)
	s.Submit(c, func(p Position, err error) { ch <- fate{p, err} })
	select {
	case f := <-ch:
		return f.pos, f.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
