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

// keptKey is a secret key of the server. It is the server's, not the node's: so it lies in data_dir beside Pebble, and in the database where nodes
// share one. A key in data_dir goes there with the first start, so that a server that moves keeps it.
type keptKey struct {
	setting string // its name in the database
	file    string // its name in the data_dir of a single node
	make    func() (signing.Key, error)
}

// SigningKeyFile is where the key that signs is, in the data_dir of a single node.
const SigningKeyFile = "signing.key"

var (
	eventKey  = keptKey{"signing_key", SigningKeyFile, newSigningKey} // signs events and requests
	policyKey = keptKey{"policy_key", "policy.key", newPolicyKey}     // vouches for events, in rooms whose policy server this is
	keptKeys  = [...]keptKey{eventKey, policyKey}
)

// signingKey is the key with which nodes sign that start now.
func (s *Server) signingKey(ctx context.Context) (signing.Key, error) {
	return s.keptKey(ctx, eventKey)
}

// keptKey reads a key, or makes it.
func (s *Server) keptKey(ctx context.Context, k keptKey) (signing.Key, error) {
	file := filepath.Join(s.config.DataDir, k.file)
	if s.config.Storage == config.Pebble {
		return k.inFile(file)
	}
	for {
		row, ok, err := schema.Settings.Get(ctx, s.store, schema.Setting{Name: k.setting})
		if err != nil {
			return signing.Key{}, err
		}
		if ok {
			return signing.ParseKey([]byte(row.Value))
		}
		key, err := k.inFile(file)
		if err != nil {
			return key, err
		}
		fact := k.row(key)
		_, err = persistence.Await(ctx, s.store, &persistence.Commit{Write: []persistence.Mutation{fact}, Absent: []persistence.Mutation{fact}})
		if !errors.Is(err, persistence.ErrExists) {
			return key, err
		}
	}
}

// row is the key as the database has it.
func (k keptKey) row(key signing.Key) persistence.Mutation {
	return schema.Settings.Put(schema.Setting{Name: k.setting, Value: string(key.Format())})
}

// MovedSettings are the rows that a node's data has in files of its data_dir when Pebble keeps it, and in the database when
// Postgres does: the keys that sign.
func MovedSettings(dataDir string) ([]persistence.Mutation, error) {
	var rows []persistence.Mutation
	for _, k := range keptKeys {
		file := filepath.Join(dataDir, k.file)
		text, err := os.ReadFile(file)
		switch {
		case errors.Is(err, os.ErrNotExist) && k.file == eventKey.file:
			return nil, fmt.Errorf("%s: the key with which the server signs is not there", file)
		case errors.Is(err, os.ErrNotExist):
			continue // a server that never was a policy server
		case err != nil:
			return nil, err
		}
		key, err := signing.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		rows = append(rows, k.row(key))
	}
	return rows, nil
}

// KeepSettings is the other way: it writes what MovedSettings would read into the files of a data_dir. A key that is there must be
// the same.
func KeepSettings(ctx context.Context, rows persistence.Reader, dataDir string) error {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	for _, k := range keptKeys {
		row, ok, err := schema.Settings.Get(ctx, rows, schema.Setting{Name: k.setting})
		switch {
		case err != nil:
			return err
		case !ok && k.file == eventKey.file:
			return errors.New("the key with which the server signs is not in the database")
		case !ok:
			continue
		}
		if err := k.keep(filepath.Join(dataDir, k.file), row.Value); err != nil {
			return err
		}
	}
	return nil
}

func (k keptKey) keep(file, value string) error {
	switch text, err := os.ReadFile(file); {
	case errors.Is(err, os.ErrNotExist):
		return writeDurably(file, []byte(value))
	case err != nil:
		return err
	case strings.TrimSpace(string(text)) != strings.TrimSpace(value):
		return fmt.Errorf("%s holds the key of another server", file)
	}
	return nil
}

// inFile reads the key in the file, or makes it.
func (k keptKey) inFile(file string) (signing.Key, error) {
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
	key, err := k.make()
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
