package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/matrixon/matrixon/persistence"
)

// The group committer: one goroutine takes everything that is queued, writes it as one synced batch, and tells the
// fates. Why this is right:
//
//   - It is the only writer, and it writes one batch at a time. So what it reads from the database (heads of streams, rows
//     that must be absent) together with what the batch has so far is exactly the state before the commit that it checks.
//   - A commit is checked completely before its first row enters the batch, so a refused one leaves no trace in it.
//   - A batch is one record of the write-ahead log: after a crash all of it is there or nothing.
//   - Fates are told after the batch is synced, the acknowledged position is noted, and the view of the readers is
//     replaced, in this order. So what was acknowledged is durable, its loss is noticed at the next start, and whoever
//     heard of a commit can read it. Refusals wait as well, for they may rest on a commit of the same batch.
//   - An error of the disk, or a panic, ends the store (see fail): after a failed sync nobody knows what the disk has, and
//     a second sync may succeed without having written it.
//
// Positions are counted here. Each batch records its newest, so they go on growing after a restart.

// await waits for work and takes as much as fits a batch. It gives nil when there will be no more.
func (s *Store) await() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closing && s.failure == nil {
		s.work.Wait()
	}
	if s.failure != nil || len(s.queue) == 0 {
		return nil
	}
	n, size := 0, 0
	for n < len(s.queue) && n < maxBatchCommits && (n == 0 || size+s.queue[n].size <= maxBatchBytes) {
		size += s.queue[n].size
		n++
	}
	s.inFlight = slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return s.inFlight
}

const (
	maxBatchCommits = 4096
	maxBatchBytes   = 4 << 20
)

// commitLoop is the committer's goroutine. Pebble's logger ends a goroutine in which it meets a fatal error, so
// leaving early in whatever way is a failure.
func (s *Store) commitLoop() {
	defer close(s.committed)
	err := errors.New("persistence: the committer ended in Pebble")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("persistence: panic in Pebble: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			s.fail(err)
		}
	}()
	for {
		requests := s.await()
		if requests == nil {
			err = nil
			return
		}
		if e := s.commit(requests); e != nil {
			err = e
			return
		}
	}
}

// commit makes one batch of the requests. An error means that the store must end.
func (s *Store) commit(requests []*request) error {
	b := builder{store: s, batch: s.db.NewBatch(), heads: make(map[persistence.Stream]head), next: s.newest}
	defer b.batch.Close()
	for _, r := range requests {
		r.position, r.err = b.add(r)
		if errors.Is(r.err, errBroken) {
			return r.err
		}
	}
	for _, r := range requests {
		r.encoded()
	}
	if b.next > s.newest {
		if err := b.batch.Set(positionKey, binary.BigEndian.AppendUint64(nil, uint64(b.next)), nil); err != nil {
			return err
		}
		if err := b.batch.Commit(pebble.Sync); err != nil {
			return err
		}
		if err := s.acknowledged.note(b.next); err != nil {
			return err
		}
		s.newest = b.next
		s.heads.put(b.heads)
		for _, r := range slices.Backward(requests) {
			if r.err == nil && !r.claim {
				s.visible.Store(uint64(r.position))
				break
			}
		}
		s.setView(newView(s.db))
	}
	s.settle(requests)
	return s.acknowledged.syncIfOlder(acknowledgedSync)
}

// acknowledgedSync is how old what the acknowledged file has on disk may become while commits flow.
const acknowledgedSync = 30 * time.Second

// settle tells the fates of the batch, unless the store failed meanwhile and told them that.
func (s *Store) settle(requests []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return
	}
	s.inFlight = nil
	s.told.Post(func() {
		for _, r := range requests {
			if r.err == nil && !r.claim {
				if s.follower != nil && len(r.notices) > 0 {
					s.follower(r.position, r.notices)
				}
				s.position.Set(uint64(r.position))
			}
			r.done(r.position, r.err)
		}
		s.free(requests)
	})
}

// fail ends the store: everything that waits gets the error, also what a hanging disk holds, and all later work is
// refused. What was in flight may or may not have happened.
func (s *Store) fail(cause error) {
	s.mu.Lock()
	if s.failure != nil || s.ended {
		s.mu.Unlock()
		return
	}
	s.failure = fmt.Errorf("persistence: the store has failed and takes no more work until it is opened again: %w", cause)
	failure := s.failure
	pending := slices.Concat(s.inFlight, s.queue)
	s.inFlight, s.queue = nil, nil
	s.work.Broadcast()
	s.told.Post(func() {
		s.position.Fail(failure)
		for _, r := range pending {
			r.done(0, failure)
		}
		s.free(pending)
	})
	s.mu.Unlock()
	close(s.failed)
	s.log.Error("the store failed", "error", cause)
	if v := s.endReading(); v != nil {
		// Whoever reports the failure may hold the lock of Pebble that this needs.
		go v.release()
	}
}

// builder assembles one batch.
type builder struct {
	store *Store
	batch *pebble.Batch
	next  persistence.Position
	heads map[persistence.Stream]head // as the batch leaves them
	rows  map[string]bool             // whether rows that the batch changes exist after it; nil until somebody asks
	ops   []*request                  // accepted, not yet in rows
	key   []byte
}

// errBroken marks an error after which the batch may hold a part of a commit.
var errBroken = errors.New("persistence: a batch could not be assembled")

// add checks the request and puts it into the batch, or gives the reason for the refusal.
func (b *builder) add(r *request) (persistence.Position, error) {
	h, err := b.head(r.stream)
	if err != nil {
		return 0, err
	}
	if r.claim {
		h.epoch++
		r.claimed = h.epoch
	} else if err := b.check(r, h); err != nil {
		return 0, err
	}
	h.seq += r.advance
	b.next++
	if err := b.write(r, h); err != nil {
		return 0, fmt.Errorf("%w: %w", errBroken, err)
	}
	return b.next, nil
}

// check says why the commit must be refused, if it must.
func (b *builder) check(r *request, h head) error {
	if r.fenced() {
		if r.epoch == 0 || r.epoch != h.epoch {
			return persistence.ErrFenced
		}
		if r.seq != h.seq {
			return persistence.ErrConflict
		}
	}
	for _, key := range r.absent {
		exists, err := b.exists(key)
		if err != nil {
			return err
		}
		if exists {
			return persistence.ErrExists
		}
	}
	return nil
}

// head is where the stream is after what the batch has so far.
func (b *builder) head(s persistence.Stream) (head, error) {
	if s == (persistence.Stream{}) {
		return head{}, nil
	}
	if h, ok := b.heads[s]; ok {
		return h, nil
	}
	if h, ok := b.store.heads.get(s); ok {
		return h, nil
	}
	var h head
	b.key = appendStreamKey(b.key[:0], headSpace, s)
	err := get(b.store.db, b.key, func(value []byte) (err error) {
		h, err = decodeHead(value)
		return err
	})
	return h, err
}

// exists says whether the row is there after what the batch has so far.
func (b *builder) exists(key []byte) (bool, error) {
	if b.rows == nil {
		b.rows = make(map[string]bool)
	}
	for _, r := range b.ops {
		for op := range r.writes() {
			b.rows[string(op.key)] = !op.delete
		}
	}
	b.ops = b.ops[:0]
	if exists, ok := b.rows[string(key)]; ok {
		return exists, nil
	}
	exists := false
	err := get(b.store.db, key, func([]byte) error { exists = true; return nil })
	return exists, err
}

// write puts an accepted request into the batch; h is its stream's head afterwards.
func (b *builder) write(r *request, h head) error {
	persistence.Stamp(r.buf, r.stamps, b.next)
	for op := range r.writes() {
		var err error
		if op.delete {
			err = b.batch.Delete(op.key, nil)
		} else {
			err = b.batch.Set(op.key, op.value, nil)
		}
		if err != nil {
			return err
		}
	}
	if len(r.ops) > 0 {
		b.ops = append(b.ops, r)
	}
	if !r.fenced() {
		return nil
	}
	if r.claim || r.advance > 0 {
		b.heads[r.stream] = h
		var value [16]byte
		b.key = appendStreamKey(b.key[:0], headSpace, r.stream)
		if err := b.batch.Set(b.key, h.append(value[:0]), nil); err != nil {
			return err
		}
	}
	if r.snapshot != nil {
		b.key = appendStreamKey(b.key[:0], snapshotSpace, r.stream)
		return b.batch.Set(b.key, appendSnapshot(nil, h.seq, r.snapshot), nil)
	}
	return nil
}
