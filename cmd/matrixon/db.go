package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/cmd/matrixon/server"
	"github.com/matrixon/matrixon/persistence/pebble"
	"github.com/matrixon/matrixon/persistence/postgres"
)

type dbCommand struct {
	Status  dbStatus  `cmd:"" help:"Show the database: its layout, its position and what takes how much."`
	Migrate dbMigrate `cmd:"" help:"Bring the database to the layout of this version, as a server does when it starts."`
	Copy    dbCopy    `cmd:"" help:"Copy a single node's data into an empty database, so that it can become a cluster."`
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

type dbCopy struct {
	From string `required:"" placeholder:"pebble:DIR" help:"The data_dir of the single node, which must be stopped."`
	To   string `required:"" placeholder:"URL" help:"An empty Postgres database: postgres://user:password@host/database"`
}

// Run copies, and says what it has copied.
func (c dbCopy) Run(ctx context.Context, m *Main) error {
	dir, ok := strings.CutPrefix(c.From, "pebble:")
	if !ok || dir == "" {
		return fmt.Errorf("--from: %q is not pebble: and the data_dir of a node", c.From)
	}
	if !strings.HasPrefix(c.To, "postgres://") && !strings.HasPrefix(c.To, "postgresql://") {
		return errors.New("--to: the URL of a Postgres database begins with postgres://")
	}
	folder := filepath.Join(dir, "pebble")
	if _, err := os.Stat(folder); err != nil {
		return fmt.Errorf("--from: there is no data in %s: %w", dir, err)
	}
	log := slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	source, err := pebble.Open(pebble.Options{Dir: folder, Log: log})
	if err != nil {
		return err
	}
	extra, err := server.MovedSettings(dir)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	p := progress{w: m.Stderr, began: time.Now()}
	if f, ok := m.Stderr.(*os.File); ok {
		p.terminal = isatty.IsTerminal(f.Fd())
	}
	name, err := filepath.Abs(dir)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	copied, err := postgres.Copy(ctx, c.To, postgres.Copying{Source: source, Name: name, Extra: extra, Progress: p.show, Log: log})
	p.end()
	if err = errors.Join(err, source.Close()); err != nil {
		return fmt.Errorf("%w\nNothing in %s was changed. What was copied stays, and the same command goes on from there", err, dir)
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "part\trows\tSHA-256, equal on both sides")
	for _, part := range copied {
		fmt.Fprintf(w, "%s\t%d\t%s\n", part.Part, part.Rows, part.Hash)
	}
	fmt.Fprintf(w, "\nEverything is copied. Set storage to the database's URL, and never start %s with Pebble again.\n", dir)
	return w.Flush()
}

// progress is a line on a terminal that changes, or a line every few seconds elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	shown    time.Time
}

// The pace of progress on a terminal and elsewhere.
const (
	progressOnTerminal = 100 * time.Millisecond
	progressElsewhere  = 5 * time.Second
)

func (p *progress) show(doing, part string, rows int64) {
	pace := progressElsewhere
	if p.terminal {
		pace = progressOnTerminal
	}
	if time.Since(p.shown) < pace {
		return
	}
	p.shown = time.Now()
	line := fmt.Sprintf("%s %s: %d rows, %s", doing, part, rows, time.Since(p.began).Round(time.Second))
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// end leaves the line.
func (p *progress) end() {
	if p.terminal && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
