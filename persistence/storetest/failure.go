package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/persistence"
)

// testCrash cuts the power several times while writers write: what was acknowledged must be there, every commit whole
// or not at all, and each stream without a gap.
func testCrash(t *testing.T, b Backend) {
	const writers, rounds, enough = 4, 5, 40
	acknowledged := make([]uint64, writers) // numbers of each stream that were acknowledged
	var newest persistence.Position
	for round := range rounds {
		s := b.Open(t, Options{})
		if s.Position() < newest {
			t.Fatalf("round %d: the position is %d, but %d was acknowledged", round, s.Position(), newest)
		}
		begin := make([]uint64, writers)
		epochs := make([]persistence.Epoch, writers)
		for w := range writers {
			a := claim(t, s, persistence.Stream{Kind: "room", ID: fmt.Sprint(w)})
			begin[w], epochs[w] = a.Seq, a.Epoch
			if a.Seq < acknowledged[w] {
				t.Fatalf("round %d: stream %d is at %d, but %d was acknowledged", round, w, a.Seq, acknowledged[w])
			}
			if rows := group(t, s, fmt.Sprint(w)); uint64(len(rows)) != 2*a.Seq {
				t.Fatalf("round %d: stream %d is at %d and has %d rows, not two for each number", round, w, a.Seq, len(rows))
			}
		}
		newest = crashing(t, b, s, begin, epochs, acknowledged, enough)
	}
	s := open(t, b, Options{})
	for w := range writers {
		if rows := group(t, s, fmt.Sprint(w)); uint64(len(rows)) < 2*acknowledged[w] {
			t.Errorf("stream %d has %d rows, but %d numbers were acknowledged", w, len(rows), acknowledged[w])
		}
	}
}

// crashing writes with all writers and crashes when there was enough. It gives the newest acknowledged position and
// updates acknowledged; what is acknowledged after the crash began does not count.
func crashing(t *testing.T, b Backend, s persistence.Store, begin []uint64, epochs []persistence.Epoch, acknowledged []uint64, enough int) persistence.Position {
	var (
		mu      sync.Mutex
		crashed bool
		count   int
		newest  persistence.Position
		full    = make(chan struct{})
		ended   sync.WaitGroup
	)
	for w := range begin {
		ended.Go(func() {
			for seq := begin[w]; ; seq++ {
				p, err := persistence.Await(context.Background(), s, &persistence.Commit{
					Stream: persistence.Stream{Kind: "room", ID: fmt.Sprint(w)}, Epoch: epochs[w], Seq: seq, Advance: 1,
					Write: []persistence.Mutation{
						pairs.Put(pair{Group: fmt.Sprint(w), N: int64(seq), Name: "one"}),
						pairs.Put(pair{Group: fmt.Sprint(w), N: int64(seq), Name: "two"}),
					},
				})
				mu.Lock()
				if err != nil || crashed {
					mu.Unlock()
					return
				}
				acknowledged[w] = seq + 1
				newest = max(newest, p)
				if count++; count == enough {
					close(full)
				}
				mu.Unlock()
			}
		})
	}
	<-full
	mu.Lock()
	crashed = true
	b.Crash(t)
	mu.Unlock()
	_ = s.Close() // to end its goroutines; the power is gone, so an error is to be expected
	ended.Wait()
	return newest
}

// testBroken makes the disk fail: every waiting writer hears of it, the store refuses everything afterwards although
// the disk might work again, and what was acknowledged is there when it is opened again.
func testBroken(t *testing.T, b Backend) {
	s := b.Open(t, Options{})
	commit(t, s, put(pairs.Put(pair{Group: "g", N: 1})))
	a := claim(t, s, persistence.Stream{Kind: "room", ID: "x"})
	b.Break(t)
	const waiting = 100
	fates := make(chan fate, waiting)
	for n := range waiting {
		s.Submit(put(pairs.Put(pair{Group: "lost", N: int64(n)})), func(p persistence.Position, err error) { fates <- fate{n, p, err} })
	}
	for _, f := range receive(t, fates, waiting) {
		if f.err == nil {
			t.Errorf("commit %d was acknowledged by a broken disk", f.n)
		}
		for _, refusal := range []error{persistence.ErrFenced, persistence.ErrConflict, persistence.ErrExists, persistence.ErrOverloaded} {
			if errors.Is(f.err, refusal) {
				t.Errorf("commit %d was refused for another reason: %v", f.n, f.err)
			}
		}
	}
	if _, err := persistence.Await(within(t), s, &persistence.Commit{Stream: persistence.Stream{Kind: "room", ID: "x"}, Epoch: a.Epoch}); err == nil {
		t.Error("a failed store accepted a commit")
	}
	if _, err := s.Claim(within(t), persistence.Stream{Kind: "room", ID: "x"}); err == nil {
		t.Error("a failed store accepted a claim")
	}
	if _, _, err := pairs.Get(within(t), s, pair{}); err == nil {
		t.Error("a failed store reads")
	}
	if err := s.Close(); err == nil {
		t.Error("closing a failed store gives no error")
	}
	if b.Crash == nil {
		return
	}
	b.Crash(t)
	s = open(t, b, Options{})
	if rows := group(t, s, "g"); len(rows) != 1 {
		t.Errorf("what was acknowledged before reads as %+v", rows)
	}
	commit(t, s, put(pairs.Put(pair{Group: "g", N: 2})))
}
