package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Size is how much a table of the database takes.
type Size struct {
	Table string
	Rows  int64 // about
	Bytes int64 // with its indices
}

// Standby is a server that streams from this one, as it sees it.
type Standby struct {
	Name, Address string
	State         string        // streaming when all is well; empty when the user may not see it
	Behind        int64         // bytes of the log that it has not replayed yet; -1 when the user may not see it
	Lag           time.Duration // how long ago it was where it is now; 0 when it is idle
}

// ReplicaStatus is a configured replica, as it answers.
type ReplicaStatus struct {
	Host     string
	Position int64 // how far it is
	Err      error // why it does not answer, or cannot be used
}

// Status is what an operator wants to know of a database.
type Status struct {
	Version    string // of Postgres
	Standbys   []Standby
	Replicas   []ReplicaStatus
	Position   int64
	Unfinished bool // a copy into it was begun and has not ended
	Migrations []Migration
	Sizes      []Size // the largest first
}

// Look tells about the database at the URL and its replicas, and changes nothing.
func Look(ctx context.Context, url string, replicas ...string) (Status, error) {
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
	if s.Sizes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Size]); err != nil {
		return s, err
	}
	for _, r := range replicas {
		s.Replicas = append(s.Replicas, lookAt(ctx, r))
	}
	s.Standbys, err = standbys(ctx, pool)
	return s, err
}

// lookAt asks a replica how far it is.
func lookAt(ctx context.Context, url string) (s ReplicaStatus) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return ReplicaStatus{Err: err}
	}
	s.Host = fmt.Sprintf("%s:%d", config.Host, config.Port)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		s.Err = err
		return s
	}
	defer conn.Close(ctx) //nolint:errcheck // it was only read
	var follows bool
	s.Err = conn.QueryRow(ctx, "SELECT last, pg_is_in_recovery() FROM positions").Scan(&s.Position, &follows)
	if s.Err == nil && !follows {
		s.Err = errors.New("it is no replica: it takes writes itself")
	}
	return s
}

// standbys lists who streams from the server, if it is one that can be streamed from.
func standbys(ctx context.Context, pool *pgxpool.Pool) ([]Standby, error) {
	rows, err := pool.Query(ctx, `SELECT application_name, coalesce(host(client_addr), 'local'), coalesce(state, ''),
		CASE WHEN pg_is_in_recovery() OR replay_lsn IS NULL THEN -1 ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END,
		coalesce(extract(epoch FROM replay_lag) * 1000, 0)::bigint FROM pg_stat_replication ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Standby, err error) {
		var ms int64
		err = row.Scan(&s.Name, &s.Address, &s.State, &s.Behind, &ms)
		s.Lag = time.Duration(ms) * time.Millisecond
		return s, err
	})
}
