package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/matrixon/matrixon/persistence"
)

// copyingSuffix names the folder in which a store is while something is copied into it.
const copyingSuffix = ".copying"

// The keys that say how far a copy is. They stay, as the record of where the data came from.
func copyKey(part string) []byte { return append([]byte("\x01copy"), part...) }

// Target implements persistence.Target: it fills a store in a folder beside the one that is meant, which gets that one's name when
// everything is there.
type Target struct {
	dir   string
	fs    vfs.FS
	store *Store
	batch *pebble.Batch
}

// OpenTarget makes the store into which is copied, or opens it again. The folder Options.Dir must be empty, or missing.
func OpenTarget(o Options) (*Target, error) {
	o = o.withDefaults()
	switch names, err := o.FS.List(o.Dir); {
	case err == nil && len(names) > 0:
		return nil, fmt.Errorf("%w: %s", persistence.ErrNotEmpty, o.Dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	t := &Target{dir: o.Dir, fs: o.FS}
	o.Dir += copyingSuffix
	var err error
	if t.store, err = Open(o); err != nil {
		return nil, err
	}
	t.batch = t.store.db.NewBatch()
	return t, nil
}

// refuseUnfinished says that a copy into the folder has not ended.
func refuseUnfinished(o Options) error {
	switch _, err := o.FS.Stat(o.Dir + copyingSuffix); {
	case err == nil:
		return fmt.Errorf("%w; what was copied is in %s", persistence.ErrUnfinished, o.Dir+copyingSuffix)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// Begin implements persistence.Target.
func (t *Target) Begin(_ context.Context, source string) error {
	var was []byte
	err := get(t.store.db, copyKey(""), func(value []byte) error {
		was = append(was, value...)
		return nil
	})
	switch {
	case err != nil:
		return err
	case was == nil:
		return t.store.db.Set(copyKey(""), []byte(source), pebble.Sync)
	case string(was) != source:
		return fmt.Errorf("%w: the copy that was begun in %s is of %s, and this is %s", persistence.ErrNotEmpty, t.dir+copyingSuffix, was, source)
	}
	return nil
}

// Far implements persistence.Target.
func (t *Target) Far(_ context.Context, part string) (rows int64, done bool, err error) {
	err = get(t.store.db, copyKey(part), func(value []byte) error {
		if len(value) != 9 {
			return fmt.Errorf("%w: how far a copy is has %d bytes", persistence.ErrCorrupt, len(value))
		}
		rows, done = int64(binary.BigEndian.Uint64(value)), value[8] == 1
		return nil
	})
	return rows, done, err
}

// PutRow implements persistence.Target.
func (t *Target) PutRow(s *persistence.Schema, row any) int {
	return t.set(s.EncodeKey(append([]byte(nil), t.store.tables[s]...), row, nil), s.EncodeValue(nil, row, nil))
}

// PutHead implements persistence.Target.
func (t *Target) PutHead(h persistence.Head) int {
	size := t.set(appendStreamKey(nil, headSpace, h.Stream), head{h.Epoch, h.Seq}.append(nil))
	if h.Snapshot != nil {
		size += t.set(appendStreamKey(nil, snapshotSpace, h.Stream), appendSnapshot(nil, h.SnapshotSeq, h.Snapshot))
	}
	return size
}

func (t *Target) set(key, value []byte) int {
	if err := t.batch.Set(key, value, nil); err != nil {
		panic(err) // only a batch that is committed refuses
	}
	return len(key) + len(value)
}

// Save implements persistence.Target.
func (t *Target) Save(_ context.Context, part string, rows int64, done bool) error {
	value := append(binary.BigEndian.AppendUint64(nil, uint64(rows)), 0)
	if done {
		value[8] = 1
	}
	t.set(copyKey(part), value)
	return t.commit()
}

func (t *Target) commit() error {
	err := errors.Join(t.batch.Commit(pebble.Sync), t.batch.Close())
	t.batch = t.store.db.NewBatch()
	t.store.setView(newView(t.store.db))
	return err
}

// Saved implements persistence.Target.
func (t *Target) Saved() persistence.Source { return t.store }

// Finish implements persistence.Target. It closes the store.
func (t *Target) Finish(_ context.Context, p persistence.Position, extra []persistence.Mutation) error {
	for _, m := range extra {
		t.PutRow(m.Schema, m.Row)
	}
	t.set(positionKey, binary.BigEndian.AppendUint64(nil, uint64(p)))
	err := errors.Join(t.commit(), t.store.acknowledged.note(p))
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	if err := t.fs.Remove(t.dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is empty
		return err
	}
	return errors.Join(t.fs.Rename(t.dir+copyingSuffix, t.dir), syncDir(t.fs, t.fs.PathDir(t.dir)))
}

// Close closes what is open still. What was saved stays.
func (t *Target) Close() error {
	if t.batch == nil {
		return nil
	}
	err := t.batch.Close()
	t.batch = nil
	return errors.Join(err, t.store.Close())
}
