package unread

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	alice = "@alice:test" // whose notifications are counted
	bob   = "@bob:test"
	carol = "@carol:test" // the room's creator
	place = "!room:test"
)

// fataler is what tests, benchmarks and properties have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// world is a store with one room, and what was put into it.
type world struct {
	t       fataler
	store   *memory.Store
	counter *Counter
	seq     uint64
	events  []schema.Event
}

// newWorld makes a room of five that alice has just joined.
func newWorld(t fataler) *world {
	t.Helper()
	w := &world{t: t, store: memory.New(memory.Options{})}
	w.counter = w.fresh()
	w.state(carol, "m.room.create", "", `{}`)
	w.put(schema.Rooms.Put(schema.Room{RoomID: place, Version: "12", JoinedMembers: 5}))
	w.join()
	return w
}

// fresh is a counter that remembers nothing.
func (w *world) fresh() *Counter { return New(w.store, "") }

func (w *world) put(rows ...persistence.Mutation) {
	w.t.Helper()
	if _, err := persistence.Await(context.Background(), w.store, &persistence.Commit{Write: rows}); err != nil {
		w.t.Fatal(err)
	}
}

// send adds an event; edit may change its row before it is written. It gives the event's number.
func (w *world) send(sender, typ, content string, edit ...func(*schema.Event)) uint64 {
	w.t.Helper()
	w.seq++
	row := schema.Event{RoomID: place, Seq: w.seq, EventID: id(w.seq), Type: typ, Sender: sender}
	for _, f := range edit {
		f(&row)
	}
	stateKey := ""
	if row.StateKey != nil {
		stateKey = `,"state_key":` + quote(*row.StateKey)
	}
	row.JSON = fmt.Appendf(nil, `{"content":%s,"room_id":%s,"sender":%s%s,"type":%s}`, content, quote(place), quote(sender), stateKey, quote(typ))
	w.events = append(w.events, row)
	w.put(schema.Events.Put(row), schema.EventsByID.Put(schema.EventByID{RoomID: place, EventID: row.EventID, Seq: row.Seq}))
	return w.seq
}

func id(seq uint64) string { return fmt.Sprint("$", seq) }

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// say sends a message.
func (w *world) say(sender string) uint64 {
	w.t.Helper()
	return w.send(sender, "m.room.message", `{"body":"x","msgtype":"m.text"}`)
}

// relate sends an event that relates to another.
func (w *world) relate(sender, typ, relType string, to uint64) uint64 {
	w.t.Helper()
	return w.send(sender, typ, fmt.Sprintf(`{"body":"x","m.relates_to":{"rel_type":%q,"event_id":%q,"key":"+"}}`, relType, id(to)))
}

// reply sends a message in a thread.
func (w *world) reply(sender string, root uint64) uint64 {
	w.t.Helper()
	return w.relate(sender, "m.room.message", "m.thread", root)
}

// mention sends a message that mentions alice.
func (w *world) mention(sender string) uint64 {
	w.t.Helper()
	return w.send(sender, "m.room.message", `{"body":"x","m.mentions":{"user_ids":["@alice:test"]}}`)
}

// state sends a state event and makes it current.
func (w *world) state(sender, typ, stateKey, content string) uint64 {
	w.t.Helper()
	seq := w.send(sender, typ, content, func(row *schema.Event) { row.StateKey = &stateKey })
	w.put(schema.CurrentStates.Put(schema.CurrentState{RoomID: place, Type: typ, StateKey: stateKey, EventID: id(seq), Seq: seq}))
	return seq
}

// join lets alice join.
func (w *world) join() uint64 {
	w.t.Helper()
	seq := w.state(alice, "m.room.member", alice, `{"membership":"join","displayname":"Alice Liddell"}`)
	w.put(schema.Memberships.Put(schema.Membership{UserID: alice, RoomID: place, Membership: "join", Seq: seq, JoinedSeq: seq}))
	return seq
}

// redact prunes an event, by an event of the sender's.
func (w *world) redact(sender string, seq uint64) uint64 {
	w.t.Helper()
	by := w.send(sender, "m.room.redaction", fmt.Sprintf(`{"redacts":%q}`, id(seq)))
	row := &w.events[seq-1]
	row.RedactedBy = id(by)
	row.JSON = fmt.Appendf(nil, `{"content":{},"room_id":%s,"sender":%s,"type":%s}`, quote(place), quote(row.Sender), quote(row.Type))
	w.put(schema.Events.Put(*row))
	return by
}

// read moves a receipt of alice's.
func (w *world) read(typ, thread string, seq uint64) {
	w.t.Helper()
	w.put(schema.Receipts.Put(schema.Receipt{RoomID: place, UserID: alice, Type: typ, ThreadID: thread, EventID: id(seq), Seq: seq}))
}

// data stores account data of alice's.
func (w *world) data(typ, content string) {
	w.t.Helper()
	w.put(schema.AccountDatas.Put(schema.AccountData{UserID: alice, Type: typ, Content: []byte(content)}))
}

// counts asks up to an event, and checks that a counter without memory says the same.
func (w *world) counts(upto uint64) Counts {
	w.t.Helper()
	got := w.ask(w.counter, upto)
	if again := w.ask(w.fresh(), upto); !equal(got, again) {
		w.t.Fatalf("up to %d: %+v, counted anew %+v", upto, got, again)
	}
	return got
}

func (w *world) ask(c *Counter, upto uint64) Counts {
	w.t.Helper()
	counts, err := c.Counts(context.Background(), alice, place, upto)
	if err != nil {
		w.t.Fatal(err)
	}
	return counts
}

func equal(a, b Counts) bool {
	if len(a.Threads) == 0 && len(b.Threads) == 0 {
		return a.Main == b.Main
	}
	return cmp.Equal(a, b)
}

// expect checks the counts up to the newest event: of the main timeline and of threads.
func (w *world) expect(main Count, threads map[uint64]Count) {
	w.t.Helper()
	want := Counts{Main: main, Threads: map[string]Count{}}
	for root, n := range threads {
		want.Threads[id(root)] = n
	}
	if got := w.counts(w.seq); !equal(got, want) {
		w.t.Fatalf("%+v, want %+v", got, want)
	}
}

var _ fataler = (*testing.T)(nil)
