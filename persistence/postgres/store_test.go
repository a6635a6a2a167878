package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/storetest"
)

// server is the Postgres of this run of the tests.
var server *local.Postgres

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "matrixon-postgres-")
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
	before := goleak.IgnoreCurrent()
	code := m.Run()
	if err := goleak.Find(before); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var databases atomic.Int64

// database makes an empty database and gives its URL.
func database(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name := fmt.Sprintf("test%d", databases.Add(1))
	execute(ctx, t, server.URL(server.Address, "matrixon"), "CREATE DATABASE "+name+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'")
	t.Cleanup(func() {
		execute(context.Background(), t, server.URL(server.Address, "matrixon"), "DROP DATABASE "+name+" WITH (FORCE)")
	})
	return server.URL(server.Address, name)
}

func execute(ctx context.Context, t testing.TB, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it only ends the connection
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// place is an empty database with the tables of the tests.
func place(t testing.TB) string {
	t.Helper()
	url := database(t)
	if err := Migrate(context.Background(), url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, s := range persistence.All() {
		if strings.HasPrefix(s.Name(), "storetest_") {
			execute(context.Background(), t, url, ddl(s))
		}
	}
	return url
}

func openAt(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Connections = 6
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		url := place(t)
		return storetest.Backend{Persistent: true, Shared: true, Open: func(t testing.TB, o storetest.Options) persistence.Store {
			return openAt(t, Options{URL: url, MaxWaiting: o.MaxWaiting})
		}}
	})
}
