package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/pebble"
	"github.com/matrixon/matrixon/persistence/schema"
)

// aSource is a store with something of everything, closed with the test.
func aSource(t *testing.T) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(pebble.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx := context.Background()
	for n := range 30 {
		stream := persistence.Stream{Kind: "room", ID: fmt.Sprintf("!%d\x00\x01", n)}
		a, err := s.Claim(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		null := (*string)(nil)
		if n%2 == 0 {
			text := "a\x00b"
			null = &text
		}
		var rows []persistence.Mutation
		for seq := range uint64(10) {
			rows = append(rows, schema.Events.Put(schema.Event{RoomID: stream.ID, Seq: seq + 1, EventID: fmt.Sprint("$", n, seq), Type: "m.x", StateKey: null,
				JSON: []byte(`{"body":"` + strings.Repeat("x", n*10) + `"}`), StateBefore: []byte{0, 1, 255}}))
		}
		c := &persistence.Commit{Stream: stream, Epoch: a.Epoch, Advance: 10, Write: rows}
		if n%3 == 0 {
			c.Snapshot = []byte(strings.Repeat("s", n))
		}
		if _, err := persistence.Await(ctx, s, c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A copy that is interrupted again and again comes to its end, and the database goes on where the source was.
func TestCopy(t *testing.T) {
	t.Parallel()
	source, url := aSource(t), place(t)
	ctx := context.Background()
	tries := 0
	var copied []Copied
	for {
		tries++
		part, stop := context.WithCancel(ctx)
		chunks := 0
		var err error
		copied, err = Copy(part, url, Copying{Source: source, Name: "one", Log: slog.New(slog.DiscardHandler), chunk: 7,
			Extra: []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: "extra", Value: "x"})},
			Progress: func(_, _ string, rows int64) {
				if chunks++; rows > 0 && chunks > 20 {
					stop()
				}
			}})
		stop()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || tries > 100 {
			t.Fatal(err)
		}
		if _, err := Open(ctx, Options{URL: url, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, errUnfinished) {
			t.Fatalf("a server on an unfinished copy: %v", err)
		}
		if _, err := Copy(ctx, url, Copying{Source: source, Name: "another", Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "begun") {
			t.Fatalf("a copy of another source into it: %v", err)
		}
	}
	if tries < 3 {
		t.Errorf("the copy was interrupted %d times", tries-1)
	}
	rows := map[string]int64{}
	for _, part := range copied {
		rows[part.Part] = part.Rows
	}
	if rows["events"] != 300 || rows[streamsPart] != 30 {
		t.Errorf("copied: %v", rows)
	}
	if _, err := Copy(ctx, url, Copying{Source: source, Name: "one", Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a copy into a database that is used: %v", err)
	}

	s := openAt(t, Options{URL: url})
	if s.Position() != source.Position() {
		t.Errorf("the position is %d, not %d", s.Position(), source.Position())
	}
	stream := persistence.Stream{Kind: "room", ID: "!3\x00\x01"}
	a, err := s.Claim(ctx, stream)
	if err != nil || a.Epoch != 2 || a.Seq != 10 || a.SnapshotSeq != 10 || string(a.Snapshot) != "sss" {
		t.Errorf("the journal is %+v: %v", a, err)
	}
	p, err := persistence.Await(ctx, s, &persistence.Commit{Stream: stream, Epoch: a.Epoch, Seq: a.Seq, Advance: 1,
		Write: []persistence.Mutation{schema.Events.Put(schema.Event{RoomID: stream.ID, Seq: 11})}})
	if err != nil || p != source.Position()+1 {
		t.Errorf("the next commit is at %d: %v", p, err)
	}
	row, ok, err := schema.Settings.Get(ctx, s, schema.Setting{Name: "extra"})
	if err != nil || !ok || row.Value != "x" {
		t.Errorf("the extra row: %+v %v", row, err)
	}
	status, err := Look(ctx, url)
	if err != nil || status.Unfinished || status.Position != int64(p) || len(status.Migrations) == 0 || !status.Migrations[0].Applied || len(status.Sizes) < 10 {
		t.Errorf("the status is %+v: %v", status, err)
	}
}
