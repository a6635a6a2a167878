package media

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/schema"
)

// moving stands before the identity of a store into which media are being moved.
const moving = "moving:"

// Progress is how far a move is.
type Progress struct {
	Objects, Bytes int64 // copied, or found there already
	Total          int64 // objects; 0 while they are being counted
}

// Move copies all media from the store that belongs to the database into another, and makes that one belong to it. It can be broken
// off and begun again. Servers that still use the old store go on giving its content, but take no more.
func Move(ctx context.Context, rows persistence.Store, from, to blobs.Store, report func(Progress)) error {
	old, err := Bind(ctx, rows, from)
	if err != nil {
		return fmt.Errorf("the store to move from: %w", err)
	}
	if err := claim(ctx, to, old); err != nil {
		return fmt.Errorf("the store to move to: %w", err)
	}
	if err := copyAll(ctx, from, to, report); err != nil {
		return err
	}
	// From here on nothing is added to the old store, so that a second pass finds the last of it.
	moved := fence(old)
	if _, err := persistence.Await(ctx, rows, &persistence.Commit{Write: []persistence.Mutation{moved}}); err != nil {
		return err
	}
	if err := copyAll(ctx, from, to, report); err != nil {
		return err
	}
	id := strings.ToLower(rand.Text())
	if err := to.Delete(ctx, identity); err != nil {
		return err
	}
	if err := writeIdentity(ctx, to, id); err != nil {
		return err
	}
	_, err = persistence.Await(ctx, rows, &persistence.Commit{Write: []persistence.Mutation{
		schema.Settings.Put(schema.Setting{Name: boundSetting, Value: id})}})
	return err
}

// claim marks the target, which must not belong to anybody.
func claim(ctx context.Context, to blobs.Store, old string) error {
	there, err := readIdentity(ctx, to)
	switch {
	case err != nil || there == moving+old:
		return err
	case there == old:
		return errors.New("it is the store to move from")
	case there != "":
		return ErrOtherStore
	}
	return writeIdentity(ctx, to, moving+old)
}

// copyAll copies what is not there yet.
func copyAll(ctx context.Context, from, to blobs.Store, report func(Progress)) error {
	present := map[string]int64{}
	for info, err := range to.List(ctx) {
		if err != nil {
			return err
		}
		present[info.Name] = info.Size
	}
	var wanted []blobs.Info
	for info, err := range from.List(ctx) {
		if err != nil {
			return err
		}
		if info.Name != identity && info.Size >= 0 {
			wanted = append(wanted, info)
		}
	}
	p := Progress{Total: int64(len(wanted))}
	for _, info := range wanted {
		size, there := present[info.Name]
		if there && size != info.Size { // of a move that was broken off
			if err := to.Delete(ctx, info.Name); err != nil {
				return err
			}
			there = false
		}
		if !there {
			if err := copyOne(ctx, from, to, info); err != nil {
				return fmt.Errorf("object %s: %w", info.Name, err)
			}
		}
		p.Objects, p.Bytes = p.Objects+1, p.Bytes+info.Size
		report(p)
	}
	return nil
}

func copyOne(ctx context.Context, from, to blobs.Store, info blobs.Info) error {
	r, err := from.Open(ctx, info.Name, 0)
	if errors.Is(err, blobs.ErrNotFound) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	return to.Put(ctx, info.Name, r, info.Size)
}
