package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	_ "github.com/matrixon/matrixon/persistence/schema" // declares the tables
)

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

// TestMigrations holds the migrations to the declared tables: each table is made, as it is declared, by one of them.
func TestMigrations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "0001_initial.sql") && !strings.HasPrefix(string(text), "-- +goose Up\n"+own) {
			t.Errorf("%s does not begin with the tables of the store itself", file)
		}
		for _, s := range declared() {
			if !strings.Contains(string(text), "\n"+ddl(s)) {
				continue
			}
			if other := made[s.Name()]; other != "" {
				t.Errorf("%s and %s both make the table %s", other, file, s.Name())
			}
			made[s.Name()] = file
		}
	}
	for _, s := range declared() {
		if made[s.Name()] == "" {
			t.Errorf("no migration makes the table %s as it is declared:\n%s", s.Name(), ddl(s))
		}
	}
}
