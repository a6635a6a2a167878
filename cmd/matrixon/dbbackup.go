package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/cmd/matrixon/server"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/persistence/pebble"
)

type dbBackup struct {
	configFlags
	Folder string `arg:"" type:"path" help:"The new folder, on the machine of the server."`
}

// Help tells what is in it, and how it is used.
func (dbBackup) Help() string {
	return "The folder gets the form of data_dir: the database, the signing keys, and the uploaded files unless they are in S3. To go back to it, stop the server and " +
		"put a copy of the folder in the place of data_dir (of media.path, for the folder media in it, if that is set). What came after the backup is lost then, and clients that have seen it must clear their caches or log in again. Guard it: who has the keys can speak as the server. On the file system of data_dir " +
		"a backup takes little room and a moment, because files are shared; copy it elsewhere from there. With storage in Postgres, back that up with its own tools, such as pg_dump."
}

// Run makes the backup and tells what it has.
func (c dbBackup) Run(ctx context.Context, m *Main) error {
	conf, _, err := c.load(m)
	if err != nil {
		return err
	}
	if conf.Storage != config.Pebble {
		return errors.New("storage: the data is in Postgres: back it up with Postgres's own tools, such as pg_dump, and media.path or the bucket if files are there")
	}
	return c.operate(ctx, m, func(do doer) error {
		var made admin.Backup
		if err := ask(ctx, do, http.MethodPost, "/backup", map[string]string{"folder": c.Folder}, &made); err != nil {
			return err
		}
		fmt.Fprintf(m.Stdout, "%s has everything up to position %d, and %d files (%.1f MiB)\n", made.Folder, made.Position, made.Files, float64(made.Bytes)/(1<<20))
		if conf.MediaStore() == config.MediaS3 {
			fmt.Fprintln(m.Stdout, "the files in S3 are not in it")
		}
		return nil
	})
}

type dbVerify struct {
	Folder string `arg:"" type:"path" help:"A backup, or the data_dir of a server that is stopped."`
}

// Run checks.
func (c dbVerify) Run(_ context.Context, m *Main) error {
	dir := filepath.Join(c.Folder, server.PebbleFolder)
	for _, needed := range []string{dir, filepath.Join(c.Folder, server.SigningKeyFile)} {
		if _, err := os.Stat(needed); err != nil {
			return fmt.Errorf("this is not the data of a single node: %w", err)
		}
	}
	store, err := pebble.Open(pebble.Options{Dir: dir, VerifyBytes: -1, Log: slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	position := store.Position()
	if err := store.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.Stdout, "the data is whole, up to position %d\n", position)
	return err
}
