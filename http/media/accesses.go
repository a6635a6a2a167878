package media

import (
	"context"
	"sync"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// maxAccesses bounds how many accesses are remembered between two Flushes. Beyond it some are forgotten: they only say
// which media is in use.
const maxAccesses = 100_000

// accesses remembers which media was fetched, until it is written down.
type accesses struct {
	mu      sync.Mutex
	pending map[schema.MediaAccess]struct{} // the time is that of the day's beginning
	written map[schema.MediaAccess]struct{} // today
	day     int64
}

func (a *accesses) note(row schema.Media, now time.Time) {
	day := now.Truncate(24 * time.Hour).UnixMilli()
	access := schema.MediaAccess{Server: row.Server, MediaID: row.MediaID, TS: day}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.day != day {
		a.day, a.written = day, map[schema.MediaAccess]struct{}{}
	}
	if _, known := a.written[access]; known || len(a.pending) >= maxAccesses {
		return
	}
	if a.pending == nil {
		a.pending = map[schema.MediaAccess]struct{}{}
	}
	a.pending[access] = struct{}{}
}

// take gives what must be written down.
func (a *accesses) take() []persistence.Mutation {
	a.mu.Lock()
	defer a.mu.Unlock()
	var writes []persistence.Mutation
	for access := range a.pending {
		writes = append(writes, schema.MediaAccesses.Put(access))
		if len(a.written) < maxAccesses {
			a.written[access] = struct{}{}
		}
	}
	a.pending = nil
	return writes
}

// Flush writes down which media was fetched.
func (m *Repository) Flush(ctx context.Context) error {
	writes := m.accesses.take()
	const batch = 500
	for len(writes) > 0 {
		n := min(batch, len(writes))
		if _, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Write: writes[:n]}); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}
