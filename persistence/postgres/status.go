package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Size is how much a table of the database takes.
type Size struct {
	Table string
	Rows  int64 // about
	Bytes int64 // with its indices
}

// Status is what an operator wants to know of a database.
type Status struct {
	Version    string // of Postgres
	Position   int64
	Unfinished bool // a copy into it was begun and has not ended
	Migrations []Migration
	Sizes      []Size // the largest first
}

// Look tells about the database at the URL, and changes nothing.
func Look(ctx context.Context, url string) (Status, error) {
	var s Status
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return s, err
	}
	defer pool.Close()
	if err := pool.QueryRow(ctx, "SHOW server_version").Scan(&s.Version); err != nil {
		return s, err
	}
	if s.Unfinished, err = copyBegun(ctx, pool); err != nil {
		return s, err
	}
	if s.Migrations, err = Migrations(ctx, url); err != nil {
		return s, err
	}
	if slices.ContainsFunc(s.Migrations, func(m Migration) bool { return m.Applied }) {
		if err := pool.QueryRow(ctx, "SELECT last FROM positions").Scan(&s.Position); err != nil {
			return s, err
		}
	}
	rows, err := pool.Query(ctx, `SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY 3 DESC, 1`)
	if err != nil {
		return s, err
	}
	s.Sizes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Size])
	return s, err
}
