package pebble

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/matrixon/matrixon/persistence"
)

// Backup writes the store as it is now into a folder, which must not be there yet, while the store goes on. The folder can be opened like the
// store's own, and has everything that was acknowledged before the call. Tables are shared with the store as hard links where the file
// system lets them, so that they take no room until the store replaces its own. What is left after an error is of no use.
func (s *Store) Backup(dir string) (persistence.Position, error) {
	select {
	case <-s.failed:
		return 0, s.refusal()
	default:
	}
	// Durable before the copy begins, so the copy has it; what it has besides does no harm.
	position := persistence.Position(s.visible.Load())
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return 0, fmt.Errorf("persistence: backup: %w", err)
	}
	if err := errors.Join(createAcknowledged(s.fs, dir, position), syncDir(s.fs, s.fs.PathDir(dir))); err != nil {
		return 0, fmt.Errorf("persistence: backup: %w", err)
	}
	return position, nil
}
