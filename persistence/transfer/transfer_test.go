package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/pebble"
	"github.com/matrixon/matrixon/persistence/postgres"
	"github.com/matrixon/matrixon/persistence/schema"
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	server *local.Postgres // of this run of the tests
)

func TestMain(m *testing.M) {
	if os.Getenv(dieAfter) != "" {
		os.Exit(die())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "matrixon-transfer-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if server, err = local.StartPostgres(ctx, filepath.Join(dir, "data"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	return m.Run()
}

// What a process that is to die is told.
const (
	dieAfter = "MATRIXON_TEST_DIE_AFTER" // how many portions it saves before
	dieFrom  = "MATRIXON_TEST_FROM"
	dieTo    = "MATRIXON_TEST_TO"
)

// small makes portions so small that a copy has many of them.
const small = 7

// die copies, and is killed in the middle.
func die() int {
	left, err := strconv.Atoi(os.Getenv(dieAfter))
	if err != nil {
		panic(err)
	}
	_, err = between(context.Background(), os.Getenv(dieFrom), os.Getenv(dieTo), func(string, string, int64) {
		if left--; left < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// between copies from a folder into a database, or from a database into a folder.
func between(ctx context.Context, from, to string, progress func(doing, part string, rows int64)) (_ []Copied, err error) {
	c := Copying{Name: from, Chunk: small, Progress: progress}
	var source, target interface{ Close() error }
	if strings.HasPrefix(from, "postgres:") {
		s, err := postgres.OpenSource(ctx, from, quiet)
		if err != nil {
			return nil, err
		}
		c.Source, c.Settled, source = s, s.Unchanged, s
	} else {
		s, err := pebble.Open(pebble.Options{Dir: from, Log: quiet})
		if err != nil {
			return nil, err
		}
		c.Source, source = s, s
		c.Extra = []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: "extra", Value: "x"})}
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if strings.HasPrefix(to, "postgres:") {
		t, err := postgres.OpenTarget(ctx, to, quiet)
		if err != nil {
			return nil, err
		}
		c.Target, target = t, t
	} else {
		t, err := pebble.OpenTarget(pebble.Options{Dir: to, Log: quiet})
		if err != nil {
			return nil, err
		}
		c.Target, target = t, t
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return Copy(ctx, c)
}

// a folder is where a store with something of everything is.
func aFolder(t *testing.T) (dir string, at persistence.Position) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "pebble")
	s, err := pebble.Open(pebble.Options{Dir: dir, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	at = s.Position()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, at
}

func streamOf(n int) persistence.Stream {
	return persistence.Stream{Kind: "room", ID: fmt.Sprintf("!%d\x00\x01", n)}
}

func fill(t *testing.T, s persistence.Store) {
	t.Helper()
	ctx := context.Background()
	for n := range 30 {
		stream := streamOf(n)
		a, err := s.Claim(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		key := (*string)(nil)
		if n%2 == 0 {
			text := "a\x00b"
			key = &text
		}
		var rows []persistence.Mutation
		for seq := range uint64(10) {
			rows = append(rows, schema.Events.Put(schema.Event{RoomID: stream.ID, Seq: seq + 1, EventID: fmt.Sprint("$", n, seq), Type: "m.x", StateKey: key,
				JSON: []byte(`{"body":"` + strings.Repeat("x", n*10) + "\x01" + `"}`), StateBefore: []byte{0, 1, 255}}))
		}
		c := &persistence.Commit{Stream: stream, Epoch: a.Epoch, Advance: 10, Write: rows}
		if n%3 == 0 {
			c.Snapshot = []byte(strings.Repeat("s", n))
		}
		if _, err := persistence.Await(ctx, s, c); err != nil {
			t.Fatal(err)
		}
	}
}

var databases atomic.Int64

func emptyDatabase(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	execute(t, server.URL(server.Address, "matrixon"), "CREATE DATABASE "+name)
	return server.URL(server.Address, name)
}

func execute(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // it only ends the connection
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func openDatabase(t *testing.T, url string) (*postgres.Store, error) {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Node: "test", Log: quiet})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

func openFolder(t *testing.T, dir string) (*pebble.Store, error) {
	t.Helper()
	s, err := pebble.Open(pebble.Options{Dir: dir, Log: quiet})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// goesOn wants the store to be where the source was, and to go on from there.
func goesOn(t *testing.T, s persistence.Store, at persistence.Position, epoch persistence.Epoch) {
	t.Helper()
	if s.Position() != at {
		t.Errorf("the position is %d, not %d", s.Position(), at)
	}
	stream := streamOf(3)
	a, err := s.Claim(t.Context(), stream)
	if err != nil || a.Epoch != epoch || a.Seq != 10 || a.SnapshotSeq != 10 || string(a.Snapshot) != "sss" {
		t.Errorf("the journal is %+v: %v", a, err)
	}
	at = s.Position() // where a claim takes one
	p, err := persistence.Await(t.Context(), s, &persistence.Commit{Stream: stream, Epoch: a.Epoch, Seq: a.Seq, Write: []persistence.Mutation{
		schema.Settings.Put(schema.Setting{Name: "after", Value: "x"})}})
	if err != nil || p <= at || p > at+2 {
		t.Errorf("the next commit is at %d: %v", p, err)
	}
	row, ok, err := schema.Settings.Get(t.Context(), s, schema.Setting{Name: "extra"})
	if err != nil || !ok || row.Value != "x" {
		t.Errorf("the extra row: %+v %v", row, err)
	}
}

func sums(all []Copied) string {
	var out []string
	for _, c := range all {
		if c.Part != schema.Settings.Schema().Name() && c.Part != Journals { // what goesOn writes
			out = append(out, fmt.Sprint(c))
		}
	}
	return strings.Join(out, "\n")
}

// A copy whose process is killed again and again comes to its end; until then no server starts on it, and nothing else goes in.
// What went to Postgres comes back as it was.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	from, at := aFolder(t)
	url := emptyDatabase(t)
	dieThenCopy := func(from, to string, open func() error) []Copied {
		for _, after := range []int{0, 3, 9, 14, 25} {
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), dieAfter+"="+strconv.Itoa(after), dieFrom+"="+from, dieTo+"="+to)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the copy was not killed: %v: %s", err, out)
			}
			if err := open(); !errors.Is(err, persistence.ErrUnfinished) {
				t.Fatalf("a server on an unfinished copy: %v", err)
			}
		}
		copied, err := between(t.Context(), from, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		return copied
	}
	there := dieThenCopy(from, url, func() error { _, err := openDatabase(t, url); return err })
	if i := slices.IndexFunc(there, func(c Copied) bool { return c.Part == "events" }); there[i].Rows != 300 {
		t.Errorf("copied: %+v", there)
	}
	s, err := openDatabase(t, url)
	if err != nil {
		t.Fatal(err)
	}
	goesOn(t, s, at, 2)
	at = s.Position()

	back := filepath.Join(t.TempDir(), "pebble")
	if _, err := between(t.Context(), url, back, nil); err == nil || !strings.Contains(err.Error(), "matrixon test") {
		t.Errorf("a copy from a database that a server uses: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := dieThenCopy(url, back, func() error { _, err := openFolder(t, back); return err })
	if sums(again) != sums(there) {
		t.Errorf("what came back is not what went:\n%s\n\n%s", sums(again), sums(there))
	}
	p, err := openFolder(t, back)
	if err != nil {
		t.Fatal(err)
	}
	goesOn(t, p, at, 3)
}

// What holds data of another origin is left alone.
func TestRefusals(t *testing.T) {
	t.Parallel()
	from, _ := aFolder(t)
	foreign := emptyDatabase(t)
	execute(t, foreign, "CREATE TABLE theirs (x int)")
	if _, err := between(t.Context(), from, foreign, nil); !errors.Is(err, persistence.ErrNotEmpty) || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("a copy among the tables of another program: %v", err)
	}

	used := emptyDatabase(t)
	s, err := openDatabase(t, used)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := between(t.Context(), from, used, nil); err == nil || !strings.Contains(err.Error(), "matrixon test") {
		t.Errorf("a copy into a database that a server uses: %v", err)
	}
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := between(t.Context(), from, used, nil); !errors.Is(err, persistence.ErrNotEmpty) || !strings.Contains(err.Error(), "events") {
		t.Errorf("a copy into a database with data: %v", err)
	}
	if _, err := between(t.Context(), used, from, nil); !errors.Is(err, persistence.ErrNotEmpty) {
		t.Errorf("a copy into a folder with data: %v", err)
	}

	// Another source, and the same one after it was written to, do not go on with what was begun.
	half := emptyDatabase(t)
	interrupt := func(from, to string) error {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		n := 0
		_, err := between(ctx, from, to, func(string, string, int64) {
			if n++; n > 12 {
				stop()
			}
		})
		return err
	}
	if err := interrupt(from, half); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	other, _ := aFolder(t)
	if _, err := between(t.Context(), other, half, nil); !errors.Is(err, persistence.ErrNotEmpty) || !strings.Contains(err.Error(), "begun") {
		t.Errorf("another source goes on with a copy: %v", err)
	}
	p, err := openFolder(t, from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Claim(t.Context(), streamOf(1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := between(t.Context(), from, half, nil); !errors.Is(err, persistence.ErrNotEmpty) {
		t.Errorf("a source that has changed goes on with a copy: %v", err)
	}
	folder := filepath.Join(t.TempDir(), "pebble")
	if err := interrupt(used, folder); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := between(t.Context(), half, folder, nil); !errors.Is(err, persistence.ErrUnfinished) {
		t.Errorf("a copy of an unfinished copy: %v", err)
	}
}

// What differs in the end is no copy.
func TestDifference(t *testing.T) {
	t.Parallel()
	from, _ := aFolder(t)
	url := emptyDatabase(t)
	spoiled := false
	_, err := between(t.Context(), from, url, func(_, part string, rows int64) {
		if part == Journals && !spoiled {
			spoiled = true
			execute(t, url, "UPDATE events SET json = 'x' WHERE ctid = (SELECT min(ctid) FROM events)")
		}
	})
	if !spoiled || err == nil || !strings.Contains(err.Error(), "events: the copy has 300 rows") {
		t.Errorf("a row that differs: %v", err)
	}
	if _, err := openDatabase(t, url); !errors.Is(err, persistence.ErrUnfinished) {
		t.Errorf("a server on a copy that differs: %v", err)
	}
}
