package postgres

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// A replica answers what it is far enough for, never what it is behind for, and the primary answers when it is gone.
func TestReplicas(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	primary, err := local.StartPostgres(ctx, filepath.Join(t.TempDir(), "primary"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Stop)
	url := primary.URL(primary.Address, "matrixon")
	if err := Migrate(ctx, url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.StartStandby(ctx, filepath.Join(t.TempDir(), "standby"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	copied := standby.URL(standby.Address, "matrixon")
	var log output
	s := openAt(t, Options{URL: url, Replicas: []string{copied}, Log: slog.New(slog.NewTextHandler(&log, nil))})

	put := func(value string) persistence.Position {
		t.Helper()
		p, err := persistence.Await(ctx, s, &persistence.Commit{Write: []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: "x", Value: value})}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// reads wants this value, of a single row and of a scan.
	reads := func(ctx context.Context, want string) {
		t.Helper()
		row, _, err := schema.Settings.Get(ctx, s, schema.Setting{Name: "x"})
		if err != nil || row.Value != want {
			t.Errorf("a read gives %q, not %q: %v", row.Value, want, err)
		}
		rows, err := schema.Settings.All(ctx, s, persistence.Range[schema.Setting]{})
		if err != nil || len(rows) != 1 || rows[0].Value != want {
			t.Errorf("a scan gives %v, not %q: %v", rows, want, err)
		}
	}
	reaches := func(p persistence.Position) {
		t.Helper()
		for s.replicas[0].has.Load() < uint64(p) {
			if ctx.Err() != nil {
				t.Fatalf("the replica does not reach %d", p)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	one := put("one")
	reaches(one)
	pause := func(on bool) {
		t.Helper()
		conn, err := pgx.Connect(ctx, copied)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx) //nolint:errcheck // it only ends the connection
		call := "SELECT pg_wal_replay_resume()"
		if on {
			call = "SELECT pg_wal_replay_pause()"
		}
		if _, err := conn.Exec(ctx, call); err != nil {
			t.Fatal(err)
		}
		for state := ""; on && state != "paused"; {
			if err := conn.QueryRow(ctx, "SELECT pg_get_wal_replay_pause_state()").Scan(&state); err != nil {
				t.Fatal(err)
			}
		}
	}
	pause(true)
	two := put("two")
	reads(ctx, "two")                             // without a position: from the primary
	reads(persistence.AsOf(ctx, one), "one")      // what the replica has
	reads(persistence.AsOf(ctx, two), "two")      // what it does not have yet
	reads(persistence.AsOf(ctx, two+1000), "two") // what nobody has
	pause(false)
	reaches(two)
	reads(persistence.AsOf(ctx, two), "two")
	standby.Kill()
	reads(persistence.AsOf(ctx, one), "two") // the primary steps in
	three := put("three")
	reads(persistence.AsOf(ctx, three), "three")
	if !s.Reachable() {
		t.Error("a replica that is gone counts as an outage of the database")
	}
	if err := standby.Start(ctx); err != nil {
		t.Fatal(err)
	}
	reaches(three)
	reads(persistence.AsOf(ctx, three), "three")
	if log.count("does not answer") != 1 || log.count("answers again") != 1 {
		t.Errorf("the log says %d times that the replica is gone, %d times that it is back", log.count("does not answer"), log.count("answers again"))
	}
}
