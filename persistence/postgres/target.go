package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/matrixon/matrixon/persistence"
)

// A copy keeps how far it is in a table of the target, in the same transactions as the rows. The table goes with the last of them.
const progressTable = `CREATE TABLE copying (
	part text COLLATE "C" PRIMARY KEY, -- "" for the source
	rows bigint NOT NULL,
	done boolean NOT NULL,
	source text NOT NULL
)`

// Target implements persistence.Target.
type Target struct {
	*copied
	log   *slog.Logger
	write map[string]*rows // by table
}

// rows wait to be saved.
type rows struct {
	columns []string
	values  [][]any
}

// OpenTarget connects to the database into which is copied.
func OpenTarget(ctx context.Context, url string, log *slog.Logger) (*Target, error) {
	c, err := openCopied(ctx, url, log)
	if err != nil {
		return nil, err
	}
	return &Target{copied: c, log: log, write: map[string]*rows{}}, nil
}

// Begin implements persistence.Target.
func (t *Target) Begin(ctx context.Context, source string) error {
	begun, err := copyBegun(ctx, t.pool)
	if err != nil {
		return err
	}
	if begun {
		var was string
		if err := t.pool.QueryRow(ctx, "SELECT source FROM copying WHERE part = ''").Scan(&was); err != nil {
			return err
		}
		if was != source {
			return fmt.Errorf("%w: the copy that was begun is of %s, and this is %s", persistence.ErrNotEmpty, was, source)
		}
		return migrate(ctx, t.pool, t.log)
	}
	if err := t.refuseForeign(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, t.pool, t.log); err != nil {
		return err
	}
	if err := t.refuseUsed(ctx); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, progressTable); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO copying VALUES ('', 0, true, $1)", source)
		return err
	})
}

// refuseForeign makes sure that no other program keeps its tables there, before ours are made among them.
func (t *Target) refuseForeign(ctx context.Context) error {
	found, err := t.names(ctx, `SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname = current_schema() AND to_regclass('goose_db_version') IS NULL ORDER BY 1 LIMIT 10`)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("%w: tables of another program: %s", persistence.ErrNotEmpty, strings.Join(found, ", "))
	}
	return err
}

// refuseUsed makes sure that our tables are empty.
func (t *Target) refuseUsed(ctx context.Context) error {
	var used []string
	tables := []string{"streams", "snapshots", "commits", "search_texts"}
	for _, s := range persistence.All() {
		tables = append(tables, s.Name())
	}
	for _, name := range tables {
		var has bool
		if err := t.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+quote(name)+")").Scan(&has); err != nil {
			return err
		}
		if has {
			used = append(used, name)
		}
	}
	if len(used) > 0 {
		return fmt.Errorf("%w: there are rows in %s", persistence.ErrNotEmpty, strings.Join(used, ", "))
	}
	return nil
}

// copyBegun reports whether a copy into the database is not finished.
func copyBegun(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var begun bool
	err := pool.QueryRow(ctx, "SELECT to_regclass('copying') IS NOT NULL").Scan(&begun)
	return begun, err
}

// Far implements persistence.Target.
func (t *Target) Far(ctx context.Context, part string) (n int64, done bool, err error) {
	err = t.pool.QueryRow(ctx, "SELECT rows, done FROM copying WHERE part = $1", part).Scan(&n, &done)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return n, done, err
}

// PutRow implements persistence.Target.
func (t *Target) PutRow(s *persistence.Schema, row any) int {
	table := t.store.table(s)
	if t.write[s.Name()] == nil {
		columns := make([]string, len(table.columns))
		for i, c := range table.columns {
			columns[i] = c.Name
		}
		t.write[s.Name()] = &rows{columns: columns}
	}
	return t.write[s.Name()].add(table.arguments(row, len(table.columns), 0))
}

// The columns of the tables of journals.
var (
	streamColumns   = []string{"kind", "id", "epoch", "seq"}
	snapshotColumns = []string{"kind", "id", "seq", "data"}
)

// PutHead implements persistence.Target.
func (t *Target) PutHead(h persistence.Head) int {
	if t.write["streams"] == nil {
		t.write["streams"], t.write["snapshots"] = &rows{columns: streamColumns}, &rows{columns: snapshotColumns}
	}
	kind, id := escape(h.Stream.Kind), escape(h.Stream.ID)
	size := t.write["streams"].add([]any{kind, id, int64(h.Epoch), int64(h.Seq)})
	if h.Snapshot != nil {
		size += t.write["snapshots"].add([]any{kind, id, int64(h.SnapshotSeq), h.Snapshot})
	}
	return size
}

func (r *rows) add(values []any) int {
	const perColumn = 16
	size := perColumn * len(values)
	for _, v := range values {
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	r.values = append(r.values, values)
	return size
}

// Save implements persistence.Target.
func (t *Target) Save(ctx context.Context, part string, n int64, done bool) error {
	err := pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		for table, r := range t.write {
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{table}, r.columns, pgx.CopyFromRows(r.values)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO copying VALUES ($1, $2, $3, '')
			ON CONFLICT (part) DO UPDATE SET rows = excluded.rows, done = excluded.done`, part, n, done)
		return err
	})
	clear(t.write)
	return err
}

// Saved implements persistence.Target.
func (t *Target) Saved() persistence.Source { return t.copied }

// Finish implements persistence.Target.
func (t *Target) Finish(ctx context.Context, p persistence.Position, extra []persistence.Mutation) error {
	return pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
		for _, m := range extra {
			table := t.store.table(m.Schema)
			if _, err := tx.Exec(ctx, table.put, table.arguments(m.Row, len(table.columns), p)...); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE positions SET last = $1", int64(p)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DROP TABLE copying")
		return err
	})
}
