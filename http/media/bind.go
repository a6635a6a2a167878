package media

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/schema"
)

// A store and the database that says what is in it belong together: with another store all media would be lost, and what another
// server keeps there would be swept away. So both hold the same identity: an object of the store, and a setting.
const (
	identity     = "identity.of-the-store"
	boundSetting = "media_store"
	// unwritten stands before the identity in the setting until the object is there.
	unwritten = "new:"
	// movedSetting, with the identity of a store, says that its content has moved: nothing new may come into it.
	movedSetting = "media_moved_from:"
)

// ErrOtherStore says that the database and the store do not belong together; test with errors.Is.
var ErrOtherStore = errors.New("this media store does not belong to this database")

// Bind gives the identity of the store, if it is the one in which the media of this database are. The first store that it is asked
// about becomes that one.
func Bind(ctx context.Context, rows persistence.Store, store blobs.Store) (string, error) {
	there, err := readIdentity(ctx, store)
	if err != nil {
		return "", err
	}
	bound, ok, err := schema.Settings.Get(ctx, rows, schema.Setting{Name: boundSetting})
	switch {
	case err != nil:
		return "", err
	case !ok && there != "":
		return "", fmt.Errorf("%w: it is in use with another one, or was", ErrOtherStore)
	case !ok:
		fact := schema.Settings.Put(schema.Setting{Name: boundSetting, Value: unwritten + strings.ToLower(rand.Text())})
		_, err := persistence.Await(ctx, rows, &persistence.Commit{Write: []persistence.Mutation{fact}, Absent: []persistence.Mutation{fact}})
		if err != nil && !errors.Is(err, persistence.ErrExists) { // another node may be quicker
			return "", err
		}
		return Bind(ctx, rows, store)
	}
	id, isNew := strings.CutPrefix(bound.Value, unwritten)
	switch {
	case isNew && (there == "" || there == id):
		if err := writeIdentity(ctx, store, id); err != nil {
			return "", err
		}
		_, err := persistence.Await(ctx, rows, &persistence.Commit{Write: []persistence.Mutation{
			schema.Settings.Put(schema.Setting{Name: boundSetting, Value: id})}})
		return id, err
	case there == "":
		return "", fmt.Errorf("%w: it is empty; is something not mounted, or are the media to be moved with: matrixon media move", ErrOtherStore)
	case there != id:
		return "", fmt.Errorf("%w: its media are elsewhere, or have been moved", ErrOtherStore)
	}
	return id, nil
}

func readIdentity(ctx context.Context, store blobs.Store) (string, error) {
	const most = 100
	r, err := store.Open(ctx, identity, 0)
	if errors.Is(err, blobs.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(r, most))
	return string(raw), err
}

func writeIdentity(ctx context.Context, store blobs.Store, id string) error {
	return store.Put(ctx, identity, bytes.NewReader([]byte(id)), int64(len(id)))
}

// fence is what must be absent when content of the store with this identity is recorded.
func fence(id string) persistence.Mutation {
	return schema.Settings.Put(schema.Setting{Name: movedSetting + id})
}
