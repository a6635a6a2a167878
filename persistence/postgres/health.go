package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matrixon/matrixon/persistence"
)

// health is whether the database answers. Its changes are logged, so that an outage is two lines and not one for each request.
type health struct {
	down  atomic.Bool
	mu    sync.Mutex
	since time.Time
}

// Reachable reports whether the database answered when it was last asked.
func (s *Store) Reachable() bool { return !s.health.down.Load() }

// unavailable notes that the database did not answer, and makes that an error of the contract.
func (s *Store) unavailable(err error) error {
	h := &s.health
	h.mu.Lock()
	first := !h.down.Load()
	if first {
		h.since = time.Now()
		h.down.Store(true)
	}
	h.mu.Unlock()
	if first {
		s.log.Warn("the database cannot be reached", "error", err)
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
}

// answered notes that the database did answer.
func (s *Store) answered() {
	h := &s.health
	if !h.down.Load() {
		return
	}
	h.mu.Lock()
	was := h.down.Swap(false)
	since := h.since
	h.mu.Unlock()
	if was {
		s.log.Info("the database can be reached again", "after", time.Since(since).Round(time.Millisecond))
	}
}

// unreachable reports whether an error of the driver tells of the line or the server's state, and not of what was asked: all
// that Postgres did not say itself, and of what it says the classes 08 (connection), 53 (resources) and 57P (shutdown, crash,
// starting), and 25006, which a primary says that has become a standby.
func unreachable(err error) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return !errors.Is(err, persistence.ErrCorrupt)
	}
	return len(said.Code) == 5 && (slices.Contains([]string{"08", "53"}, said.Code[:2]) || said.Code[:3] == "57P" || said.Code == "25006")
}

// readError makes an error of the driver one of the contract.
func (s *Store) readError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		s.answered()
		return nil
	case s.closed.Load():
		return persistence.ErrClosed
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, context.Canceled) {
		return cause
	}
	if unreachable(err) {
		return s.unavailable(err)
	}
	return err
}
