package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/matrixon/matrixon/cmd/matrixon/server"
	"github.com/matrixon/matrixon/persistence/pebble"
	"github.com/matrixon/matrixon/persistence/postgres"
	"github.com/matrixon/matrixon/persistence/transfer"
)

type dbCopy struct {
	From string `required:"" placeholder:"PLACE" help:"Where the data is, of servers that are stopped: pebble:DIR with the data_dir of a single node, or postgres://user:password@host/database."`
	To   string `required:"" placeholder:"PLACE" help:"Where the data shall be, which must be empty: written in the same way."`
}

// Help tells what happens to the data.
func (dbCopy) Help() string {
	return "Copies rooms, accounts, sessions, positions and the key with which the server signs, so that clients go on with their sync tokens. " +
		"The source is not changed. A copy that was interrupted goes on where it was when the same command is given again; until it is " +
		"finished no server starts on it. In the end every table of both sides is read and compared. " +
		"The password of the database need not stand in the URL: PGPASSWORD and ~/.pgpass are read."
}

// Run copies, and says what it has copied.
func (c dbCopy) Run(ctx context.Context, m *Main) error {
	from, err := parsePlace("--from", c.From)
	if err != nil {
		return err
	}
	to, err := parsePlace("--to", c.To)
	if err != nil {
		return err
	}
	if from.dir == "" && to.dir == "" {
		return errors.New("--to: from one Postgres to another, pg_dump and pg_restore copy everything")
	}
	if from.dir != "" && to.dir != "" {
		return errors.New("--to: from one folder to another, copy the folder of a server that is stopped")
	}
	log := slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p := progress{w: m.Stderr, start: time.Now()}
	if f, ok := m.Stderr.(*os.File); ok {
		p.terminal = isatty.IsTerminal(f.Fd())
	}
	copying := transfer.Copying{Name: from.name, Progress: p.show}
	copied, err := from.copyTo(ctx, to, copying, log)
	p.end()
	if err != nil && p.began {
		err = fmt.Errorf("%w\nNothing in %s was changed. What was copied stays, and the same command goes on from there", err, from.name)
	}
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "part\trows\tSHA-256, equal on both sides")
	for _, part := range copied {
		fmt.Fprintf(w, "%s\t%d\t%s\n", part.Part, part.Rows, part.Hash)
	}
	fmt.Fprintf(w, "\nEverything is copied. %s, and never start a server on %s again: two servers of one name would contradict each other.\n", to.use(), from.name)
	if from.dir != "" {
		fmt.Fprintf(w, "Files that users sent are not part of it. If media.store was file, which it is unless it was set: either set it, and media.path to %s, "+
			"or move them with matrixon media move.\n", filepath.Join(from.dir, "media"))
	}
	return w.Flush()
}

// place is where data is kept.
type place struct {
	name string // for people, without a password
	dir  string // the data_dir of a single node, or
	url  string // a database
}

func parsePlace(flag, text string) (place, error) {
	if dir, ok := strings.CutPrefix(text, "pebble:"); ok && dir != "" {
		dir, err := filepath.Abs(dir)
		return place{name: dir, dir: dir}, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
		return place{}, fmt.Errorf("%s: it is neither pebble: and the data_dir of a node, nor the URL of a database as in postgres://user:password@host/database", flag)
	}
	return place{name: u.Host + u.Path, url: text}, nil
}

// use says how a server comes to use the place.
func (p place) use() string {
	if p.dir != "" {
		return "Set storage to pebble and data_dir to " + p.dir
	}
	return "Set storage to the database's URL"
}

func (p place) pebble(log *slog.Logger) pebble.Options {
	return pebble.Options{Dir: filepath.Join(p.dir, server.PebbleFolder), Log: log}
}

func (p place) copyTo(ctx context.Context, to place, c transfer.Copying, log *slog.Logger) ([]transfer.Copied, error) {
	if p.dir != "" {
		return p.toDatabase(ctx, to, c, log)
	}
	return p.toFolder(ctx, to, c, log)
}

// toDatabase copies from the folder of a single node.
func (p place) toDatabase(ctx context.Context, to place, c transfer.Copying, log *slog.Logger) (_ []transfer.Copied, err error) {
	o := p.pebble(log)
	if _, err := os.Stat(o.Dir); err != nil {
		return nil, fmt.Errorf("--from: there is no data in %s: %w", p.dir, err)
	}
	source, err := pebble.Open(o)
	if err != nil {
		return nil, err
	}
	defer closing(source, &err)
	if c.Extra, err = server.MovedSettings(p.dir); err != nil {
		return nil, err
	}
	target, err := postgres.OpenTarget(ctx, to.url, log)
	if err != nil {
		return nil, err
	}
	defer closing(target, &err)
	c.Source, c.Target = source, target
	return transfer.Copy(ctx, c)
}

// toFolder copies from a database.
func (p place) toFolder(ctx context.Context, to place, c transfer.Copying, log *slog.Logger) (_ []transfer.Copied, err error) {
	source, err := postgres.OpenSource(ctx, p.url, log)
	if err != nil {
		return nil, err
	}
	defer closing(source, &err)
	target, err := pebble.OpenTarget(to.pebble(log))
	if err != nil {
		return nil, err
	}
	defer closing(target, &err)
	if err := server.KeepSettings(ctx, source, to.dir); err != nil { // first, for a server without a key would make another
		return nil, err
	}
	c.Source, c.Target, c.Settled = source, target, source.Unchanged
	return transfer.Copy(ctx, c)
}

func closing(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }

// progress is a line on a terminal that changes, or a line every few seconds elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time
	shown    time.Time
	began    bool // something was told
}

// The pace of progress on a terminal and elsewhere.
const (
	progressOnTerminal = 100 * time.Millisecond
	progressElsewhere  = 5 * time.Second
)

func (p *progress) show(doing, part string, rows int64) {
	p.began = true
	pace := progressElsewhere
	if p.terminal {
		pace = progressOnTerminal
	}
	if time.Since(p.shown) < pace {
		return
	}
	p.shown = time.Now()
	line := fmt.Sprintf("%s %s: %d rows, %s", doing, part, rows, time.Since(p.start).Round(time.Second))
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
