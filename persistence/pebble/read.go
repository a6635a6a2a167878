package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/matrixon/matrixon/persistence"
)

// view is what readers see: everything that is durable, and nothing that is only on its way to the disk. Pebble shows
// a batch as soon as it is applied, which is before it is synced; so readers use the snapshot that was taken when the
// newest synced batch was the newest of all.
type view struct {
	snapshot *pebble.Snapshot
	users    atomic.Int64 // readers, and one for being the current view
}

func newView(db *pebble.DB) *view {
	v := &view{snapshot: db.NewSnapshot()}
	v.users.Store(1)
	return v
}

func (v *view) release() {
	if v.users.Add(-1) == 0 {
		// The only error of Close is a panic when it is called twice.
		_ = v.snapshot.Close()
	}
}

// acquire gives the current view, which must be released.
func (s *Store) acquire() (*view, error) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	if s.view == nil {
		return nil, s.refusal()
	}
	s.view.users.Add(1)
	s.readers.Add(1)
	return s.view, nil
}

// release gives back what acquire gave.
func (s *Store) release(v *view) {
	v.release()
	s.readers.Done()
}

// setView replaces the current view, unless reading has ended.
func (s *Store) setView(v *view) {
	s.viewMu.Lock()
	old := s.view
	if s.unreadable {
		old = v
	} else {
		s.view = v
	}
	s.viewMu.Unlock()
	if old != nil {
		old.release()
	}
}

// endReading refuses further readers and gives the view that must be released, if there was one.
func (s *Store) endReading() *view {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	old := s.view
	s.view, s.unreadable = nil, true
	return old
}

func (s *Store) table(schema *persistence.Schema) ([]byte, error) {
	prefix := s.tables[schema]
	if prefix == nil {
		return nil, fmt.Errorf("persistence: table %s was declared after the store was opened", schema.Name())
	}
	return prefix, nil
}

// ReadRow implements persistence.Reader.
func (s *Store) ReadRow(ctx context.Context, schema *persistence.Schema, row any) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	prefix, err := s.table(schema)
	if err != nil {
		return false, err
	}
	v, err := s.acquire()
	if err != nil {
		return false, err
	}
	defer s.release(v)
	var space [128]byte
	key := schema.EncodeKey(append(space[:0], prefix...), row, nil)
	found := false
	err = get(v.snapshot, key, func(value []byte) error {
		found = true
		return schema.DecodeValue(row, value)
	})
	return found, err
}

// get calls use with the value of key, if there is one; the value is valid during the call.
func get(r pebble.Reader, key []byte, use func(value []byte) error) error {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return corruption(err)
	}
	return errors.Join(use(value), corruption(closer.Close()))
}

// ScanRows implements persistence.Reader.
func (s *Store) ScanRows(ctx context.Context, schema *persistence.Schema, r persistence.RowRange, yield func(row any) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	prefix, err := s.table(schema)
	if err != nil {
		return err
	}
	lower, upper, err := schema.Bounds(prefix, r)
	if err != nil {
		return err
	}
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	it, err := v.snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return corruption(err)
	}
	defer it.Close()
	first, next := it.First, it.Next
	if r.Reverse {
		first, next = it.Last, it.Prev
	}
	row := schema.NewRow()
	given := 0
	for ok := first(); ok; ok = next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return corruption(err)
		}
		if err := schema.DecodeKey(row, it.Key()[len(prefix):]); err != nil {
			return err
		}
		if err := schema.DecodeValue(row, value); err != nil {
			return err
		}
		given++
		if !yield(row) || given == r.Limit {
			return nil
		}
		if given%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return corruption(it.Error())
}

// corruption marks Pebble's reports of damaged data as persistence.ErrCorrupt.
func corruption(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	}
	return err
}
