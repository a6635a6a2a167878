// Package pebble keeps a single node's data in Pebble, in one folder, with nothing to install.
//
// All commits go through one group committer (committer.go); readers see what it made durable (read.go). When the store
// is opened, it is checked that nothing acknowledged is missing (recovery.go).
package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/internal/ordered"
)

// Store implements persistence.Store.
type Store struct {
	db           *pebble.DB
	fs           vfs.FS
	lock         *pebble.Lock
	log          *slog.Logger
	tables       map[*persistence.Schema][]byte
	acknowledged *acknowledged
	follower     persistence.Follower
	position     ordered.Progress
	visible      atomic.Uint64 // the newest commit that readers may see
	told         ordered.Queue // runs the done functions
	committed    chan struct{} // closed when the committer has ended
	failed       chan struct{} // closed when failure is set

	// Of the committer alone.
	newest persistence.Position
	heads  headCache

	viewMu     sync.Mutex
	view       *view
	unreadable bool // closed or failed; view is nil
	readers    sync.WaitGroup

	mu           sync.Mutex
	work         *sync.Cond // something was queued, or the committer must end
	queue        []*request
	inFlight     []*request // of the committer, until their fates are told
	waiting      int        // requests whose done has not returned
	waitingBytes int
	maxWaiting   int
	maxBytes     int
	closing      bool
	ended        bool  // closed regularly
	failure      error // what to tell everybody since the store failed

	closeOnce sync.Once
	closeErr  error
}

// Submit implements persistence.Store. The rows are read before it returns; the snapshot must not be changed until
// done is called.
func (s *Store) Submit(c *persistence.Commit, done persistence.Done) {
	r, err := s.encode(c)
	r.done = done
	if err != nil {
		s.told.Post(func() { done(0, err) })
		return
	}
	s.enqueue(r)
}

// enqueue puts the request into the queue or tells why not.
func (s *Store) enqueue(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(r); err != nil {
		s.told.Post(func() { r.done(0, err) })
		return
	}
	s.waiting++
	s.waitingBytes += r.size
	s.queue = append(s.queue, r)
	s.work.Signal()
}

// admit says why the request cannot be queued. One that is alone is admitted whatever its size.
func (s *Store) admit(r *request) error {
	switch {
	case s.failure != nil:
		return s.failure
	case s.closing:
		return persistence.ErrClosed
	case s.waiting > 0 && (s.waiting >= s.maxWaiting || s.waitingBytes+r.size > s.maxBytes):
		return persistence.ErrOverloaded
	}
	return nil
}

// free makes room in the queue for others.
func (s *Store) free(told []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting -= len(told)
	for _, r := range told {
		s.waitingBytes -= r.size
	}
}

// refusal is what a reader is told when there is no view.
func (s *Store) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	return persistence.ErrClosed
}

// Claim implements persistence.Store. When ctx ends first, the claim may happen all the same.
func (s *Store) Claim(ctx context.Context, stream persistence.Stream) (persistence.Activation, error) {
	if err := checkStream(stream); err != nil {
		return persistence.Activation{}, err
	}
	told := make(chan error, 1)
	r := &request{stream: stream, claim: true, size: requestOverhead}
	r.done = func(_ persistence.Position, err error) { told <- err }
	s.enqueue(r)
	select {
	case err := <-told:
		if err != nil {
			return persistence.Activation{}, err
		}
		return s.activation(stream, r.claimed)
	case <-ctx.Done():
		return persistence.Activation{}, ctx.Err()
	}
}

// activation reads what the claimer of an epoch must know. Head and snapshot come from one view; when the view has a
// newer epoch already, the claim is void.
func (s *Store) activation(stream persistence.Stream, claimed persistence.Epoch) (persistence.Activation, error) {
	a := persistence.Activation{Epoch: claimed}
	v, err := s.acquire()
	if err != nil {
		return a, err
	}
	defer s.release(v)
	err = get(v.snapshot, appendStreamKey(nil, headSpace, stream), func(value []byte) error {
		h, err := decodeHead(value)
		if err == nil && h.epoch != claimed {
			err = persistence.ErrFenced
		}
		a.Seq = h.seq
		return err
	})
	if err != nil {
		return persistence.Activation{}, err
	}
	err = get(v.snapshot, appendStreamKey(nil, snapshotSpace, stream), func(value []byte) (err error) {
		a.SnapshotSeq, a.Snapshot, err = decodeSnapshot(value)
		return err
	})
	return a, err
}

// Position implements persistence.Store.
func (s *Store) Position() persistence.Position { return persistence.Position(s.position.Now()) }

// Follow implements persistence.Store.
func (s *Store) Follow(f persistence.Follower) { s.follower = f }

// CatchUp implements persistence.Store.
func (s *Store) CatchUp(ctx context.Context) (persistence.Position, error) {
	err := s.position.Wait(ctx, s.visible.Load())
	return s.Position(), err
}

// Close implements persistence.Store. It waits for readers too. Of a failed store it gives the failure.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	s.mu.Lock()
	s.closing = true
	s.work.Broadcast()
	s.mu.Unlock()
	select {
	case <-s.committed:
	case <-s.failed:
	}
	s.told.Wait()
	if v := s.endReading(); v != nil {
		v.release()
	}
	s.readers.Wait()
	s.mu.Lock()
	s.ended = s.failure == nil
	failure := s.failure
	s.mu.Unlock()
	if failure != nil {
		s.abandon()
		return failure
	}
	return errors.Join(s.acknowledged.close(), s.db.Close(), s.lock.Close())
}

// abandonAfter is how long closing a failed Pebble may take.
const abandonAfter = 2 * time.Second

// abandon closes a failed Pebble if that is still possible. It may hold locks for ever; then the folder stays locked
// until the process ends.
func (s *Store) abandon() {
	closed := make(chan error, 1)
	go func() {
		err := errors.New("persistence: closing ended in Pebble")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("persistence: panic in Pebble: %v", p)
			}
			closed <- err
		}()
		<-s.committed
		err = errors.Join(s.acknowledged.close(), s.db.Close())
	}()
	timeout := time.NewTimer(abandonAfter)
	defer timeout.Stop()
	select {
	case err := <-closed:
		if err != nil {
			s.log.Warn("the failed store could not be closed cleanly", "error", err)
		}
	case <-timeout.C:
		s.log.Warn("the failed store does not close; its folder stays locked until the process ends")
		return
	}
	if err := s.lock.Close(); err != nil {
		s.log.Warn("the folder stays locked until the process ends", "error", err)
	}
}
