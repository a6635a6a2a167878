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
	Backup  dbBackup  `cmd:"" help:"Copy all data of a single node into a new folder, whether the server runs or not."`
	Verify  dbVerify  `cmd:"" help:"Check a backup from its first to its last byte."`
	Copy    dbCopy    `cmd:"" help:"Copy all data between a single node and a database: so that the node can become a cluster, or the cluster a single node."`
}

// database is the URL that is configured, and those of its replicas.
func (f configFlags) database(m *Main) (url string, replicas []string, err error) {
	conf, _, err := f.load(m)
	if err != nil {
		return "", nil, err
	}
	if conf.Storage == config.Pebble {
		return "", nil, errors.New("storage: the data is kept by Pebble, whose layout is brought up to date whenever a server starts; set storage to the URL of a database")
	}
	for _, r := range conf.Replicas {
		replicas = append(replicas, r.Reveal())
	}
	return conf.Storage.Reveal(), replicas, nil
}

type dbStatus struct{ configFlags }

// Help tells how to read it.
func (dbStatus) Help() string {
	return "Changes nothing, and works while servers run. A step that is pending is applied by matrixon db migrate, or by the first server of " +
		"this version that starts. The position is that of the newest commit; a replica answers for what is at or below its own. " +
		"Rows are as many as Postgres estimates, sizes are with indices."
}

// Run prints the state of the database.
func (c dbStatus) Run(ctx context.Context, m *Main) error {
	url, replicas, err := c.database(m)
	if err != nil {
		return err
	}
	s, err := postgres.Look(ctx, url, replicas...)
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
	for _, r := range s.Replicas {
		if r.Err != nil {
			fmt.Fprintf(w, "replica %s\tnot used: %v\n", r.Host, r.Err)
		} else {
			fmt.Fprintf(w, "replica %s\tat position %d, %d behind\n", r.Host, r.Position, max(s.Position-r.Position, 0))
		}
	}
	for _, b := range s.Standbys {
		state := "the user of the database may not see its state; GRANT pg_monitor lets it"
		if b.State != "" {
			state = fmt.Sprintf("%s, %d bytes of the log behind, %s", b.State, max(b.Behind, 0), b.Lag)
		}
		fmt.Fprintf(w, "standby %s at %s\t%s\n", b.Name, b.Address, state)
	}
	fmt.Fprintln(w, "\ntable\trows (about)\tMiB")
	for _, size := range s.Sizes {
		fmt.Fprintf(w, "%s\t%d\t%.1f\n", size.Table, size.Rows, float64(size.Bytes)/(1<<20))
	}
	return w.Flush()
}

type dbMigrate struct{ configFlags }

// Help tells when it is of use.
func (dbMigrate) Help() string {
	return "Servers do this by themselves when they start. Do it beforehand to choose the moment, or when servers connect as a user who may not " +
		"change tables. Several at once wait for each other; what is applied already is left alone. Make a backup before the first start of a new version."
}

// Run applies what is pending.
func (c dbMigrate) Run(ctx context.Context, m *Main) error {
	url, _, err := c.database(m)
	if err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, url, slog.New(slog.NewTextHandler(m.Stderr, nil))); err != nil {
		return err
	}
	fmt.Fprintln(m.Stdout, "the database has the layout of this version")
	return nil
}
