package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// A node that has just committed and has more to commit comes after those that have waited meanwhile.
func TestTurns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	url := database(t)
	busy, other := openAt(t, Options{URL: url}), openAt(t, Options{URL: url})
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // the test is over
	waiting := func(want int) {
		t.Helper()
		for n := -1; n != want; {
			if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "+
				"AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
	}
	const each = 20
	for range each {
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", turnLock); err != nil {
			t.Fatal(err)
		}
		commit := &persistence.Commit{Write: []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: "turn"})}}
		second, theirs := make(chan persistence.Position, 1), make(chan persistence.Position, 1)
		say := func(to chan persistence.Position) persistence.Done {
			return func(p persistence.Position, err error) {
				if err != nil {
					t.Error(err)
				}
				to <- p
			}
		}
		busy.Submit(commit, func(persistence.Position, error) { busy.Submit(commit, say(second)) })
		waiting(1)
		other.Submit(commit, say(theirs))
		waiting(2)
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", turnLock); err != nil {
			t.Fatal(err)
		}
		if mine, its := <-second, <-theirs; its > mine {
			t.Fatalf("the one that waited was given %d, after the %d of the one that had had its turn", its, mine)
		}
	}
}
