// Package memory is a persistence.Store for tests: everything is durable at once and gone with the process.
package memory

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/internal/ordered"
)

// Options bound a store. Zero values mean the defaults.
type Options struct {
	// MaxWaiting is how many commits may wait for their done functions before ErrOverloaded; 65536 by default.
	MaxWaiting int
}

// Store implements persistence.Store.
type Store struct {
	maxWaiting int
	rows       atomic.Pointer[node] // by table name, a zero byte, and the key
	follower   persistence.Follower
	position   ordered.Progress
	told       ordered.Queue

	mu      sync.Mutex
	newest  persistence.Position
	streams map[persistence.Stream]persistence.Activation
	waiting int
	closed  atomic.Bool
}

// New makes an empty store.
func New(o Options) *Store {
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 65536
	}
	return &Store{maxWaiting: o.MaxWaiting, streams: make(map[persistence.Stream]persistence.Activation)}
}

// Claim implements persistence.Store.
func (s *Store) Claim(ctx context.Context, stream persistence.Stream) (persistence.Activation, error) {
	if err := ctx.Err(); err != nil {
		return persistence.Activation{}, err
	}
	if stream.Kind == "" {
		return persistence.Activation{}, errNoKind
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return persistence.Activation{}, persistence.ErrClosed
	}
	a := s.streams[stream]
	a.Epoch++
	s.streams[stream] = a
	a.Snapshot = clone(a.Snapshot)
	return a, nil
}

var errNoKind = errors.New("persistence: a stream needs a kind")

// Submit implements persistence.Store.
func (s *Store) Submit(c *persistence.Commit, done persistence.Done) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		s.told.Post(func() { done(0, persistence.ErrClosed) })
		return
	}
	if s.waiting >= s.maxWaiting {
		s.told.Post(func() { done(0, persistence.ErrOverloaded) })
		return
	}
	s.waiting++
	p, err := s.apply(c)
	notices := c.Notices
	s.told.Post(func() {
		if err == nil {
			if s.follower != nil && len(notices) > 0 {
				s.follower(p, notices)
			}
			s.position.Set(uint64(p))
		}
		done(p, err)
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	})
}

// apply checks the commit and carries it out.
func (s *Store) apply(c *persistence.Commit) (persistence.Position, error) {
	fenced := c.Stream != persistence.Stream{}
	if !fenced && (c.Epoch != 0 || c.Seq != 0 || c.Advance != 0 || c.Snapshot != nil) {
		return 0, errors.New("persistence: a commit without a stream cannot name an epoch, a sequence number or a snapshot")
	}
	if fenced && c.Stream.Kind == "" {
		return 0, errNoKind
	}
	a := s.streams[c.Stream]
	if fenced && (c.Epoch == 0 || c.Epoch != a.Epoch) {
		return 0, persistence.ErrFenced
	}
	if fenced && c.Seq != a.Seq {
		return 0, persistence.ErrConflict
	}
	root := s.rows.Load()
	for _, m := range c.Absent {
		if _, exists := root.get(string(m.Schema.EncodeKey(table(m.Schema), m.Row, nil))); exists {
			return 0, persistence.ErrExists
		}
	}
	s.newest++
	for _, m := range c.Write {
		root = write(root, m, s.newest)
	}
	s.rows.Store(root)
	if fenced {
		a.Seq += c.Advance
		if c.Snapshot != nil {
			a.Snapshot, a.SnapshotSeq = clone(c.Snapshot), a.Seq
		}
		s.streams[c.Stream] = a
	}
	return s.newest, nil
}

// clone keeps the difference between nil and empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func write(root *node, m persistence.Mutation, p persistence.Position) *node {
	if m.Delete {
		return root.without(string(m.Schema.EncodeKey(table(m.Schema), m.Row, nil)))
	}
	var stamps []int
	key := m.Schema.EncodeKey(table(m.Schema), m.Row, &stamps)
	persistence.Stamp(key, stamps, p)
	stamps = stamps[:0]
	value := m.Schema.EncodeValue(nil, m.Row, &stamps)
	persistence.Stamp(value, stamps, p)
	return root.set(string(key), value)
}

func table(schema *persistence.Schema) []byte { return append([]byte(schema.Name()), 0) }

// ReadRow implements persistence.Reader.
func (s *Store) ReadRow(ctx context.Context, schema *persistence.Schema, row any) (bool, error) {
	if err := s.readable(ctx); err != nil {
		return false, err
	}
	value, ok := s.rows.Load().get(string(schema.EncodeKey(table(schema), row, nil)))
	if !ok {
		return false, nil
	}
	return true, schema.DecodeValue(row, value)
}

// ScanRows implements persistence.Reader.
func (s *Store) ScanRows(ctx context.Context, schema *persistence.Schema, r persistence.RowRange, yield func(row any) bool) error {
	if err := s.readable(ctx); err != nil {
		return err
	}
	prefix := table(schema)
	lower, upper, err := schema.Bounds(prefix, r)
	if err != nil {
		return err
	}
	row := schema.NewRow()
	given := 0
	s.rows.Load().walk(string(lower), string(upper), r.Reverse, func(n *node) bool {
		if err = schema.DecodeKey(row, []byte(n.key[len(prefix):])); err != nil {
			return false
		}
		if err = schema.DecodeValue(row, n.value); err != nil {
			return false
		}
		given++
		return yield(row) && given != r.Limit
	})
	return err
}

func (s *Store) readable(ctx context.Context) error {
	if s.closed.Load() {
		return persistence.ErrClosed
	}
	return ctx.Err()
}

// Position implements persistence.Store.
func (s *Store) Position() persistence.Position { return persistence.Position(s.position.Now()) }

// Follow implements persistence.Store.
func (s *Store) Follow(f persistence.Follower) { s.follower = f }

// CatchUp implements persistence.Store.
func (s *Store) CatchUp(ctx context.Context) (persistence.Position, error) {
	s.mu.Lock()
	visible := s.newest
	s.mu.Unlock()
	err := s.position.Wait(ctx, uint64(visible))
	return s.Position(), err
}

// Close implements persistence.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed.Store(true)
	s.mu.Unlock()
	s.told.Wait()
	return nil
}
