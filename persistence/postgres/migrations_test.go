package postgres

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	_ "github.com/matrixon/matrixon/persistence/schema" // declares the tables
)

var update = flag.Bool("update", false, "write the first migration from the declared tables")

// own are the tables of the store itself.
const own = `-- The journals of actors: who may write each, and how far it goes.
CREATE TABLE streams (
    kind  text COLLATE "C" NOT NULL,
    id    text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The newest snapshot of each journal.
CREATE TABLE snapshots (
    kind text COLLATE "C" NOT NULL,
    id   text COLLATE "C" NOT NULL,
    seq  bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The position of the newest commit. Whoever commits keeps this row locked until then.
CREATE TABLE positions (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL
);
INSERT INTO positions (last) VALUES (0);

-- What nodes tell each other: the notices of the last quarter of an hour.
CREATE TABLE commits (
    last    bigint PRIMARY KEY,
    first   bigint NOT NULL,
    node    text NOT NULL,
    batch   text NOT NULL,
    notices bytea,
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX commits_at ON commits (at);

-- The full-text index of messages. It follows from the events and can be made anew.
CREATE TABLE search_texts (
    room_id text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    key     text COLLATE "C" NOT NULL,
    sender  text COLLATE "C" NOT NULL,
    ts      bigint NOT NULL,
    tokens  tsvector NOT NULL,
    PRIMARY KEY (room_id, seq)
);
CREATE INDEX search_texts_tokens ON search_texts USING gin (tokens);

-- A row says that everything has been put into the index.
CREATE TABLE search_complete (
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
`

func declared() []*persistence.Schema {
	var all []*persistence.Schema
	for _, s := range persistence.All() {
		if !strings.HasPrefix(s.Name(), "storetest_") {
			all = append(all, s)
		}
	}
	return all
}

// later are the migrations after the first, each with its text.
func later(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		if file == first {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}

const first = "migrations/0001_initial.sql"

// TestFirstMigration writes the first migration. What is declared afterwards goes into migrations of its own: a table that one of
// them makes is not in the first.
func TestFirstMigration(t *testing.T) {
	t.Parallel()
	added := later(t)
	text := "-- +goose Up\n" + own
	for _, s := range declared() {
		if !slices.ContainsFunc(slices.Collect(maps.Values(added)), func(m string) bool { return strings.Contains(m, "CREATE TABLE "+quote(s.Name())+" (") }) {
			text += "\n" + ddl(s)
		}
	}
	if *update {
		if err := os.WriteFile(first, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text {
		t.Errorf("%s is not what the tables are declared as; before the first release write it with: go test ./persistence/postgres -run TestFirstMigration -update", first)
	}
}

// TestLaterMigrations: a table that a later migration makes is made as it is declared.
func TestLaterMigrations(t *testing.T) {
	t.Parallel()
	for file, text := range later(t) {
		for _, s := range declared() {
			if strings.Contains(text, "CREATE TABLE "+quote(s.Name())+" (") && !strings.Contains(text, ddl(s)) {
				t.Errorf("%s: the declared table is\n%s", file, ddl(s))
			}
		}
	}
}
