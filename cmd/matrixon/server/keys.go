package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// signingKeySetting holds the server's key when the nodes of a cluster share a database.
const signingKeySetting = "signing_key"

// keyFile holds it in the data_dir of a single node.
const keyFile = "signing.key"

// signingKey is the key that signs events. It is the server's, not the node's: so it lies in data_dir beside Pebble, and in the
// database where nodes share one. A key in data_dir goes there with the first start, so that a server that moves keeps it.
func (s *Server) signingKey(ctx context.Context) (signing.Key, error) {
	file := filepath.Join(s.config.DataDir, keyFile)
	if s.config.Storage == config.Pebble {
		return fileKey(file)
	}
	for {
		row, ok, err := schema.Settings.Get(ctx, s.store, schema.Setting{Name: signingKeySetting})
		if err != nil {
			return signing.Key{}, err
		}
		if ok {
			return signing.ParseKey([]byte(row.Value))
		}
		key, err := fileKey(file)
		if err != nil {
			return key, err
		}
		fact := schema.Settings.Put(schema.Setting{Name: signingKeySetting, Value: string(key.Format())})
		_, err = persistence.Await(ctx, s.store, &persistence.Commit{Write: []persistence.Mutation{fact}, Absent: []persistence.Mutation{fact}})
		if !errors.Is(err, persistence.ErrExists) {
			return key, err
		}
	}
}

// MovedSettings are the rows that a node's data has in files of its data_dir when Pebble keeps it, and in the database when
// Postgres does: the key that signs.
func MovedSettings(dataDir string) ([]persistence.Mutation, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, keyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: the key with which the server signs is not there", filepath.Join(dataDir, keyFile))
	}
	if err != nil {
		return nil, err
	}
	key, err := signing.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dataDir, keyFile), err)
	}
	return []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: signingKeySetting, Value: string(key.Format())})}, nil
}

// KeepSettings is the other way: it writes what MovedSettings would read into the files of a data_dir. A key that is there must be
// the same.
func KeepSettings(ctx context.Context, rows persistence.Reader, dataDir string) error {
	row, ok, err := schema.Settings.Get(ctx, rows, schema.Setting{Name: signingKeySetting})
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("the key with which the server signs is not in the database")
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dataDir, keyFile)
	switch text, err := os.ReadFile(file); {
	case errors.Is(err, os.ErrNotExist):
		return writeDurably(file, []byte(row.Value))
	case err != nil:
		return err
	case strings.TrimSpace(string(text)) != strings.TrimSpace(row.Value):
		return fmt.Errorf("%s holds the key of another server", file)
	}
	return nil
}

// fileKey reads the key in the file, or makes it.
func fileKey(file string) (signing.Key, error) {
	text, err := os.ReadFile(file)
	if err == nil {
		key, err := signing.ParseKey(text)
		if err != nil {
			return key, fmt.Errorf("%s: %w", file, err)
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return signing.Key{}, err
	}
	key, err := newSigningKey()
	if err != nil {
		return key, err
	}
	return key, writeDurably(file, key.Format())
}

// writeDurably writes a file so that after a crash it is there whole or not at all.
func writeDurably(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
