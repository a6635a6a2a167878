package unread

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

type threads = map[uint64]Count

func TestMessagesCountUntilTheyAreRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect(Count{}, nil)
	w.say(bob)
	second := w.mention(bob)
	w.say(carol)
	w.expect(Count{3, 1}, nil)
	w.read("m.read", "", second)
	w.expect(Count{1, 0}, nil)
	w.read("m.fully_read", "", w.seq)
	w.expect(Count{1, 0}, nil)
	w.read("m.read", "", w.seq)
	w.expect(Count{}, nil)
	w.mention(bob)
	w.expect(Count{1, 1}, nil)
}

func TestTheFurtherReceiptCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var e [4]uint64
	for i := range e {
		e[i] = w.say(bob)
	}
	w.read("m.read", "", e[2])
	w.read("m.read.private", "", e[0])
	w.expect(Count{1, 0}, nil)
	w.read("m.read.private", "", e[1])
	w.expect(Count{1, 0}, nil)
	w.read("m.read.private", "", e[3])
	w.expect(Count{}, nil)
}

// TestThreadedReceipts is the example of the specification: A and B are roots, C, E, G, H are in thread A, D, F in thread B, I is a reaction to A.
func TestThreadedReceipts(t *testing.T) {
	t.Parallel()
	build := func() (w *world, a, b, d, e, i uint64) {
		w = newWorld(t)
		a, b = w.say(bob), w.say(bob)
		w.reply(bob, a) // C
		d = w.reply(bob, b)
		e = w.reply(bob, a)
		w.reply(bob, b) // F
		w.reply(bob, a) // G
		w.reply(bob, a) // H
		i = w.relate(bob, "m.room.message", "org.example", a)
		w.expect(Count{3, 0}, threads{a: {4, 0}, b: {2, 0}})
		return w, a, b, d, e, i
	}
	w, a, b, _, _, i := build()
	w.read("m.read", Main, i)
	w.expect(Count{}, threads{a: {4, 0}, b: {2, 0}})
	w, a, b, _, e, _ := build()
	w.read("m.read", id(a), e)
	w.expect(Count{3, 0}, threads{a: {2, 0}, b: {2, 0}})
	w, a, b, d, _, _ := build()
	w.read("m.read", "", d)
	w.expect(Count{1, 0}, threads{a: {3, 0}, b: {1, 0}})
	w.read("m.read.private", "", w.seq)
	w.expect(Count{}, nil)
}

func TestThreadOfRelatedEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := w.say(bob)
	inside := w.reply(bob, root)
	one := w.relate(bob, "m.room.message", "org.example", inside)
	two := w.relate(bob, "m.room.message", "org.example", one)
	three := w.relate(bob, "m.room.message", "org.example", two)
	w.expect(Count{1, 0}, threads{root: {4, 0}})
	w.relate(bob, "m.room.message", "org.example", three) // one hop too many
	w.relate(bob, "m.room.message", "org.example", 9999)  // unknown
	w.send(bob, "m.room.message", fmt.Sprintf(`{"body":"x","m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, id(inside)))
	w.expect(Count{4, 0}, threads{root: {4, 0}})
	w.relate(alice, "m.reaction", "m.annotation", one)
	w.expect(Count{4, 0}, nil)
}

func TestOwnEventsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := w.say(bob)
	w.reply(bob, root)
	w.say(alice)
	w.expect(Count{}, threads{root: {1, 0}})
	w.say(bob)
	own := w.reply(alice, root)
	w.expect(Count{1, 0}, nil)
	w.state(alice, "m.room.member", alice, `{"membership":"join","displayname":"A"}`)
	w.expect(Count{1, 0}, nil)
	w.reply(bob, root)
	w.redact(alice, own) // its thread is forgotten with it
	w.expect(Count{1, 0}, threads{root: {2, 0}})
}

// A message of one's own that was taken back reads nothing any more, also when all was read before.
func TestOwnRedactedEventsDoNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say(bob)
	own := w.say(alice)
	w.expect(Count{}, nil)
	w.redact(alice, own)
	w.expect(Count{1, 0}, nil)
}

func TestStateIsInNoThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := w.say(bob)
	w.state(bob, "m.room.tombstone", "", fmt.Sprintf(`{"m.relates_to":{"rel_type":"m.thread","event_id":%q}}`, id(root)))
	w.expect(Count{2, 1}, nil)
}

func TestDeletedReceiptsReadNothing(t *testing.T) {
	t.Parallel()
	for _, thread := range []string{"", Main} {
		w := newWorld(t)
		w.say(bob)
		w.read("m.read", thread, w.seq)
		w.expect(Count{}, nil)
		w.put(schema.Receipts.Delete(schema.Receipt{RoomID: place, UserID: alice, Type: "m.read", ThreadID: thread}))
		w.expect(Count{1, 0}, nil)
	}
}

func TestWhatDoesNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	status := func(s uint64) func(*schema.Event) { return func(row *schema.Event) { row.Status = s } }
	for _, s := range []uint64{schema.SoftFailed, schema.Rejected, schema.Outlier} {
		w.send(bob, "m.room.message", `{"body":"x"}`, status(s))
	}
	w.send(bob, "m.room.message", `{"body":"x","msgtype":"m.notice"}`)
	w.relate(bob, "m.room.message", "m.replace", 1)
	w.relate(bob, "m.reaction", "m.annotation", 1)
	w.state(bob, "m.room.topic", "", `{"topic":"x"}`)
	w.expect(Count{}, nil)
	w.send(bob, "m.room.encrypted", `{}`)
	w.expect(Count{1, 0}, nil)
}

func TestRedactedEventsDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.mention(bob)
	w.say(bob)
	w.expect(Count{2, 1}, nil)
	w.redact(bob, first)
	w.expect(Count{1, 0}, nil)
	// In one step, before it was ever counted.
	w.redact(bob, w.say(bob))
	w.expect(Count{1, 0}, nil)
}

func TestIgnoredUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say(bob)
	w.say(carol)
	w.expect(Count{2, 0}, nil)
	w.data("m.ignored_user_list", `{"ignored_users":{"@bob:test":{}}}`)
	w.expect(Count{1, 0}, nil)
	w.say(bob)
	w.expect(Count{1, 0}, nil)
	w.data("m.ignored_user_list", `{"ignored_users":{}}`)
	w.expect(Count{3, 0}, nil)
}

func TestPushRulesOfTheUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say(bob)
	w.send(bob, "m.room.message", `{"body":"is alice LIDDELL here"}`)
	w.expect(Count{2, 0}, nil)
	w.data("m.push_rules", `{"global":{"override":[{"rule_id":"x","enabled":true,"actions":["notify",{"set_tweak":"highlight"}],"conditions":[{"kind":"contains_display_name"}]}]}}`)
	w.expect(Count{2, 1}, nil)
	w.data("m.push_rules", `{"global":{"room":[{"rule_id":"!room:test","enabled":true,"actions":[]}]}}`)
	w.expect(Count{}, nil)
	w.data("m.push_rules", `[]`)
	if _, err := w.counter.Counts(context.Background(), alice, place, w.seq); err == nil {
		t.Error("push rules of another shape are no error")
	}
}

func TestRoomMentionsNeedPower(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const content = `{"body":"x","m.mentions":{"room":true}}`
	w.send(bob, "m.room.message", content)
	w.expect(Count{1, 0}, nil)
	w.send(carol, "m.room.message", content)
	w.expect(Count{2, 1}, nil)
	w.state(carol, "m.room.power_levels", "", `{"users":{"@bob:test":20},"notifications":{"room":20}}`)
	w.send(bob, "m.room.message", content)
	if got := w.ask(w.counter, w.seq); got.Main != (Count{3, 2}) {
		t.Errorf("%+v", got)
	}
}

func TestOnlyThePresentStayCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say(bob)
	w.expect(Count{1, 0}, nil)
	seq := w.state(alice, "m.room.member", alice, `{"membership":"leave"}`)
	w.put(schema.Memberships.Put(schema.Membership{UserID: alice, RoomID: place, Membership: "leave", Seq: seq, JoinedSeq: 2}))
	w.say(bob)
	w.expect(Count{}, nil)
	w.join()
	w.expect(Count{}, nil)
	w.say(bob)
	w.expect(Count{1, 0}, nil)
	other, err := w.counter.Counts(context.Background(), "@stranger:test", place, w.seq)
	if err != nil || other.Main.Notify != 0 {
		t.Errorf("%+v, %v for somebody who was never there", other, err)
	}
}

func TestCountsUpToAnEarlierEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.say(bob)
	w.say(bob)
	last := w.say(bob)
	for _, upto := range []uint64{last, first, last, 0, first, math.MaxUint64} {
		want := int64(0)
		if upto >= first {
			want = int64(min(upto, last) - first + 1)
		}
		if got := w.counts(upto).Main.Notify; got != want {
			t.Errorf("up to %d: %d, want %d", upto, got, want)
		}
	}
	w.say(bob)
	w.expect(Count{4, 0}, nil)
	// Events that were not there yet when they were asked for are counted when they are.
	w.counts(w.seq + 2)
	w.say(bob)
	w.say(bob)
	w.expect(Count{6, 0}, nil)
}

func TestOneCountLooksAtBoundedlyMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const many = maxScan + 200
	row := schema.Event{RoomID: place, Type: "m.room.message", Sender: bob,
		JSON: []byte(`{"content":{"body":"x"},"sender":"@bob:test","type":"m.room.message"}`)}
	for range many {
		w.seq++
		row.Seq, row.EventID = w.seq, id(w.seq)
		w.put(schema.Events.Put(row))
	}
	w.expect(Count{maxScan, 0}, nil)
	w.read("m.read", Main, w.seq-10)
	w.expect(Count{10, 0}, nil)
}

func TestAnswersAreNotChangedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := w.say(bob)
	w.reply(bob, root)
	before := w.counts(w.seq)
	w.reply(bob, root)
	w.read("m.read", id(root), w.seq)
	w.expect(Count{1, 0}, nil)
	if before.Threads[id(root)] != (Count{1, 0}) {
		t.Errorf("the first answer has become %+v", before)
	}
}

// model is what has happened in a world, for an oracle that follows the package's description word by word.
type model struct {
	events   []said // by number, from the first after the join
	receipts map[string]uint64
}

type said struct {
	seq      uint64
	own      bool
	mention  bool
	redacted bool
	skip     bool // a redaction
	thread   string
}

func (m *model) counts(upto uint64) Counts {
	want := Counts{Threads: map[string]Count{}}
	for i, e := range m.events {
		read := e.own || e.redacted || e.skip || e.seq > upto || e.seq <= max(m.receipts[""], m.receipts[e.thread])
		for _, later := range m.events[i+1:] {
			read = read || later.seq <= upto && later.own && !later.redacted && !later.skip && later.thread == e.thread
		}
		if read {
			continue
		}
		n := want.of(e.thread)
		n.Notify++
		if e.mention {
			n.Highlight++
		}
		want.set(e.thread, n)
	}
	return want
}

// checkEarlier asks up to an earlier event. What was redacted after that may or may not count there, so then only a counter
// without memory, which sees it redacted, is compared with the model.
func (m *model) checkEarlier(w *world, upto uint64) {
	w.t.Helper()
	want := m.counts(upto)
	if got := w.ask(w.fresh(), upto); !equal(got, want) {
		w.t.Fatalf("up to %d: %+v counted anew, want %+v", upto, got, want)
	}
	got := w.ask(w.counter, upto)
	for _, e := range m.events {
		if e.skip && e.seq > upto {
			return
		}
	}
	if !equal(got, want) {
		w.t.Fatalf("up to %d: %+v, want %+v", upto, got, want)
	}
}

// TestCountsAgreeWithTheDescription lets things happen at random and asks now and then.
func TestCountsAgreeWithTheDescription(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		m := &model{receipts: map[string]uint64{}}
		roots := []uint64{w.say(bob), w.say(bob)}
		for _, seq := range roots {
			m.events = append(m.events, said{seq: seq, thread: Main})
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			sender := rapid.SampledFrom([]string{bob, bob, carol, alice}).Draw(rt, "sender")
			root := rapid.SampledFrom(roots).Draw(rt, "root")
			pick := rapid.IntRange(0, len(m.events)-1).Draw(rt, "event")
			switch rapid.IntRange(0, 7).Draw(rt, "what") {
			case 0:
				m.events = append(m.events, said{seq: w.say(sender), own: sender == alice, thread: Main})
			case 1:
				m.events = append(m.events, said{seq: w.mention(sender), own: sender == alice, mention: true, thread: Main})
			case 2, 3:
				m.events = append(m.events, said{seq: w.reply(sender, root), own: sender == alice, thread: id(root)})
			case 4, 5:
				thread := rapid.SampledFrom([]string{"", Main, id(roots[0]), id(roots[1])}).Draw(rt, "thread")
				typ := rapid.SampledFrom([]string{"m.read", "m.read.private"}).Draw(rt, "receipt")
				if seq := m.events[pick].seq; seq > m.receipts[thread] {
					w.read(typ, thread, seq)
					m.receipts[thread] = seq
				}
			case 6:
				if e := &m.events[pick]; !e.redacted && !e.skip {
					m.events = append(m.events, said{seq: w.redact(sender, e.seq), own: sender == alice, skip: true, thread: Main})
					m.events[pick].redacted = true
				}
			case 7:
				if rapid.Bool().Draw(rt, "earlier") {
					m.checkEarlier(w, m.events[pick].seq)
				} else if got, want := w.counts(w.seq), m.counts(w.seq); !equal(got, want) {
					rt.Fatalf("%+v, want %+v", got, want)
				}
			}
		}
		if got, want := w.counts(w.seq), m.counts(w.seq); !equal(got, want) {
			rt.Fatalf("at the end: %+v, want %+v", got, want)
		}
	})
}

func BenchmarkCounts(b *testing.B) {
	for name, rows := range map[string]int{"cold, 100 events": 100, "cold, 5000 events": 5000} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			for range rows {
				w.say(bob)
			}
			b.ReportAllocs()
			for b.Loop() {
				c := w.fresh()
				w.ask(c, w.seq)
			}
		})
	}
	b.Run("unchanged", func(b *testing.B) {
		w := newWorld(b)
		w.say(bob)
		w.read("m.read", Main, 1)
		w.read("m.read.private", Main, 1)
		w.ask(w.counter, w.seq)
		b.ReportAllocs()
		for b.Loop() {
			w.ask(w.counter, w.seq)
		}
	})
	b.Run("one more event", func(b *testing.B) {
		w := newWorld(b)
		for range 4000 {
			w.say(bob)
		}
		upto := uint64(10)
		w.ask(w.counter, upto)
		b.ReportAllocs()
		for b.Loop() {
			if upto++; upto > w.seq {
				b.StopTimer()
				w.counter, upto = w.fresh(), 11
				w.ask(w.counter, 10)
				b.StartTimer()
			}
			w.ask(w.counter, upto)
		}
	})
}

func TestManyAskAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := w.say(bob)
	for range 50 {
		w.reply(bob, root)
	}
	var group sync.WaitGroup
	for g := range uint64(8) {
		group.Go(func() {
			for upto := root + g; upto <= w.seq; upto++ {
				counts, err := w.counter.Counts(context.Background(), alice, place, upto)
				if err != nil || counts.Main != (Count{1, 0}) || counts.Threads[id(root)].Notify != int64(upto-root) {
					t.Errorf("up to %d: %+v, %v", upto, counts, err)
				}
			}
		})
	}
	group.Wait()
}

func TestRoomWithoutSummaryIsCorrupt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(schema.Rooms.Delete(schema.Room{RoomID: place}))
	w.say(bob)
	if _, err := w.counter.Counts(context.Background(), alice, place, w.seq); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
}
