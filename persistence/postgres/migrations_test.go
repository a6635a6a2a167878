package postgres

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
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

const firstMigration = "migrations/0001_initial.sql"

// later gives the tables of each migration after the first, in their order there.
func later(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{}
	for _, file := range files {
		if file == firstMigration {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range creates.FindAllSubmatch(raw, -1) {
			tables[file] = append(tables[file], string(match[1]))
		}
	}
	return tables
}

var creates = regexp.MustCompile(`(?m)^CREATE TABLE "([a-z0-9_]+)" \(`)

// TestFirstMigration writes the first migration. Once there has been a release, it stays as it is, and what is declared
// afterwards goes into migrations of its own; TestLayout holds both to account.
func TestFirstMigration(t *testing.T) {
	t.Parallel()
	elsewhere := slices.Concat(slices.Collect(maps.Values(later(t)))...)
	text := "-- +goose Up\n" + own
	for _, s := range declared() {
		if !slices.Contains(elsewhere, s.Name()) {
			text += "\n" + ddl(s)
		}
	}
	if *update {
		if err := os.WriteFile(firstMigration, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(firstMigration)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text {
		t.Errorf("%s is not what the tables are declared as; before the first release write it with: go test ./persistence/postgres -run TestFirstMigration -update", firstMigration)
	}
}

// TestLaterMigrations holds the tables that later migrations create to their declarations.
func TestLaterMigrations(t *testing.T) {
	t.Parallel()
	byName := map[string]*persistence.Schema{}
	for _, s := range declared() {
		byName[s.Name()] = s
	}
	for file, tables := range later(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range tables {
			switch s := byName[name]; {
			case s == nil:
				t.Errorf("%s creates %s, which is not declared", file, name)
			case !strings.Contains(string(raw), ddl(s)):
				t.Errorf("%s does not create %s as it is declared:\n%s", file, name, ddl(s))
			}
		}
	}
}
