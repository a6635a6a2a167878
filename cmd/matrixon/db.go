package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/persistence/postgres"
)

type dbCommand struct {
	Status  dbStatus  `cmd:"" help:"Show the database: its layout, its position and what takes how much."`
	Migrate dbMigrate `cmd:"" help:"Bring the database to the layout of this version, as a server does when it starts."`
	Copy    dbCopy    `cmd:"" help:"Copy all data between a single node and a database: so that the node can become a cluster, or the cluster a single node."`
}

// database is the URL that is configured.
func (f configFlags) database(m *Main) (string, error) {
	conf, _, err := f.load(m)
	if err != nil {
		return "", err
	}
	if conf.Storage == config.Pebble {
		return "", errors.New("storage: the data is kept by Pebble, whose layout is brought up to date whenever a server starts; set storage to the URL of a database")
	}
	return conf.Storage.Reveal(), nil
}

type dbStatus struct{ configFlags }

// Run prints the state of the database.
func (c dbStatus) Run(ctx context.Context, m *Main) error {
	url, err := c.database(m)
	if err != nil {
		return err
	}
	s, err := postgres.Look(ctx, url)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Postgres\t%s\n", s.Version)
	fmt.Fprintf(w, "position\t%d\n", s.Position)
	if s.Unfinished {
		fmt.Fprintln(w, "copy\tunfinished: run matrixon db copy again")
	}
	for _, step := range s.Migrations {
		state := "applied"
		if !step.Applied {
			state = "pending: matrixon db migrate, or the next start of a server, applies it"
		}
		fmt.Fprintf(w, "%s\t%s\n", step.Name, state)
	}
	fmt.Fprintln(w, "\ntable\trows (about)\tMiB")
	for _, size := range s.Sizes {
		fmt.Fprintf(w, "%s\t%d\t%.1f\n", size.Table, size.Rows, float64(size.Bytes)/(1<<20))
	}
	return w.Flush()
}

type dbMigrate struct{ configFlags }

// Run applies what is pending.
func (c dbMigrate) Run(ctx context.Context, m *Main) error {
	url, err := c.database(m)
	if err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, url, slog.New(slog.NewTextHandler(m.Stderr, nil))); err != nil {
		return err
	}
	fmt.Fprintln(m.Stdout, "the database has the layout of this version")
	return nil
}
