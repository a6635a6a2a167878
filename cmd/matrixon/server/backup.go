package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/blobs/folder"
	"github.com/matrixon/matrixon/persistence/pebble"
)

// backup copies what a single node has into a new folder, in the form of data_dir, while it is in use: first the database and then the
// files, so that what the database names is there. The search index is left out: it is made anew.
func (s *Server) backup(ctx context.Context, target string) (admin.Backup, error) {
	store, ok := s.store.(*pebble.Store)
	if !ok {
		return admin.Backup{}, mxerr.InvalidParam("the data is in Postgres: back it up with Postgres's own tools, such as pg_dump")
	}
	if err := os.Mkdir(target, 0o700); err != nil {
		return admin.Backup{}, mxerr.InvalidParam("the backup needs a new folder: %v", err)
	}
	made := admin.Backup{Folder: target}
	position, err := store.Backup(filepath.Join(target, PebbleFolder))
	if err != nil {
		return made, err
	}
	made.Position = uint64(position)
	for _, key := range []keptKey{eventKey, policyKey} {
		if _, err := duplicate(filepath.Join(s.config.DataDir, key.file), filepath.Join(target, key.file), false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return made, fmt.Errorf("backup: %w", err)
		}
	}
	if s.config.MediaStore() != config.MediaFile {
		return made, nil
	}
	if err := duplicateFolder(ctx, s.config.MediaFolder(), filepath.Join(target, "media"), &made); err != nil {
		return made, fmt.Errorf("backup: %w", err)
	}
	return made, nil
}

// duplicateFolder copies the files below a folder. Those that are deleted meanwhile, or not finished, are none of the backup.
func duplicateFolder(ctx context.Context, from, to string, made *admin.Backup) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir() && name == folder.Unfinished:
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		size, err := duplicate(path, filepath.Join(to, name), true)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		made.Files++
		made.Bytes += size
		return err
	})
}

// duplicate gives a file a second name, if it may share its content, or else copies it. It gives the size.
func duplicate(from, to string, share bool) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	if share && os.Link(from, to) == nil {
		return info.Size(), nil
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(out, in)
	return size, errors.Join(err, out.Sync(), out.Close())
}
