// Package database keeps objects as rows of the database, in pieces. It suits small installations: all nodes of a cluster share
// it without further services, but backups of the database grow by the files.
package database

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/schema"
)

// chunkSize is how large the pieces are, in bytes. It cannot change once there are objects.
const chunkSize = 256 << 10

// deleted is how many pieces one commit deletes.
const deleted = 100

// Store keeps objects in the tables stored_objects and stored_chunks. An object's row says that it is not whole until all
// its pieces are there, and again when they begin to go.
type Store struct {
	rows persistence.Store
	now  func() time.Time
}

// New keeps objects in the given store.
func New(rows persistence.Store, now func() time.Time) *Store { return &Store{rows, now} }

const partial = -1

func (s *Store) commit(ctx context.Context, writes ...persistence.Mutation) error {
	_, err := persistence.Await(ctx, s.rows, &persistence.Commit{Write: writes})
	return err
}

// Put implements blobs.Store.
func (s *Store) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := blobs.CheckName(name); err != nil {
		return err
	}
	row := schema.StoredObject{Name: name, Size: partial, StoredTS: s.now().UnixMilli()}
	if err := s.commit(ctx, schema.StoredObjects.Put(row)); err != nil {
		return err
	}
	written, err := s.write(ctx, name, blobs.Counted(r, size))
	if err == nil {
		row.Size = written
		return s.commit(ctx, schema.StoredObjects.Put(row))
	}
	// Whoever gave up waiting for it has no use for the pieces. What stays nevertheless is found by List.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(err, s.remove(clean, name))
}

// write commits one piece after the other; only the last may be short.
func (s *Store) write(ctx context.Context, name string, r io.Reader) (written int64, err error) {
	for number := uint64(0); ; number++ {
		chunk := make([]byte, chunkSize) // a commit owns its rows
		n, err := fill(r, chunk)
		if err != nil && !errors.Is(err, io.EOF) {
			return written, err
		}
		if n > 0 {
			if err := s.commit(ctx, schema.StoredChunks.Put(schema.StoredChunk{Name: name, Number: number, Data: chunk[:n]})); err != nil {
				return written, err
			}
			written += int64(n)
		}
		if err != nil {
			return written, nil
		}
	}
}

// fill reads until p is full, or until r ends or breaks off, whose error it gives as it is.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

// Stat implements blobs.Store.
func (s *Store) Stat(ctx context.Context, name string) (blobs.Info, error) {
	if err := blobs.CheckName(name); err != nil {
		return blobs.Info{}, err
	}
	row, ok, err := schema.StoredObjects.Get(ctx, s.rows, schema.StoredObject{Name: name})
	if err == nil && (!ok || row.Size == partial) {
		err = blobs.ErrNotFound
	}
	if err != nil {
		return blobs.Info{}, err
	}
	return info(row), nil
}

func info(row schema.StoredObject) blobs.Info {
	return blobs.Info{Name: row.Name, Size: row.Size, Stored: time.UnixMilli(row.StoredTS)}
}

// Open implements blobs.Store.
func (s *Store) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	i, err := s.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > i.Size {
		return nil, errors.New("blobs: the offset is not within the object")
	}
	return &reader{ctx: ctx, store: s, name: name, offset: offset, size: i.Size}, nil
}

// reader reads one piece at a time.
type reader struct {
	ctx          context.Context //nolint:containedctx // it lives as long as one reading
	store        *Store
	name         string
	offset, size int64
	chunk        []byte // what is left of the piece at the offset
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.offset == r.size {
		return 0, io.EOF
	}
	if len(r.chunk) == 0 {
		number, skip := r.offset/chunkSize, r.offset%chunkSize
		row, ok, err := schema.StoredChunks.Get(r.ctx, r.store.rows, schema.StoredChunk{Name: r.name, Number: uint64(number)})
		if err != nil {
			return 0, err
		}
		if !ok || int64(len(row.Data)) <= skip { // deleted meanwhile
			return 0, io.ErrUnexpectedEOF
		}
		r.chunk = row.Data[skip:]
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	r.offset += int64(n)
	return n, nil
}

// Close implements io.Closer.
func (*reader) Close() error { return nil }

// Delete implements blobs.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := blobs.CheckName(name); err != nil {
		return err
	}
	return s.remove(ctx, name)
}

func (s *Store) remove(ctx context.Context, name string) error {
	row, ok, err := schema.StoredObjects.Get(ctx, s.rows, schema.StoredObject{Name: name})
	if err != nil || !ok {
		return err
	}
	chunks := uint64(0)
	if row.Size == partial { // nobody has counted them
		all, err := schema.StoredChunks.All(ctx, s.rows, persistence.Range[schema.StoredChunk]{
			Prefix: schema.StoredChunk{Name: name}, Keys: 1, Reverse: true, Limit: 1})
		if err != nil {
			return err
		}
		if len(all) > 0 {
			chunks = all[0].Number + 1
		}
	} else {
		chunks = uint64((row.Size + chunkSize - 1) / chunkSize)
		row.Size = partial
		if err := s.commit(ctx, schema.StoredObjects.Put(row)); err != nil {
			return err
		}
	}
	// From the last to the first, so that a deletion that was broken off can be taken up.
	for chunks > 0 {
		var writes []persistence.Mutation
		for ; chunks > 0 && len(writes) < deleted; chunks-- {
			writes = append(writes, schema.StoredChunks.Delete(schema.StoredChunk{Name: name, Number: chunks - 1}))
		}
		if err := s.commit(ctx, writes...); err != nil {
			return err
		}
	}
	return s.commit(ctx, schema.StoredObjects.Delete(row))
}

// List implements blobs.Store.
func (s *Store) List(ctx context.Context) iter.Seq2[blobs.Info, error] {
	return func(yield func(blobs.Info, error) bool) {
		for row, err := range schema.StoredObjects.Scan(ctx, s.rows, persistence.Range[schema.StoredObject]{}) {
			if !yield(info(row), err) || err != nil {
				return
			}
		}
	}
}
