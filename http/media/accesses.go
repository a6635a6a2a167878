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
	pending map[accessed]int64    // the beginning of the day
	written map[accessed]struct{} // today
	day     int64
}

// accessed is media of which it is known when it was fetched.
type accessed struct{ server, mediaID string }

func (a *accesses) note(row schema.Media, now time.Time) {
	day := now.Truncate(24 * time.Hour).UnixMilli()
	access := accessed{row.Server, row.MediaID}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.day != day {
		a.day, a.written = day, map[accessed]struct{}{}
	}
	if _, known := a.written[access]; known || len(a.pending) >= maxAccesses {
		return
	}
	if a.pending == nil {
		a.pending = map[accessed]int64{}
	}
	a.pending[access] = day
}

// take gives what must be written down.
func (a *accesses) take() []persistence.Mutation {
	a.mu.Lock()
	defer a.mu.Unlock()
	var writes []persistence.Mutation
	for access, day := range a.pending {
		writes = append(writes, schema.MediaAccesses.Put(schema.MediaAccess{Server: access.server, MediaID: access.mediaID, TS: day}))
		if day == a.day && len(a.written) < maxAccesses {
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
