package room

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// faulty fails some commits: they happen and nobody learns it, or they do not happen.
type faulty struct {
	persistence.Store
	mu   sync.Mutex
	rand *rand.Rand
	rate float64
	hits atomic.Int64
}

var errFault = errors.New("the disk is gone for a moment")

func (f *faulty) Submit(c *persistence.Commit, done persistence.Done) {
	f.mu.Lock()
	fails, happens := f.rand.Float64() < f.rate, f.rand.IntN(2) == 0
	f.mu.Unlock()
	switch {
	case !fails:
		f.Store.Submit(c, done)
	case happens:
		f.hits.Add(1)
		f.Store.Submit(c, func(p persistence.Position, err error) { done(p, errors.Join(err, errFault)) })
	default:
		f.hits.Add(1)
		// A commit of nothing keeps the order of the answers.
		f.Store.Submit(&persistence.Commit{}, func(persistence.Position, error) { done(0, errFault) })
	}
}

// TestNothingAcknowledgedIsLost lets many senders write through a store that fails every now and then. Senders repeat what was
// not acknowledged with the same transaction id; in the end every message is there exactly once.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	store := &faulty{Store: newMemory(t), rand: rand.New(rand.NewPCG(1, 2))}
	s := newServer(t, store)
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	store.mu.Lock()
	store.rate = 0.1
	store.mu.Unlock()
	var wg sync.WaitGroup
	for sender := range 8 {
		wg.Go(func() {
			user := fmt.Sprintf("@u%d:test", sender)
			s.insist(roomID, change(user, messages.ChangeMembership_JOIN, user))
			for i := range 40 {
				s.insist(roomID, text(user, fmt.Sprintf("%s %d", user, i), fmt.Sprint(i)))
			}
		})
	}
	wg.Wait()
	if store.hits.Load() == 0 {
		t.Fatal("no commit failed")
	}
	sent := map[string]int{}
	for i, row := range s.journal(roomID) {
		if row.Seq != uint64(i)+1 {
			t.Fatalf("event %d stands at %d", row.Seq, i)
		}
		if row.Type == "m.room.message" {
			sent[row.Sender+" "+row.TxnID]++
		}
	}
	if len(sent) != 8*40 {
		t.Errorf("%d messages are there, want %d", len(sent), 8*40)
	}
	for what, n := range sent {
		if n != 1 {
			t.Errorf("message %s is there %d times", what, n)
		}
	}
	if got := s.summary(roomID).JoinedMembers; got != 9 {
		t.Errorf("the room has %d members", got)
	}
}

// insist repeats the request until it is answered.
func (s *server) insist(roomID string, m proto.Message) {
	for {
		if _, err := s.ask(roomID, m); err == nil {
			return
		} else if mxerr.From(err).Status == 403 {
			s.t.Errorf("%v: %v", m, err)
			return
		}
	}
}

func TestRivalActivationsAgree(t *testing.T) {
	t.Parallel()
	store := newMemory(t)
	a, b := newServer(t, store), newServer(t, store)
	roomID := a.create(alice, `{"preset":"public_chat"}`)
	var wg sync.WaitGroup
	for n, s := range []*server{a, b} {
		wg.Go(func() {
			for i := range 30 {
				s.must(roomID, text(alice, "x", fmt.Sprintf("%d-%d", n, i)))
			}
		})
	}
	wg.Wait()
	if n := len(a.journal(roomID)); n != 6+60 {
		t.Errorf("the journal has %d events, want %d", n, 66)
	}
	active, err := store.Claim(context.Background(), persistence.Stream{Kind: cluster.KindRoom, ID: roomID})
	if err != nil || active.Seq != 66 {
		t.Errorf("the stream is at %d, %v", active.Seq, err)
	}
}

// TestLoadDoesNotReadTheHistory wants an activation to read a bounded part of a long journal.
func TestLoadDoesNotReadTheHistory(t *testing.T) {
	t.Parallel()
	counted := &counting{Store: newMemory(t)}
	s := newServer(t, counted)
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	for i := range 1500 {
		s.must(roomID, text(alice, "x", fmt.Sprint(i)))
	}
	counted.rows.Store(0)
	next := newServer(t, counted)
	next.must(roomID, text(alice, "x", "again"))
	if n := counted.rows.Load(); n > transactionTail+300 {
		t.Errorf("loading read %d events", n)
	}
	if again := next.must(roomID, text(alice, "x", "1300")); again.Seq != 1306+1 {
		t.Errorf("a transaction among the newest gave event %d when it was repeated", again.Seq)
	}
	counted.rows.Store(0)
	later := newServer(t, counted, func(d *Deps) {
		d.Now = func() time.Time { return time.Now().Add(time.Hour) }
	})
	later.must(roomID, text(alice, "x", "much later"))
	if n := counted.rows.Load(); n > 256+firstLook+20 {
		t.Errorf("loading a room that was at rest read %d events", n)
	}
}

// TestRestingWritesASnapshot wants an actor that rests to leave no long tail, and nobody typing.
func TestRestingWritesASnapshot(t *testing.T) {
	t.Parallel()
	store := newMemory(t)
	s := newServer(t, store)
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	for i := range 50 {
		s.must(roomID, text(alice, "x", fmt.Sprint(i)))
	}
	s.must(roomID, &messages.SetTyping{By: by(alice), Typing: true})
	id := cluster.Identity{Kind: cluster.KindRoom, ID: roomID}
	if summary, err := s.node.Inspect(context.Background(), id); err != nil || summary.Seq != 56 || summary.Details["joined_members"] != "1" {
		t.Errorf("the actor says %v, %v", summary, err)
	}
	if err := s.node.Deactivate(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	s.notices.await(t, func(n *messages.RoomNotice) bool { return n.TypingChanged && len(n.Typing) == 0 })
	active, err := store.Claim(context.Background(), persistence.Stream{Kind: cluster.KindRoom, ID: roomID})
	if err != nil || active.Seq != 56 || active.SnapshotSeq != 56 {
		t.Errorf("the stream is at %d with a snapshot of %d, %v", active.Seq, active.SnapshotSeq, err)
	}
}

type counting struct {
	persistence.Store
	rows atomic.Int64
}

func (c *counting) ScanRows(ctx context.Context, s *persistence.Schema, r persistence.RowRange, yield func(any) bool) error {
	return c.Store.ScanRows(ctx, s, r, func(row any) bool {
		if s == schema.Events.Schema() {
			c.rows.Add(1)
		}
		return yield(row)
	})
}
