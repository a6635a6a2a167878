package destination_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestEventsGoInOrderFiftyAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	w.event("!a")
	first := w.next()
	if got := fmt.Sprint(first.events()); got != "[!a-2]" {
		t.Fatalf("first transaction: %s", got)
	}
	var want []string
	for range 120 { // while the first is on its way, everything else waits
		want = append(want, w.event("!a"))
	}
	w.await("all are known", func() bool { return w.operate(messages.OperateDestination_DESCRIBE).QueuedEvents == 120 })
	w.await("all are known", func() bool { return w.operate(messages.OperateDestination_DESCRIBE).QueuedEvents == 120 })
	first.answer(nil)
	for _, size := range []int{50, 50, 20} {
		s := w.next()
		if got := s.events(); len(got) != size || fmt.Sprint(got) != fmt.Sprint(want[:size]) {
			t.Fatalf("sent %d events %v, not the next %d", len(got), got, size)
		}
		if origin := gjson.Get(s.body, "origin").Str; origin != actortest.ServerName || !gjson.Get(s.body, "origin_server_ts").Exists() {
			t.Fatalf("no transaction: %s", s.body)
		}
		want = want[size:]
		s.answer(nil)
	}
	w.rest()
}

// HARD_PLACES.md 27: the same transaction until it is taken.
func TestSameTransactionUntilItIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	name := w.event("!a")
	first := w.next()
	w.event("!a")
	first.answer(errDown)
	w.Clock.Await(time.Second)
	w.Clock.Advance(time.Second)
	again := w.next()
	if again.id != first.id || again.body != first.body {
		t.Fatalf("another transaction: %s %s", again.id, again.body)
	}
	w.Restart() // the node dies while it is on its way
	w.register()
	w.tend(w.keeper())
	w.Clock.Advance(time.Hour)
	third := w.next()
	if third.id != first.id || third.body != first.body {
		t.Fatalf("another transaction after a restart: %s %s", third.id, third.body)
	}
	if got := fmt.Sprint(third.events()); got != "["+name+"]" {
		t.Fatal(got)
	}
	third.answer(nil)
	fourth := w.next()
	if fourth.id == first.id || fmt.Sprint(fourth.events()) != "[!a-3]" {
		t.Fatalf("then %s with %v", fourth.id, fourth.events())
	}
	fourth.answer(nil)
	w.rest()
}

func TestBackOffDoublesAndEndsWhenTheServerSpeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	w.event("!a")
	for i := range 5 {
		w.next().answer(errDown)
		w.Clock.Await(time.Second << i)
		s := w.operate(messages.OperateDestination_DESCRIBE)
		if s.Circuit != "open" || s.Failures != int64(i+1) || s.LastError == "" || s.RetryTs != w.Clock.Now().Add(time.Second<<i).UnixMilli() {
			t.Fatalf("after %d failures: %v", i+1, s)
		}
		w.Clock.Advance(time.Second << i)
	}
	w.next().answer(errDown)
	w.Clock.Await(32 * time.Second)
	w.Clock.Advance(20 * time.Second) // not yet due
	turn, err := cluster.Ask[*messages.TransactionTurn](context.Background(), w.Node, w.actor(), &messages.BeginTransaction{TxnId: "theirs"})
	if err != nil || turn.Turn == 0 {
		t.Fatal(turn, err)
	}
	w.next().answer(nil)
	w.rest()
	if s := w.operate(messages.OperateDestination_DESCRIBE); s.Circuit != "closed" || s.Failures != 0 || s.LastError != "" || s.LastSuccessTs == 0 {
		t.Fatalf("when it is well again: %v", s)
	}
}

func TestOnlyWhatConcernsTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.event("!a") // before it came
	w.joins(remote, "!a")
	w.event("!other")
	first := w.event("!a")
	w.nextEvents(first)
	w.seqs["!a"]++
	left := w.seqs["!a"] + 1
	last := w.event("!a", schema.RoomServers.Put(schema.RoomServer{RoomID: "!a", Server: remote, JoinedSeq: 2, LeftSeq: left}))
	w.event("!a")
	w.nextEvents(last)
	w.rest()
}

func TestAnActivationReadsWhatItWasNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	w.joins(remote, "!b")
	var want []string
	told := w.dispatcher
	for i := range 75 {
		w.dispatcher = nop()
		want = append(want, w.event([]string{"!a", "!b", "!other"}[i%3]))
		if i%3 == 2 {
			want = want[:len(want)-1]
		}
	}
	w.dispatcher = told
	w.tend(w.keeper())
	w.nextEvents(want...)
	w.rest()
	w.tend(w.keeper())
	if n := count(w, schema.OutboundEvents); n != 0 {
		t.Errorf("%d events are kept although everybody has them", n)
	}
}

// HARD_PLACES.md 27: after a long outage a server gets the newest of each room.
func TestSweptEventsAreCaughtUpWithTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	w.joins(remote, "!b")
	w.joins("well.example", "!a")
	w.dispatcher = nop()
	for range 3 {
		w.event("!a")
		w.event("!b")
	}
	w.Write(
		schema.Destinations.Put(schema.Destination{Destination: remote, Failures: 9, FailingSinceTS: w.Clock.Now().Add(-time.Hour).UnixMilli(),
			RetryTS: w.Clock.Now().Add(time.Hour).UnixMilli()}),
		schema.Destinations.Put(schema.Destination{Destination: "well.example", SentPos: uint64(w.Store.Position()) + 1}))
	w.tend(w.keeper())
	if n := count(w, schema.OutboundEvents); n != 0 {
		t.Fatalf("%d events wait for a server that does not answer", n)
	}
	if n := count(w, schema.MissedRooms); n != 2 {
		t.Fatalf("%d rooms are noted", n)
	}
	w.operate(messages.OperateDestination_RETRY)
	w.nextEvents("!a-5", "!b-4")
	w.await("nothing is missed", func() bool { return count(w, schema.MissedRooms) == 0 })
}

func TestTheSweepWaitsForWhoIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	w.dispatcher = nop()
	for range 10 {
		w.event("!a")
	}
	if _, err := w.keeper().Tend(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := count(w, schema.OutboundEvents); n != 10 {
		t.Fatalf("%d events are left of 10 that nobody has got", n)
	}
	k := w.keeper()
	k.KeptEvents = 4
	if _, err := k.Tend(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := count(w, schema.OutboundEvents); n != 4 {
		t.Fatalf("%d events are left of 10 where 4 are kept", n)
	}
	w.tend(k)
	w.nextEvents("!a-8", "!a-9", "!a-10", "!a-11", "!a-11") // the last twice, once for those that were swept
	w.rest()
}

func TestOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joins(remote, "!a")
	if s := w.operate(messages.OperateDestination_PAUSE); s.Circuit != "paused" {
		t.Fatal(s)
	}
	w.event("!a")
	w.await("the event waits", func() bool { return w.operate(messages.OperateDestination_DESCRIBE).QueuedEvents == 1 })
	w.Restart()
	w.register()
	if s := w.operate(messages.OperateDestination_DESCRIBE); s.Circuit != "paused" {
		t.Fatalf("after a restart: %v", s)
	}
	w.operate(messages.OperateDestination_RETRY)
	first := w.next()
	first.answer(errDown)
	w.Clock.Await(time.Second)
	if s := w.operate(messages.OperateDestination_RESET); s.Circuit != "closed" || s.Failures != 0 {
		t.Fatal(s)
	}
	second := w.next()
	if second.id == first.id || fmt.Sprint(second.events()) != fmt.Sprint(first.events()) {
		t.Fatalf("a reset sends %s %v after %s %v", second.id, second.events(), first.id, first.events())
	}
	w.operate(messages.OperateDestination_RESET) // while it is on its way
	third := w.next()
	if third.id == second.id || fmt.Sprint(third.events()) != fmt.Sprint(first.events()) {
		t.Fatalf("a reset sends %s %v after %s", third.id, third.events(), second.id)
	}
	third.answer(nil)
	w.rest()
}

func TestTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(id string) *messages.TransactionTurn {
		t.Helper()
		turn, err := cluster.Ask[*messages.TransactionTurn](context.Background(), w.Node, w.actor(), &messages.BeginTransaction{TxnId: id})
		if err != nil {
			t.Fatal(err)
		}
		return turn
	}
	end := func(id string, turn uint64, answer string) {
		t.Helper()
		if _, err := w.Node.Ask(context.Background(), w.actor(), &messages.EndTransaction{TxnId: id, Turn: turn, Answer: []byte(answer)}); err != nil {
			t.Fatal(err)
		}
	}
	first := begin("1")
	waits := make(chan *messages.TransactionTurn)
	for _, id := range []string{"1", "2"} {
		go func() { waits <- begin(id) }()
	}
	select {
	case turn := <-waits:
		t.Fatalf("a turn is given while it is another's: %v", turn)
	case <-time.After(20 * time.Millisecond):
	}
	end("1", first.Turn, `{"pdus":{}}`)
	turns := map[uint64]string{}
	for range 2 {
		turn := <-waits
		turns[turn.Turn] = string(turn.Answer)
	}
	if turns[0] != `{"pdus":{}}` || len(turns) != 2 {
		t.Fatalf("the same transaction and another get %v", turns)
	}
	w.Restart()
	w.register()
	if again := begin("1"); string(again.Answer) != `{"pdus":{}}` {
		t.Fatalf("after a restart: %v", again)
	}
	third := begin("2") // whose turn was lost with the node
	end("2", third.Turn, "")
	if fourth := begin("2"); fourth.Turn == 0 {
		t.Fatal("a transaction that was not taken has an answer")
	}
}

// MSC4354: a server that comes into a room is sent what sticks there.
func TestWhatSticksIsSentToWhoComesIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sticky := func(seq uint64, sender string, ends time.Duration) persistence.Mutation {
		return schema.StickyEvents.Put(schema.StickyEvent{RoomID: "!a", Seq: seq, Sender: sender, EndsTS: w.Clock.Now().Add(ends).UnixMilli()})
	}
	us := "@us:" + actortest.ServerName
	w.event("!a", sticky(1, us, time.Minute))
	w.event("!a", sticky(2, us, -time.Second))
	w.event("!a", sticky(3, "@them:else.example", time.Minute))
	w.event("!a")
	w.event("!a", sticky(5, us, time.Minute))
	w.joins(remote, "!a")
	w.commit(&messages.OutboundNotice{RoomId: "!a", Missed: []string{remote}}, schema.MissedRooms.Put(schema.MissedRoom{Destination: remote, RoomID: "!a"}))
	w.net.deaf.Store(true) // it does not know yet that it is in the room
	w.nextEvents("!a-1", "!a-5")
	w.Clock.Await(time.Second)
	w.Clock.Advance(time.Second)
	again := w.next()
	w.net.deaf.Store(false)
	again.answer(nil)
	if got := fmt.Sprint(again.events()); got != "[!a-1 !a-5]" {
		t.Errorf("sent %s", got)
	}
	w.await("nothing is missed", func() bool { return count(w, schema.MissedRooms) == 0 })
}
