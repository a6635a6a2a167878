package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
	"github.com/matrixon/matrixon/tests/line"
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
		for !s.replicas[0].reaches(p) {
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
	reads(ctx, "two")                                            // without a position: from the primary
	until(t, ctx, "the replica gives what it has", func() bool { // the primary steps in whenever a busy machine lets the replica's answers grow old
		row, _, err := schema.Settings.Get(persistence.AsOf(ctx, one), s, schema.Setting{Name: "x"})
		if err != nil || row.Value != "one" && row.Value != "two" {
			t.Errorf("a read gives %q: %v", row.Value, err)
		}
		rows, err := schema.Settings.All(persistence.AsOf(ctx, one), s, persistence.Range[schema.Setting]{})
		if err != nil || len(rows) != 1 {
			t.Fatalf("a scan gives %v: %v", rows, err)
		}
		return row.Value == "one" && rows[0].Value == "one"
	})
	reads(persistence.AsOf(ctx, two), "two")      // what it does not have yet
	reads(persistence.AsOf(ctx, two+1000), "two") // what nobody has
	pause(false)
	reaches(two)
	reads(persistence.AsOf(ctx, two), "two")
	status, err := Look(ctx, url, copied, url)
	if err != nil || len(status.Standbys) != 1 || status.Standbys[0].State != "streaming" || status.Standbys[0].Behind < 0 {
		t.Errorf("the standbys are %+v: %v", status.Standbys, err)
	}
	if r := status.Replicas; len(r) != 2 || r[0].Err != nil || r[0].Position != int64(two) || r[1].Err == nil {
		t.Errorf("the replicas are %+v", r)
	}
	if len(status.Migrations) == 0 || !status.Migrations[0].Applied || status.Position != int64(two) || len(status.Sizes) < 10 || status.Unfinished {
		t.Errorf("the status is %+v", status)
	}
	standby.Kill()
	if r := lookAt(ctx, copied); r.Err == nil || r.Host != standby.Address {
		t.Errorf("a replica that is gone: %+v", r)
	}
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
	if log.count("is not used") != 1 || log.count("is used again") != 1 {
		t.Errorf("the log says %d times that the replica is gone, %d times that it is back", log.count("is not used"), log.count("is used again"))
	}
}

// aReplica is a server with its copy, and a store that uses both; the copy stands behind a line.
func aReplica(t *testing.T) (ctx context.Context, s *Store, standby *local.Postgres, cut *line.Line, log *output) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	primary, err := local.StartPostgres(ctx, filepath.Join(t.TempDir(), "primary"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Stop)
	if standby, err = primary.StartStandby(ctx, filepath.Join(t.TempDir(), "standby")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	cut = line.New(t, standby.Address)
	log = new(output)
	s = openAt(t, Options{URL: primary.URL(primary.Address, "matrixon"), Replicas: []string{primary.URL(cut.Address, "matrixon")},
		Log: slog.New(slog.NewTextHandler(log, nil))})
	return ctx, s, standby, cut, log
}

func until(t *testing.T, ctx context.Context, what string, is func() bool) { //nolint:revive // t first, as in all tests
	t.Helper()
	for !is() {
		if ctx.Err() != nil {
			t.Fatalf("it does not come to this: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What has left the primary behind is not believed: a copy that goes on alone, with other commits than the primary at the same
// positions.
func TestReplicaThatWentItsOwnWay(t *testing.T) {
	t.Parallel()
	ctx, s, standby, _, log := aReplica(t)
	put := func(s *Store, value string) persistence.Position {
		t.Helper()
		p, err := persistence.Await(ctx, s, &persistence.Commit{Write: []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: "x", Value: value})}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := put(s, "ours")
	until(t, ctx, "the replica is used", func() bool { return s.replicas[0].reaches(p) })
	url := standby.URL(standby.Address, "matrixon")
	execute(ctx, t, url, "SELECT pg_promote()")
	other := openAt(t, Options{URL: url})
	for range 3 {
		put(other, "theirs")
	}
	until(t, ctx, "the replica is not used", func() bool { return !s.replicas[0].reaches(p) })
	p = put(s, "ours")
	for range 20 {
		row, _, err := schema.Settings.Get(persistence.AsOf(ctx, p), s, schema.Setting{Name: "x"})
		if err != nil || row.Value != "ours" {
			t.Fatalf("the value is %q: %v", row.Value, err)
		}
		time.Sleep(replicaEvery / 10)
	}
	if _, used := s.Replicas(); used != 0 {
		t.Error("a server that has gone its own way is used")
	}
	if log.count("not the primary's") != 1 {
		t.Error("nothing is said of a replica that has gone its own way")
	}
}

// A replica that breaks off in the middle of a scan ends that scan, and nothing else; one that falls silent is not asked for long.
func TestReplicaBreaksOff(t *testing.T) {
	t.Parallel()
	ctx, s, _, cut, _ := aReplica(t)
	var c persistence.Commit
	const rows = 5000
	for n := range rows {
		c.Write = append(c.Write, schema.Settings.Put(schema.Setting{Name: fmt.Sprintf("%05d", n), Value: strings.Repeat("x", 500)}))
	}
	p, err := persistence.Await(ctx, s, &c)
	if err != nil {
		t.Fatal(err)
	}
	asOf := persistence.AsOf(ctx, p)
	used := func() bool { return s.replicas[0].reaches(p) }
	until(t, ctx, "the replica is used", used)
	until(t, ctx, "a scan of the replica breaks off", func() bool { // one of the primary, on a busy machine, does not
		given := 0
		for _, err = range schema.Settings.Scan(asOf, s, persistence.Range[schema.Setting]{}) {
			if given++; given == 1 {
				cut.Reset()
			}
		}
		if err == nil && given != rows || err != nil && !errors.Is(err, persistence.ErrUnavailable) {
			t.Fatalf("after %d rows the scan ends with %v", given, err)
		}
		return err != nil
	})
	if !s.Reachable() {
		t.Error("a replica that is gone counts as an outage of the database")
	}
	all, err := schema.Settings.All(asOf, s, persistence.Range[schema.Setting]{})
	if err != nil || len(all) != rows {
		t.Errorf("the next scan gives %d rows: %v", len(all), err)
	}
	until(t, ctx, "the replica is used again", used)
	cut.Pull()
	began := time.Now()
	until(t, ctx, "a silent replica is not used", func() bool { return !used() })
	if took := time.Since(began); took > replicaTimeout {
		t.Errorf("a silent replica was used for %s", took)
	}
	if _, ok, err := schema.Settings.Get(asOf, s, schema.Setting{Name: "00001"}); !ok || err != nil {
		t.Errorf("reading beside a silent replica: %v %v", ok, err)
	}
	cut.Mend()
	until(t, ctx, "the replica is used again", used)
}
