package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migration is one step of the database's layout.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

// migrator applies the migrations, under a lock that all nodes share.
func migrator(pool *pgxpool.Pool) (*goose.Provider, func() error, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, fmt.Errorf("migrations: %w", err)
	}
	return p, db.Close, nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	p, done, err := migrator(pool)
	if err != nil {
		return err
	}
	defer done() //nolint:errcheck // the pool is closed elsewhere
	results, err := p.Up(ctx)
	for _, r := range results {
		if r.Error == nil {
			log.Info("the database was migrated", "step", r.Source.Path, "took", r.Duration)
		}
	}
	if err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

// Migrate brings the database at the URL to the layout of this version.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	return migrate(ctx, pool, log)
}

// Migrations lists the steps and which of them the database at the URL has taken.
func Migrations(ctx context.Context, url string) ([]Migration, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	p, done, err := migrator(pool)
	if err != nil {
		return nil, err
	}
	defer done() //nolint:errcheck // the pool is closed elsewhere
	steps, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	var all []Migration
	for _, s := range steps {
		all = append(all, Migration{Version: s.Source.Version, Name: s.Source.Path, Applied: s.State == goose.StateApplied})
	}
	return all, nil
}

// pending reports whether the database lacks a step.
func pending(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	p, done, err := migrator(pool)
	if err != nil {
		return false, err
	}
	defer done() //nolint:errcheck // the pool is closed elsewhere
	return p.HasPending(ctx)
}
