package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/matrixon/matrixon/persistence"
)

// copied is a database that is copied, or into which is copied, as its rows are read.
type copied struct {
	persistence.Reader
	pool     *pgxpool.Pool
	store    *Store // of which only reading works
	position persistence.Position
}

// nameOfCopies is what Postgres is told that we are; servers are "matrixon" and the name of the node.
const nameOfCopies = "matrixon-copy"

func openCopied(ctx context.Context, url string, log *slog.Logger) (*copied, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = nameOfCopies
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	store := &Store{pool: pool, log: log}
	c := &copied{Reader: store, pool: pool, store: store}
	if err := c.refuseServers(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return c, nil
}

func (c *copied) names(ctx context.Context, query string) ([]string, error) {
	found, err := c.pool.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[string])
}

// refuseServers makes sure that no server has the database open, as far as Postgres lets its user see.
func (c *copied) refuseServers(ctx context.Context) error {
	found, err := c.names(ctx, `SELECT DISTINCT application_name FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'matrixon %' ORDER BY 1`)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("servers use the database, stop them first: %s", strings.Join(found, ", "))
	}
	return err
}

// Close ends the connections.
func (c *copied) Close() error {
	c.pool.Close()
	return nil
}

// Position implements persistence.Source.
func (c *copied) Position() persistence.Position { return c.position }

// Heads implements persistence.Source.
func (c *copied) Heads(ctx context.Context, yield func(persistence.Head) bool) error {
	ctx, stop := context.WithCancel(ctx)
	found, err := c.pool.Query(ctx, `SELECT s.kind, s.id, s.epoch, s.seq, coalesce(n.seq, 0), n.data FROM streams s
		LEFT JOIN snapshots n USING (kind, id) ORDER BY s.kind, s.id`)
	defer func() {
		stop() // so that Close does not wait for what has not been read
		found.Close()
	}()
	if err != nil {
		return err
	}
	for found.Next() {
		var h persistence.Head
		var epoch, seq, at int64
		if err := found.Scan(&h.Stream.Kind, &h.Stream.ID, &epoch, &seq, &at, &h.Snapshot); err != nil {
			return err
		}
		h.Stream = persistence.Stream{Kind: unescape(h.Stream.Kind), ID: unescape(h.Stream.ID)}
		h.Epoch, h.Seq, h.SnapshotSeq = persistence.Epoch(epoch), uint64(seq), uint64(at)
		if !yield(h) {
			return nil
		}
	}
	return found.Err()
}

// Source implements persistence.Source for a database that no server uses.
type Source struct{ *copied }

// OpenSource connects to the database that is copied. It must have the layout of this version.
func OpenSource(ctx context.Context, url string, log *slog.Logger) (*Source, error) {
	c, err := openCopied(ctx, url, log)
	if err != nil {
		return nil, err
	}
	s := &Source{c}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) begin(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.pool.Close()
		}
	}()
	unfinished, err := copyBegun(ctx, s.pool)
	if err != nil {
		return err
	}
	if unfinished {
		return persistence.ErrUnfinished
	}
	pending, err := pending(ctx, s.pool)
	if err != nil {
		return err
	}
	if pending {
		return fmt.Errorf("the database has not the layout of this version: run matrixon db migrate first")
	}
	s.position, err = s.newest(ctx)
	return err
}

func (c *copied) newest(ctx context.Context) (persistence.Position, error) {
	var last int64
	err := c.pool.QueryRow(ctx, "SELECT last FROM positions").Scan(&last)
	return persistence.Position(last), err
}

// Unchanged makes sure, after a copy, that no server has come meanwhile.
func (s *Source) Unchanged(ctx context.Context) error {
	if err := s.refuseServers(ctx); err != nil {
		return err
	}
	now, err := s.newest(ctx)
	if err == nil && now != s.position {
		err = fmt.Errorf("the database was written to while it was copied: it is at position %d, and was at %d", now, s.position)
	}
	return err
}
