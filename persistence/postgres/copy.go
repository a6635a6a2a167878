package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/matrixon/matrixon/persistence"
)

// Copying says what is copied, and who is told how far it is.
type Copying struct {
	Source persistence.Source
	// Name tells this source from others: an unfinished copy goes on only from the one with which it began.
	Name string
	// Extra are rows that are written besides, at the end.
	Extra []persistence.Mutation
	// Progress is told now and then what is being done, and of which part how many rows; it may be nil.
	Progress func(doing, part string, rows int64)
	Log      *slog.Logger
	// chunk is how many rows one transaction takes; tests make it small.
	chunk int
}

// Copied is one part of a finished copy: how many rows it has, and their SHA-256 in the order of their keys.
type Copied struct {
	Part string
	Rows int64
	Hash string
}

// ErrNotEmpty says that a database has data of another origin.
var ErrNotEmpty = errors.New("the database is not empty")

// errUnfinished is why a database cannot be used yet.
var errUnfinished = errors.New("a copy into this database is not finished: run matrixon db copy again")

// A copy keeps how far it is in a table of the target, in the same transactions as the rows. The table goes with the last of them.
const progressTable = `CREATE TABLE copying (
	part text COLLATE "C" PRIMARY KEY, -- a table, or "streams"; "" for the source
	rows bigint NOT NULL,
	done boolean NOT NULL,
	source text NOT NULL
)`

const (
	streamsPart  = "streams"
	defaultChunk = 2000
	chunkBytes   = 4 << 20
)

// Copy fills the database at the URL with everything of the source, as it stands there: rows, journals, epochs and positions, so that
// sync tokens stay good. When it was interrupted, it goes on where it was. In the end everything is read back and compared.
func Copy(ctx context.Context, url string, o Copying) ([]Copied, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	if err := migrate(ctx, pool, o.Log); err != nil {
		return nil, err
	}
	if o.chunk == 0 {
		o.chunk = defaultChunk
	}
	if o.Progress == nil {
		o.Progress = func(string, string, int64) {}
	}
	c := &copier{Copying: o, pool: pool, target: &Store{pool: pool, log: o.Log}}
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	for _, s := range persistence.All() {
		if err := c.table(ctx, newTable(s)); err != nil {
			return nil, fmt.Errorf("table %s: %w", s.Name(), err)
		}
	}
	if err := c.streams(ctx); err != nil {
		return nil, fmt.Errorf("journals: %w", err)
	}
	copied, err := c.verify(ctx)
	if err != nil {
		return nil, err
	}
	return copied, c.finish(ctx)
}

type copier struct {
	Copying
	pool   *pgxpool.Pool
	target *Store // for reading only
}

// begin makes sure that the target is empty, or that a copy of this source was begun there.
func (c *copier) begin(ctx context.Context) error {
	source := fmt.Sprintf("%s at %d", c.Name, c.Source.Position())
	begun, err := copyBegun(ctx, c.pool)
	if err != nil {
		return err
	}
	if begun {
		var was string
		if err := c.pool.QueryRow(ctx, "SELECT source FROM copying WHERE part = ''").Scan(&was); err != nil {
			return err
		}
		if was != source {
			return fmt.Errorf("the copy that was begun is of %s, and this is %s: begin anew with an empty database", was, source)
		}
		return nil
	}
	var used []string
	tables := []string{"streams", "snapshots", "commits"}
	for _, s := range persistence.All() {
		tables = append(tables, s.Name())
	}
	for _, name := range tables {
		var has bool
		if err := c.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+quote(name)+")").Scan(&has); err != nil {
			return err
		}
		if has {
			used = append(used, name)
		}
	}
	if len(used) > 0 {
		return fmt.Errorf("%w: there are rows in %s", ErrNotEmpty, strings.Join(used, ", "))
	}
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, progressTable); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO copying VALUES ('', 0, true, $1)", source)
		return err
	})
}

// copyBegun reports whether a copy into the database is not finished.
func copyBegun(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var begun bool
	err := pool.QueryRow(ctx, "SELECT to_regclass('copying') IS NOT NULL").Scan(&begun)
	return begun, err
}

// far is how many rows of a part are there.
func (c *copier) far(ctx context.Context, part string) (rows int64, done bool, err error) {
	err = c.pool.QueryRow(ctx, "SELECT rows, done FROM copying WHERE part = $1", part).Scan(&rows, &done)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return rows, done, err
}

// portion collects the rows of one transaction.
type portion struct {
	part  string
	rows  int64 // of the part, with those of this portion
	write map[string][][]any
	names map[string][]string
	n     int
	size  int
}

func (p *portion) add(table string, columns []string, values []any) {
	if p.write == nil {
		p.write, p.names = map[string][][]any{}, map[string][]string{}
	}
	p.write[table] = append(p.write[table], values)
	p.names[table] = columns
	for _, v := range values {
		switch v := v.(type) {
		case string:
			p.size += len(v)
		case []byte:
			p.size += len(v)
		}
	}
}

// store writes the portion and how far the part is, at once.
func (c *copier) store(ctx context.Context, p *portion, done bool) error {
	err := pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		for table, rows := range p.write {
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{table}, p.names[table], pgx.CopyFromRows(rows)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO copying VALUES ($1, $2, $3, '') ON CONFLICT (part) DO UPDATE SET rows = excluded.rows, done = excluded.done`, p.part, p.rows, done)
		return err
	})
	p.write, p.n, p.size = nil, 0, 0
	c.Progress("copying", p.part, p.rows)
	return err
}

// part copies what each gives, from where an earlier copy has ended.
func (c *copier) part(ctx context.Context, name string, each func(use func(add func(*portion)) bool) error) error {
	had, done, err := c.far(ctx, name)
	if err != nil || done {
		return err
	}
	p := portion{part: name, rows: had}
	seen := int64(0)
	var failed error
	err = each(func(add func(*portion)) bool {
		if seen++; seen <= had {
			return true
		}
		add(&p)
		p.n++
		p.rows++
		if p.n >= c.chunk || p.size >= chunkBytes {
			failed = c.store(ctx, &p, false)
		}
		return failed == nil && ctx.Err() == nil
	})
	if err = errors.Join(err, failed, ctx.Err()); err != nil {
		return err
	}
	return c.store(ctx, &p, true)
}

func (c *copier) table(ctx context.Context, t *table) error {
	columns := make([]string, len(t.columns))
	for i, column := range t.columns {
		columns[i] = column.Name
	}
	return c.part(ctx, t.schema.Name(), func(use func(func(*portion)) bool) error {
		return c.Source.ScanRows(ctx, t.schema, persistence.RowRange{}, func(row any) bool {
			return use(func(p *portion) { p.add(t.schema.Name(), columns, t.arguments(row, len(t.columns), 0)) })
		})
	})
}

func (c *copier) streams(ctx context.Context) error {
	return c.part(ctx, streamsPart, func(use func(func(*portion)) bool) error {
		return c.Source.Heads(ctx, func(h persistence.Head) bool {
			return use(func(p *portion) {
				kind, id := escape(h.Stream.Kind), escape(h.Stream.ID)
				p.add("streams", []string{"kind", "id", "epoch", "seq"}, []any{kind, id, int64(h.Epoch), int64(h.Seq)})
				if h.Snapshot != nil {
					p.add("snapshots", []string{"kind", "id", "seq", "data"}, []any{kind, id, int64(h.SnapshotSeq), h.Snapshot})
				}
			})
		})
	})
}

// verify reads both sides and compares them.
func (c *copier) verify(ctx context.Context) ([]Copied, error) {
	var all []Copied
	for _, s := range persistence.All() {
		source, err := c.count(ctx, c.Source, s)
		if err != nil {
			return nil, err
		}
		target, err := c.count(ctx, c.target, s)
		if err != nil {
			return nil, err
		}
		if source != target {
			return nil, fmt.Errorf("table %s: the copy has %d rows with the hash %s, and the source %d with %s", s.Name(), target.Rows, target.Hash, source.Rows, source.Hash)
		}
		all = append(all, source)
	}
	source, target := digest{}, digest{}
	err := c.Source.Heads(ctx, func(h persistence.Head) bool {
		source.head(h)
		return true
	})
	if err != nil {
		return nil, err
	}
	if err := c.heads(ctx, &target); err != nil {
		return nil, err
	}
	if source.sum != target.sum || source.n != target.n {
		return nil, fmt.Errorf("the copy has %d journals, and the source %d, or they differ", target.n, source.n)
	}
	return append(all, Copied{streamsPart, source.n, hex.EncodeToString(source.sum[:])}), nil
}

func (c *copier) count(ctx context.Context, r persistence.Reader, s *persistence.Schema) (Copied, error) {
	h, n := sha256.New(), int64(0)
	var buffer []byte
	err := r.ScanRows(ctx, s, persistence.RowRange{}, func(row any) bool {
		buffer = s.EncodeValue(s.EncodeKey(buffer[:0], row, nil), row, nil)
		writeSized(h, buffer)
		if n++; n%10_000 == 0 {
			c.Progress("comparing", s.Name(), n)
		}
		return true
	})
	return Copied{s.Name(), n, hex.EncodeToString(h.Sum(nil))}, err
}

func writeSized(h hash.Hash, b []byte) {
	fmt.Fprintf(h, "%d:", len(b))
	h.Write(b) //nolint:errcheck // a hash's never fails
}

// digest is a sum over heads, whatever their order.
type digest struct {
	sum [sha256.Size]byte
	n   int64
}

func (d *digest) head(h persistence.Head) {
	s := sha256.New()
	for _, part := range []string{h.Stream.Kind, h.Stream.ID, fmt.Sprint(h.Epoch, h.Seq, h.SnapshotSeq, h.Snapshot != nil), string(h.Snapshot)} {
		writeSized(s, []byte(part))
	}
	for i, b := range s.Sum(nil) {
		d.sum[i] ^= b
	}
	d.n++
}

func (c *copier) heads(ctx context.Context, d *digest) error {
	rows, err := c.pool.Query(ctx, "SELECT s.kind, s.id, s.epoch, s.seq, coalesce(n.seq, 0), n.data FROM streams s LEFT JOIN snapshots n USING (kind, id)")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h persistence.Head
		var epoch, seq, at int64
		if err := rows.Scan(&h.Stream.Kind, &h.Stream.ID, &epoch, &seq, &at, &h.Snapshot); err != nil {
			return err
		}
		h.Stream = persistence.Stream{Kind: unescape(h.Stream.Kind), ID: unescape(h.Stream.ID)}
		h.Epoch, h.Seq, h.SnapshotSeq = persistence.Epoch(epoch), uint64(seq), uint64(at)
		d.head(h)
	}
	return rows.Err()
}

// finish makes the copy a database that a server can use.
func (c *copier) finish(ctx context.Context) error {
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		for _, m := range c.Extra {
			t := newTable(m.Schema)
			if _, err := tx.Exec(ctx, t.put, t.arguments(m.Row, len(t.columns), c.Source.Position())...); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE positions SET last = $1", int64(c.Source.Position())); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DROP TABLE copying")
		return err
	})
}
