// Package folder keeps objects as files, in a folder that may be shared between machines. A file is written beside its
// place, synced, and renamed into it; so what has a name is whole.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/matrixon/matrixon/persistence/blobs"
)

// Unfinished is the folder in the store's where files are written before they get their name.
const Unfinished = "unfinished"

// abandoned is the age beyond which nobody is still writing an unfinished file.
const abandoned = 24 * time.Hour

// Store is a folder of objects.
type Store struct{ dir string }

// Open makes the folder if need be, and removes what writers that died have left there.
func Open(dir string) (*Store, error) {
	s := &Store{dir}
	temp := filepath.Join(dir, Unfinished)
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < abandoned {
			continue // gone already, or somebody writes it
		}
		if err := os.Remove(filepath.Join(temp, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return s, nil
}

// path spreads the files over 65,536 folders or so, by the beginning of their names.
func (s *Store) path(name string) (string, error) {
	if err := blobs.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, name[:2], name[2:4], name), nil
}

// Put implements blobs.Store.
func (s *Store) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, Unfinished), "*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // after the rename there is nothing to remove
	_, err = io.Copy(f, blobs.Counted(&cancelled{ctx, r}, size))
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return s.place(f.Name(), path)
}

// place gives a finished file its name, durably.
func (s *Store) place(temp, path string) error {
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	for _, dir := range []string{parent, filepath.Dir(parent), s.dir} {
		if err := syncFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// cancelled stops reading when the context ends.
type cancelled struct {
	ctx context.Context //nolint:containedctx // it lives as long as one Put
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Open implements blobs.Store.
func (s *Store) Open(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, notFound(err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return blobs.ErrNotFound
	}
	return err
}

// Stat implements blobs.Store.
func (s *Store) Stat(_ context.Context, name string) (blobs.Info, error) {
	path, err := s.path(name)
	if err != nil {
		return blobs.Info{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return blobs.Info{}, notFound(err)
	}
	return blobs.Info{Name: name, Size: info.Size(), Stored: info.ModTime()}, nil
}

// Delete implements blobs.Store. Folders that become empty stay: another node may be about to write there.
func (s *Store) Delete(_ context.Context, name string) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// errStop ends a walk whose reader has seen enough.
var errStop = errors.New("stop")

// List implements blobs.Store.
func (s *Store) List(ctx context.Context) iter.Seq2[blobs.Info, error] {
	return func(yield func(blobs.Info, error) bool) {
		err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			switch {
			case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
				return nil
			case err != nil:
				return err
			case e.IsDir() && path == filepath.Join(s.dir, Unfinished):
				return fs.SkipDir
			case !e.Type().IsRegular() || blobs.CheckName(e.Name()) != nil:
				return nil
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if !yield(blobs.Info{Name: e.Name(), Size: info.Size(), Stored: info.ModTime()}, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(blobs.Info{}, fmt.Errorf("list %s: %w", s.dir, err))
		}
	}
}
