// Package transfer copies a store whole into another, of whatever kind the two are: rows, journals, epochs and positions,
// so that the actors and the clients go on where they were.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/matrixon/matrixon/persistence"
)

// Copying says what is copied whereto, and who is told how far it is.
type Copying struct {
	Source persistence.Source
	Target persistence.Target
	// Name tells this source from others: an unfinished copy goes on only from the one with which it began.
	Name string
	// Settled is asked in the end whether nobody has written to the source meanwhile; it may be nil.
	Settled func(context.Context) error
	// Extra are rows that are written besides, at the end.
	Extra []persistence.Mutation
	// Progress is told now and then what is being done, and of which part how many rows; it may be nil.
	Progress func(doing, part string, rows int64)
	// Chunk is how many rows are saved at once; 2000 by default.
	Chunk int
}

// Copied is one part of a finished copy: how many rows it has, and their SHA-256 in the order of their keys.
type Copied struct {
	Part string
	Rows int64
	Hash string
}

// Journals is the name of the part that is no table: the heads and snapshots of streams.
const Journals = "(journals)"

const (
	defaultChunk = 2000
	chunkBytes   = 4 << 20
)

// Copy fills the target with everything of the source. When it was interrupted, it goes on where it was. In the end
// everything is read back and compared.
func Copy(ctx context.Context, c Copying) ([]Copied, error) {
	if c.Chunk == 0 {
		c.Chunk = defaultChunk
	}
	if c.Progress == nil {
		c.Progress = func(string, string, int64) {}
	}
	position := c.Source.Position()
	if err := c.Target.Begin(ctx, fmt.Sprintf("%s at %d", c.Name, position)); err != nil {
		return nil, err
	}
	for _, s := range persistence.All() {
		if err := c.table(ctx, s); err != nil {
			return nil, fmt.Errorf("table %s: %w", s.Name(), err)
		}
	}
	if err := c.journals(ctx); err != nil {
		return nil, fmt.Errorf("journals: %w", err)
	}
	copied, err := c.compare(ctx)
	if err != nil {
		return nil, err
	}
	if c.Settled != nil {
		if err := c.Settled(ctx); err != nil {
			return nil, err
		}
	}
	return copied, c.Target.Finish(ctx, position, c.Extra)
}

func (c *Copying) table(ctx context.Context, s *persistence.Schema) error {
	return c.part(ctx, s.Name(), func(next func(put func() int) bool) error {
		return c.Source.ScanRows(ctx, s, persistence.RowRange{}, func(row any) bool {
			return next(func() int { return c.Target.PutRow(s, row) })
		})
	})
}

func (c *Copying) journals(ctx context.Context) error {
	return c.part(ctx, Journals, func(next func(put func() int) bool) error {
		return c.Source.Heads(ctx, func(h persistence.Head) bool {
			return next(func() int { return c.Target.PutHead(h) })
		})
	})
}

// part copies what each gives, from where an earlier copy has ended.
func (c *Copying) part(ctx context.Context, name string, each func(next func(put func() int) bool) error) error {
	had, done, err := c.Target.Far(ctx, name)
	if err != nil || done {
		return err
	}
	var rows, waiting int64
	var size int
	var failed error
	save := func(done bool) error {
		waiting, size = 0, 0
		c.Progress("copying", name, rows)
		return c.Target.Save(ctx, name, rows, done)
	}
	err = each(func(put func() int) bool {
		if rows++; rows <= had {
			return ctx.Err() == nil
		}
		size += put()
		if waiting++; waiting >= int64(c.Chunk) || size >= chunkBytes {
			failed = save(false)
		}
		return failed == nil && ctx.Err() == nil
	})
	if err = errors.Join(err, failed, ctx.Err()); err != nil {
		return err
	}
	if rows < had {
		return fmt.Errorf("the source has %d rows, and %d were copied already", rows, had)
	}
	return save(true)
}

// compare reads both sides.
func (c *Copying) compare(ctx context.Context) ([]Copied, error) {
	var all []Copied
	check := func(part string, digest func(persistence.Source) (Copied, error)) error {
		source, err := digest(c.Source)
		if err != nil {
			return err
		}
		target, err := digest(c.Target.Saved())
		if err != nil {
			return err
		}
		if source != target {
			return fmt.Errorf("%s: the copy has %d rows with the hash %s, and the source %d with %s: begin anew with an empty target",
				part, target.Rows, target.Hash, source.Rows, source.Hash)
		}
		all = append(all, source)
		return nil
	}
	for _, s := range persistence.All() {
		if err := check(s.Name(), func(from persistence.Source) (Copied, error) { return c.digestTable(ctx, from, s) }); err != nil {
			return nil, err
		}
	}
	err := check(Journals, func(from persistence.Source) (Copied, error) { return c.digestHeads(ctx, from) })
	return all, err
}

func (c *Copying) digestTable(ctx context.Context, from persistence.Source, s *persistence.Schema) (Copied, error) {
	h, n := sha256.New(), int64(0)
	var buffer []byte
	err := from.ScanRows(ctx, s, persistence.RowRange{}, func(row any) bool {
		buffer = s.EncodeValue(s.EncodeKey(buffer[:0], row, nil), row, nil)
		writeSized(h, buffer)
		n++
		c.comparing(s.Name(), n)
		return ctx.Err() == nil
	})
	return Copied{s.Name(), n, hex.EncodeToString(h.Sum(nil))}, errors.Join(err, ctx.Err())
}

func (c *Copying) digestHeads(ctx context.Context, from persistence.Source) (Copied, error) {
	h, n := sha256.New(), int64(0)
	err := from.Heads(ctx, func(head persistence.Head) bool {
		for _, part := range []string{head.Stream.Kind, head.Stream.ID,
			fmt.Sprint(head.Epoch, head.Seq, head.SnapshotSeq, head.Snapshot != nil), string(head.Snapshot)} {
			writeSized(h, []byte(part))
		}
		n++
		c.comparing(Journals, n)
		return ctx.Err() == nil
	})
	return Copied{Journals, n, hex.EncodeToString(h.Sum(nil))}, errors.Join(err, ctx.Err())
}

func (c *Copying) comparing(part string, rows int64) {
	const often = 10_000
	if rows%often == 0 {
		c.Progress("comparing", part, rows)
	}
}

func writeSized(h hash.Hash, b []byte) {
	fmt.Fprintf(h, "%d:", len(b))
	h.Write(b) //nolint:errcheck // a hash's never fails
}
