package search

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/bleve"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// world is a store and an index that is kept by this node or not.
type world struct {
	t        *testing.T
	store    persistence.Store
	searcher persistence.Searcher
}

func newWorld(t *testing.T) *world {
	t.Helper()
	searcher, err := bleve.Memory()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, memory.New(memory.Options{}), searcher}
	t.Cleanup(func() {
		if err := searcher.Close(); err != nil {
			t.Error(err)
		}
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// keep runs an index until the test ends.
func (w *world) keep(mine bool) *Index {
	x := New(w.store, w.searcher, func() bool { return mine }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		x.Run(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-stopped
	})
	return x
}

func (w *world) refresh(x *Index) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if err := x.Refresh(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(rows ...persistence.Mutation) {
	w.t.Helper()
	if _, err := persistence.Await(w.t.Context(), w.store, &persistence.Commit{Write: rows}); err != nil {
		w.t.Fatal(err)
	}
}

func message(seq uint64, body string) schema.Event {
	return schema.Event{RoomID: "!a", Seq: seq, EventID: fmt.Sprintf("$%d", seq), Type: "m.room.message", Sender: "@u:x",
		OriginServerTS: int64(seq), JSON: fmt.Appendf(nil, `{"content":{"body":%q}}`, body)}
}

func task(seq uint64) persistence.Mutation {
	return schema.SearchTasks.Put(schema.SearchTask{RoomID: "!a", Seq: seq})
}

func (w *world) expect(term string, want ...uint64) {
	w.t.Helper()
	hits, err := w.searcher.Search(w.t.Context(), persistence.TextQuery{Tokens: words.Query(term, 1), Rooms: []string{"!a"}, Recent: true, Limit: 5000})
	if err != nil {
		w.t.Fatal(err)
	}
	var got []uint64
	for _, hit := range hits {
		got = append(got, hit.Seq)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%q: %v, want %v", term, got, want)
	}
}

func (w *world) tasks() int {
	w.t.Helper()
	left, err := schema.SearchTasks.All(w.t.Context(), w.store, persistence.Range[schema.SearchTask]{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(left)
}

func TestTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.keep(true)
	w.write(schema.Events.Put(message(1, "apple")), task(1), schema.Events.Put(message(2, "apple pie")), task(2))
	w.refresh(x)
	w.expect("apple", 2, 1)
	// A redaction, an event that is not accepted, one without text, and one that is not there.
	redacted, rejected, silent := message(1, "apple"), message(3, "apple"), message(4, "?!")
	redacted.RedactedBy, rejected.Status = "$r", schema.Rejected
	w.write(schema.Events.Put(redacted), task(1), schema.Events.Put(rejected), task(3), schema.Events.Put(silent), task(4), task(9))
	w.refresh(x)
	w.expect("apple", 2)
	if n := w.tasks(); n > 0 {
		t.Errorf("%d tasks are left", n)
	}
	// More than are done at once, some of them twice.
	var rows []persistence.Mutation
	var want []uint64
	for seq := uint64(2*atOnce + 20); seq > 10; seq-- {
		rows = append(rows, schema.Events.Put(message(seq, "many")), task(seq))
		want = append(want, seq)
	}
	w.write(rows...)
	w.write(task(20), task(30))
	w.refresh(x)
	w.expect("many", want...)
	if n := w.tasks(); n > 0 {
		t.Errorf("%d tasks are left", n)
	}
}

func TestTasksOfAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.keep(false)
	w.write(schema.Events.Put(message(1, "apple")), task(1))
	w.refresh(x)
	w.expect("apple")
	if n := w.tasks(); n != 1 {
		t.Errorf("%d tasks are left", n)
	}
	w.refresh(w.keep(true))
	w.expect("apple", 1)
}

func TestIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(schema.Rooms.Put(schema.Room{RoomID: "!a"}), schema.Rooms.Put(schema.Room{RoomID: "!empty"}))
	var rows []persistence.Mutation
	var want []uint64
	for seq := uint64(atOnce + 5); seq > 0; seq-- {
		rows = append(rows, schema.Events.Put(message(seq, "old")))
		want = append(want, seq)
	}
	w.write(rows...)
	x := w.keep(true)
	w.refresh(x)
	w.expect("old", want...)
	if complete, err := w.searcher.Complete(t.Context()); err != nil || !complete {
		t.Errorf("complete: %v %v", complete, err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	empty, named := "", "x"
	for _, c := range []struct {
		row       schema.Event
		key, text string
	}{
		{schema.Event{Type: "m.room.message", JSON: []byte(`{"content":{"body":"b"}}`)}, KeyBody, "b"},
		{schema.Event{Type: "m.room.message", JSON: []byte(`{"content":{"body":1}}`)}, KeyBody, ""},
		{schema.Event{Type: "m.room.message", StateKey: &empty, JSON: []byte(`{"content":{"body":"b"}}`)}, "", ""},
		{schema.Event{Type: "m.room.message", RedactedBy: "$r", JSON: []byte(`{"content":{"body":"b"}}`)}, "", ""},
		{schema.Event{Type: "m.room.message", Status: schema.SoftFailed, JSON: []byte(`{"content":{"body":"b"}}`)}, "", ""},
		{schema.Event{Type: "m.room.name", StateKey: &empty, JSON: []byte(`{"content":{"name":"n"}}`)}, KeyName, "n"},
		{schema.Event{Type: "m.room.name", StateKey: &named, JSON: []byte(`{"content":{"name":"n"}}`)}, "", ""},
		{schema.Event{Type: "m.room.topic", StateKey: &empty, JSON: []byte(`{"content":{"topic":"t"}}`)}, KeyTopic, "t"},
		{schema.Event{Type: "m.room.topic", StateKey: &empty, JSON: []byte(`{"content":{"topic":"t","m.topic":{"m.text":[{"mimetype":"text/html","body":"<b>h</b>"},{"body":"plain"},{"body":"more"}]}}}`)}, KeyTopic, "t plain"},
		{schema.Event{Type: "m.room.encrypted", JSON: []byte(`{"content":{"body":"b"}}`)}, "", ""},
	} {
		if key, text := Text(&c.row); key != c.key || text != c.text {
			t.Errorf("%s %s: %q %q", c.row.Type, c.row.JSON, key, text)
		}
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(runs([]uint64{1, 2, 10, 19, 1000, 1008}))
	if want := "[[1 2 10] [19] [1000 1008]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestABurstThatDoesNotEndGetsMore(t *testing.T) {
	t.Parallel()
	for burst, want := range map[time.Duration]time.Duration{0: 9, patience - 1: 9, patience: 8, 7 * patience: 2, 8 * patience: 1, time.Hour: 1} {
		if got := restFactor(burst, 1000); got != want {
			t.Errorf("after %v the index rests %d times as long as it works, want %d", burst, got, want)
		}
	}
	if got := restFactor(0, hardly); got != 0 {
		t.Errorf("when nothing else is done the index rests %d times as long as it works", got)
	}
}
