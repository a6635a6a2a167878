package push

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// The count of what is unread: notifications, and highlights among them.
type count struct{ Notify, Highlight int64 }

func (c count) plus(d count) count { return count{c.Notify + d.Notify, c.Highlight + d.Highlight} }

// said is an event of a room, as the model of the counts sees it.
type said struct {
	id     string
	thread string // the root, or main
	count         // what it adds while it is unread
	own    bool
	edited bool
	gone   bool
	words  bool // a message that can be edited, answered and taken back
}

// ledger is a room with the counts that Alice is to have there, worked out from all that happened.
type ledger struct {
	id     string
	events []said
	read   map[string]int // by the thread of the receipt, empty for all: how many events it covers
}

// want are the counts by thread.
func (l *ledger) want() map[string]count {
	reach := map[string]int{}
	for i, e := range l.events {
		if e.own && !e.gone {
			reach[e.thread] = i + 1
		}
	}
	counts := map[string]count{}
	for i, e := range l.events {
		if !e.own && !e.gone && i >= max(reach[e.thread], l.read[e.thread], l.read[""]) && e.count != (count{}) {
			counts[e.thread] = counts[e.thread].plus(e.count)
		}
	}
	return counts
}

func sum(counts map[string]count) (all count) {
	for _, c := range counts {
		all = all.plus(c)
	}
	return all
}

// view is what one way of syncing says of the rooms; it keeps what an answer does not mention.
type view struct {
	name  string
	since string
	rooms map[string]map[string]count
	ask   func(v *view)
}

// script is a generated sequence of what Alice and Bob do.
type script struct {
	*testing.T
	ctx        context.Context
	rng        *rand.Rand
	alice, bob *matrixclient.Client
	rooms      []*ledger
	txn        int
	steps      []string
}

func (s *script) do(c *matrixclient.Client, method, path string, body any) gjson.Result {
	s.Helper()
	a, err := c.Do(s.ctx, method, path, body)
	if err != nil {
		s.Fatal(err)
	}
	return a
}

func (s *script) say(c *matrixclient.Client, l *ledger, typ string, content m) string {
	s.txn++
	return s.do(c, "PUT", matrixclient.Path("rooms", l.id, "send", typ, strconv.Itoa(s.txn)), content).Get("event_id").Str
}

// pick chooses one of the events for which ok is true, and -1 if there is none.
func (s *script) pick(l *ledger, ok func(*said) bool) int {
	var found []int
	for i := range l.events {
		if ok(&l.events[i]) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return -1
	}
	return found[s.rng.IntN(len(found))]
}

func (s *script) step() {
	l := s.rooms[s.rng.IntN(len(s.rooms))]
	text := m{"msgtype": "m.text", "body": "words"}
	e := said{thread: "main", count: count{1, 0}, words: true}
	mention := func() {
		text["m.mentions"] = m{"user_ids": []string{s.alice.UserID}}
		e.count = count{1, 1}
	}
	who, what := s.bob, "bob says something"
	switch n := s.rng.IntN(100); {
	case n < 20:
	case n < 30:
		what = "bob mentions alice"
		mention()
	case n < 50: // in a thread
		root := s.pick(l, func(e *said) bool { return e.words && !e.gone && e.thread == "main" })
		if root < 0 {
			return
		}
		what, e.thread = "bob answers in a thread", l.events[root].id
		text["m.relates_to"] = m{"rel_type": "m.thread", "event_id": e.thread}
		if n < 37 {
			what = "bob mentions alice in a thread"
			mention()
		}
	case n < 60:
		of := s.pick(l, func(e *said) bool { return e.words && !e.gone && !e.own })
		if of < 0 {
			return
		}
		what, e.thread, e.count, e.words = "bob edits", l.events[of].thread, count{}, false
		l.events[of].edited = true
		text["m.relates_to"] = m{"rel_type": "m.replace", "event_id": l.events[of].id}
		text["m.new_content"] = m{"msgtype": "m.text", "body": "other words"}
		if n < 55 {
			what = "bob edits and mentions alice"
			mention()
		}
	case n < 70:
		s.redact(l)
		return
	case n < 78:
		who, what, e.own, e.count = s.alice, "alice says something", true, count{}
		if root := s.pick(l, func(e *said) bool { return e.words && !e.gone && e.thread == "main" }); n < 74 && root >= 0 {
			what, e.thread = "alice answers in a thread", l.events[root].id
			text["m.relates_to"] = m{"rel_type": "m.thread", "event_id": e.thread}
		}
	default:
		s.receipt(l)
		return
	}
	e.id = s.say(who, l, "m.room.message", text)
	l.events = append(l.events, e)
	s.note("%s: %s in %s", l.id, what, e.thread)
}

func (s *script) note(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf(format, args...))
}

func (s *script) redact(l *ledger) {
	of := s.pick(l, func(e *said) bool { return !e.gone && !e.own && !e.edited })
	if of < 0 {
		return
	}
	l.events[of].gone = true
	s.txn++
	id := s.do(s.bob, "PUT", matrixclient.Path("rooms", l.id, "redact", l.events[of].id, strconv.Itoa(s.txn)), m{}).Get("event_id").Str
	l.events = append(l.events, said{id: id, thread: "main"})
	s.note("%s: bob takes back what was said in %s", l.id, l.events[of].thread)
}

// receipt has Alice read up to an event further on than before, everything or in its thread.
func (s *script) receipt(l *ledger) {
	of := s.pick(l, func(e *said) bool { return e.words && !e.gone }) // what was taken back is in no thread any more
	if of < 0 {
		return
	}
	body, thread := m{}, ""
	if s.rng.IntN(2) == 0 {
		thread = l.events[of].thread
		body["thread_id"] = thread
	}
	if of < l.read[thread] {
		return
	}
	l.read[thread] = of + 1
	typ := []string{"m.read", "m.read.private"}[s.rng.IntN(2)]
	s.do(s.alice, "POST", matrixclient.Path("rooms", l.id, "receipt", typ, l.events[of].id), body)
	s.note("%s: alice reads %d of %d in %q (%s)", l.id, of+1, len(l.events), thread, typ)
}

// v3 looks with /sync, with counts by thread or without.
func (s *script) v3(name string, threads bool) *view {
	filter := fmt.Sprintf(`{"room":{"timeline":{"limit":1,"unread_thread_notifications":%t}}}`, threads)
	return &view{name: name, rooms: map[string]map[string]count{}, ask: func(v *view) {
		a, err := s.alice.Sync(s.ctx, v.since, filter, 0)
		if err != nil {
			s.Fatal(err)
		}
		v.since = a.Get("next_batch").Str
		for id, room := range a.Get("rooms.join").Map() {
			counts := map[string]count{}
			add := func(thread string, c gjson.Result) {
				if of := (count{c.Get("notification_count").Int(), c.Get("highlight_count").Int()}); of != (count{}) {
					counts[thread] = of
				}
			}
			add("main", room.Get("unread_notifications"))
			for thread, c := range room.Get("unread_thread_notifications").Map() {
				add(thread, c)
			}
			v.rooms[id] = counts
		}
	}}
}

// sliding looks with simplified sliding sync.
func (s *script) sliding() *view {
	body := m{"conn_id": strconv.Itoa(len(s.steps)), "lists": m{"all": m{"ranges": [][]int{{0, 9}}, "timeline_limit": 1}}, "extensions": m{"receipts": m{"enabled": true}}}
	return &view{name: "sliding sync", rooms: map[string]map[string]count{}, ask: func(v *view) {
		q := url.Values{"timeout": {"0"}}
		if v.since != "" {
			q.Set("pos", v.since)
		}
		a, err := s.alice.Call(s.ctx, "POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?"+q.Encode(), body)
		if err != nil {
			s.Fatal(err)
		}
		v.since = a.Get("pos").Str
		for id, room := range a.Get("rooms").Map() {
			if room.Get("notification_count").Exists() {
				v.rooms[id] = map[string]count{"": {room.Get("notification_count").Int(), room.Get("highlight_count").Int()}}
			}
		}
	}}
}

// agrees waits until the view says of every room what the model says.
func (s *script) agrees(v *view, threads bool) {
	s.Helper()
	deadline := time.Now().Add(patience)
	for {
		v.ask(v)
		ok := true
		for _, l := range s.rooms {
			want, got := l.want(), v.rooms[l.id]
			ok = ok && (threads && (len(want)+len(got) == 0 || reflect.DeepEqual(want, got)) || !threads && sum(want) == sum(got))
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			for _, l := range s.rooms {
				s.Errorf("%s of %s: %v, want %v", v.name, l.id, v.rooms[l.id], l.want())
			}
			s.Fatalf("what happened:\n%v", s.steps)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// However messages, mentions, threads, edits, redactions and receipts follow each other: all ways to ask for what is unread agree with
// each other, with a simple model, and with the number on the phone. COUNTS_SEED repeats a run.
func TestCountsAgree(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("COUNTS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("COUNTS_SEED=%d", seed)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	g := newGateway(t)
	server := binary.Start(t, "push.allow_networks=[127.0.0.0/8]")
	nobody := &matrixclient.Client{URL: server.URL, HTTP: http.DefaultClient}
	s := &script{T: t, ctx: ctx, rng: rand.New(rand.NewPCG(seed, 0))}
	var err error
	if s.alice, err = nobody.Register(ctx, "alice", "a password"); err == nil {
		s.bob, err = nobody.Register(ctx, "bob", "a password")
	}
	if err != nil {
		t.Fatal(err)
	}
	s.do(s.alice, "POST", "/pushers/set", m{"app_id": "app", "pushkey": "key", "kind": "http", "app_display_name": "App",
		"device_display_name": "Phone", "lang": "en", "data": m{"url": g.url, "format": "event_id_only"}})
	for range 2 {
		id, err := s.bob.CreateRoom(ctx, m{"preset": "public_chat"})
		if err == nil {
			err = s.alice.Join(ctx, id)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.rooms = append(s.rooms, &ledger{id: id, read: map[string]int{}})
	}
	badge := &view{name: "the badge", rooms: map[string]map[string]count{}, ask: func(v *view) {
		for {
			select {
			case n := <-g.came:
				v.rooms = map[string]map[string]count{"": {"": {Notify: n.Get("counts.unread").Int()}}}
				continue
			default:
			}
			return
		}
	}}
	follow := []*view{s.v3("/sync by thread", true), s.v3("/sync", false), s.sliding()}
	for n := range 120 {
		s.step()
		for _, v := range follow {
			s.agrees(v, v == follow[0])
		}
		s.shown(badge)
		if n%20 == 19 {
			s.agrees(s.v3("the first /sync by thread", true), true)
			s.agrees(s.v3("the first /sync", false), false)
			s.agrees(s.sliding(), false)
		}
	}
}

// shown waits until the phone shows the sum of all rooms.
func (s *script) shown(badge *view) {
	s.Helper()
	var want int64
	for _, l := range s.rooms {
		want += sum(l.want()).Notify
	}
	deadline := time.Now().Add(patience)
	for {
		if badge.ask(badge); badge.rooms[""][""].Notify == want {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the phone shows %d unread, want %d\nwhat happened:\n%v", badge.rooms[""][""].Notify, want, s.steps)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
