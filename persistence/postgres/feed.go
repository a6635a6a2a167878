package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// feedEvery is how often the feed looks for commits when nothing wakes it.
	feedEvery = 250 * time.Millisecond
	// feedPage is how many batches are read at a time.
	feedPage = 256
	// keepCommits is how long the notices of a batch are kept for nodes that were away, and pruneEvery how often older ones are deleted.
	keepCommits = 15 * time.Minute
	pruneEvery  = time.Minute
)

// committed hands a batch whose fate is decided to the feed.
func (s *Store) committed(b *batch) {
	s.mu.Lock()
	s.batches = append(s.batches, b)
	s.inFlight = ""
	s.mu.Unlock()
	s.wakeFeed()
}

// ours reports whether a batch is one whose fate this store tells from memory.
func (s *Store) ours(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight == id || slices.ContainsFunc(s.batches, func(b *batch) bool { return b.last != 0 && b.id == id })
}

func (s *Store) wakeFeed() {
	select {
	case s.feedWork <- struct{}{}:
	default:
	}
}

// feed tells of the batches of all nodes, in order, and calls the done functions of our own.
func (s *Store) feed(ctx context.Context) {
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	failing := false
	for {
		look := false
		select {
		case <-s.feedWork:
		case <-ticker.C:
			look = true
		case <-ctx.Done():
			return
		}
		err := s.advance(ctx, look)
		switch {
		case errors.Is(err, errGap):
			s.position.Fail(err)
			s.log.Error("this node was away for too long", "error", err)
			if s.options.Lost != nil {
				s.options.Lost(err)
			}
			return
		case err != nil && ctx.Err() == nil && !failing:
			s.log.Warn("the commits of other nodes could not be read", "error", err)
		}
		failing = err != nil
	}
}

// next is our oldest batch that has not been told.
func (s *Store) next() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.batches) == 0 {
		return nil
	}
	return s.batches[0]
}

// advance tells what can be told. Our own batches are told from memory; what lies before them, or may lie behind them, was heard whole or is
// read.
func (s *Store) advance(ctx context.Context, look bool) error {
	for {
		b := s.next()
		at := s.Position()
		if b != nil && (b.last == 0 || b.first == at+1) {
			s.tellOwn(b)
			continue
		}
		if told, err := s.tellHeard(); err != nil {
			return err
		} else if told {
			continue
		}
		if b == nil && !look && !s.notified.Load() {
			return nil
		}
		look = false
		s.notified.Store(false)
		n, err := s.tellOthers(ctx)
		if err != nil {
			return err
		}
		switch {
		case n > 0:
		case b != nil: // it was there before we looked, so what comes before it should have been
			return fmt.Errorf("%w: our batch from %d on is there, but what is before it, after %d, is not", errGap, b.first, at)
		default: // one that has come meanwhile wakes the feed again
			return nil
		}
	}
}

// tellOwn tells of a batch of ours.
func (s *Store) tellOwn(b *batch) {
	s.mu.Lock()
	s.batches[0] = nil
	s.batches = s.batches[1:]
	s.mu.Unlock()
	for _, r := range b.requests {
		if r.err == nil && r.position > 0 {
			s.tell(r.position, r.commit.Notices)
			s.position.Set(uint64(r.position))
		}
		r.done(r.position, r.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range b.requests {
		if !r.refused {
			s.waiting--
			s.bytes -= r.size
		}
	}
	s.told.Broadcast()
}

var errGap = errors.New("persistence: notices of other nodes are missing")

// tellOthers reads what comes after the position and tells it, up to our own next batch. It gives how many batches that were.
func (s *Store) tellOthers(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, "SELECT first, last, batch, notices FROM commits WHERE last > $1 ORDER BY last LIMIT $2", int64(s.Position()), feedPage)
	if err != nil {
		return 0, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[heard])
	if err != nil {
		return 0, err
	}
	told := 0
	for _, r := range found {
		if b := s.next(); b != nil && b.last != 0 && uint64(b.first) <= uint64(r.First) {
			return told + 1, nil // ours comes first
		}
		if uint64(r.First) != uint64(s.Position())+1 {
			return told, fmt.Errorf("%w: %d follows %d", errGap, r.First, s.Position())
		}
		if s.ours(r.Batch) {
			return told, nil // its committer is about to hand it over
		}
		if err := s.tellBatch(r); err != nil {
			return told, err
		}
		told++
	}
	return told, nil
}

// prune deletes notices that no node needs any more.
func (s *Store) prune(ctx context.Context) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		// The newest batch stays, whatever its age, so that a gap can be told from rest.
		_, err := s.pool.Exec(ctx, "DELETE FROM commits WHERE at < now() - $1::interval AND last < (SELECT last FROM positions)", keepCommits)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("old notices could not be deleted", "error", err)
		}
	}
}
