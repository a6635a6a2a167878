// Package search tests that what was said is found again: after a crash, a restart, and the loss of the index.
package search

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

type world struct {
	t      *testing.T
	ctx    context.Context
	alice  *matrixclient.Client
	roomID string
	sent   int
}

// say sends messages with the same word.
func (w *world) say(n int, word string) {
	w.t.Helper()
	for range n {
		w.sent++
		if _, err := w.alice.Send(w.ctx, w.roomID, "m.room.message", fmt.Sprint("t", w.sent), matrixclient.J{"msgtype": "m.text", "body": word}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// count is how many messages are found.
func (w *world) count(word string) int {
	w.t.Helper()
	n := 0
	for from := ""; ; {
		answer, err := w.alice.Do(w.ctx, http.MethodPost, "/search?next_batch="+from, matrixclient.J{"search_categories": matrixclient.J{
			"room_events": matrixclient.J{"search_term": word, "order_by": "recent", "filter": matrixclient.J{"limit": 100}}}})
		if err != nil {
			w.t.Fatal(err)
		}
		events := answer.Get("search_categories.room_events")
		n += len(events.Get("results").Array())
		if from = events.Get("next_batch").Str; from == "" {
			return n
		}
	}
}

// eventually waits until so many are found: the index may need a moment after a start.
func (w *world) eventually(word string, want int) {
	w.t.Helper()
	for n := w.count(word); n != want; n = w.count(word) {
		if w.ctx.Err() != nil {
			w.t.Fatalf("%d of %d are found", n, want)
		}
	}
}

// begin makes a user with a room on the server.
func begin(t *testing.T, s *binary.Server) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx}
	anybody := &matrixclient.Client{URL: s.URL, HTTP: http.DefaultClient}
	var err error
	if w.alice, err = anybody.Register(ctx, "alice", "pw"); err != nil {
		t.Fatal(err)
	}
	if w.roomID, err = w.alice.CreateRoom(ctx, matrixclient.J{}); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestPebble(t *testing.T) {
	t.Parallel()
	s := binary.Start(t)
	w := begin(t, s)
	w.say(10, "first")
	if n := w.count("first"); n != 10 {
		t.Errorf("%d of what was just said is found", n)
	}
	w.say(200, "second")
	s.Kill()
	s.Run()
	w.eventually("second", 200)
	w.eventually("first", 10)
	w.say(1, "third")
	s.Stop()
	if err := os.RemoveAll(filepath.Join(s.DataDir(), "search")); err != nil {
		t.Fatal(err)
	}
	s.Run()
	w.eventually("second", 200)
	w.eventually("third", 1)
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	database, err := local.StartPostgres(ctx, filepath.Join(t.TempDir(), "data"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Stop)
	s := binary.Start(t, "storage="+database.URL(database.Address, "matrixon"))
	w := begin(t, s)
	w.say(10, "first")
	if n := w.count("first"); n != 10 {
		t.Errorf("%d of what was just said is found", n)
	}
	w.say(100, "東京都")
	s.Kill()
	s.Run()
	w.eventually("京都", 100)
	w.eventually("first", 10)
}
