package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/persistence"
)

// testOrder checks that done functions come one at a time, in the order of positions, and what they may rely on.
func testOrder(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	const writers, each = 16, 50
	var (
		running int // not guarded: the race detector sees a second goroutine
		newest  persistence.Position
		fates   = make(chan fate, writers*each)
		submit  sync.WaitGroup
	)
	for w := range writers {
		submit.Go(func() {
			for i := range each {
				row := pair{Group: fmt.Sprint(w), N: int64(i)}
				s.Submit(put(pairs.Put(row)), func(p persistence.Position, err error) {
					running++
					if running != 1 {
						t.Error("two done functions run at once")
					}
					if err == nil && p <= newest {
						t.Errorf("position %d after %d", p, newest)
					}
					newest = p
					if s.Position() != p {
						t.Errorf("the store's position is %d in the done function of %d", s.Position(), p)
					}
					if got, ok, err := pairs.Get(context.Background(), s, row); !ok || err != nil || got.Pos != uint64(p) {
						t.Errorf("done was called, but the row reads as %+v, %v, %v", got, ok, err)
					}
					running--
					fates <- fate{w, p, err}
				})
			}
		})
	}
	submit.Wait()
	for _, f := range receive(t, fates, writers*each) {
		if f.err != nil {
			t.Errorf("commit: %v", f.err)
		}
	}
	// Of one submitter, the order of submission is the order of positions.
	for w := range writers {
		rows := group(t, s, fmt.Sprint(w))
		for i := 1; i < len(rows); i++ {
			if rows[i].Pos <= rows[i-1].Pos {
				t.Fatalf("writer %d: %+v comes before %+v", w, rows[i-1], rows[i])
			}
		}
	}
}

// testConcurrent has a writer per stream and readers beside them, who must see whole commits only.
func testConcurrent(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	const writers, each = 8, 60
	stop := make(chan struct{})
	var readers, streams sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Each commit moves its writer's two rows to the same number.
				numbers := map[int64]string{}
				for row, err := range pairs.Scan(context.Background(), s, persistence.Range[pair]{Prefix: pair{Group: "twins"}, Keys: 1}) {
					if err != nil {
						t.Errorf("scan: %v", err)
						return
					}
					writer := row.N / 2
					if first, ok := numbers[writer]; ok && first != row.Value {
						t.Errorf("half a commit is visible: %s and %s", first, row.Value)
						return
					}
					numbers[writer] = row.Value
				}
			}
		})
	}
	for w := range writers {
		streams.Go(func() {
			stream := persistence.Stream{Kind: "room", ID: fmt.Sprint(w)}
			a, err := s.Claim(context.Background(), stream)
			if err != nil {
				t.Errorf("claim: %v", err)
				return
			}
			for i := range each {
				c := &persistence.Commit{Stream: stream, Epoch: a.Epoch, Seq: uint64(i), Advance: 1, Write: []persistence.Mutation{
					pairs.Put(pair{Group: "twins", N: int64(2 * w), Value: fmt.Sprint(i)}),
					pairs.Put(pair{Group: "twins", N: int64(2*w + 1), Value: fmt.Sprint(i)}),
				}}
				if _, err := persistence.Await(context.Background(), s, c); err != nil {
					t.Errorf("writer %d, commit %d: %v", w, i, err)
					return
				}
			}
		})
	}
	streams.Wait()
	close(stop)
	readers.Wait()
	if rows := group(t, s, "twins"); len(rows) != 2*writers {
		t.Fatalf("%d rows", len(rows))
	}
}

// testRivals lets many claim one stream and write until fenced: the journal must have no gap, no row twice, and each
// number must be written by an epoch not older than that of the number before.
func testRivals(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	const rivals, each = 8, 10
	stream := persistence.Stream{Kind: "room", ID: "contested"}
	var all sync.WaitGroup
	var mu sync.Mutex
	written := 0
	for range rivals {
		all.Go(func() {
			for range each {
				a, err := s.Claim(context.Background(), stream)
				if errors.Is(err, persistence.ErrFenced) {
					continue // another claimed it before the answer came
				}
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				for seq := a.Seq; ; seq++ {
					_, err := persistence.Await(context.Background(), s, &persistence.Commit{
						Stream: stream, Epoch: a.Epoch, Seq: seq, Advance: 1,
						Write:  []persistence.Mutation{pairs.Put(pair{Group: "journal", N: int64(seq), Value: fmt.Sprintf("%06d", a.Epoch)})},
						Absent: []persistence.Mutation{pairs.Put(pair{Group: "journal", N: int64(seq)})},
					})
					if err == nil {
						mu.Lock()
						written++
						mu.Unlock()
						if seq-a.Seq < 3 {
							continue
						}
					} else if !errors.Is(err, persistence.ErrFenced) {
						t.Errorf("epoch %d, number %d: %v", a.Epoch, seq, err)
					}
					break
				}
			}
		})
	}
	all.Wait()
	rows := group(t, s, "journal")
	if len(rows) != written || written == 0 {
		t.Fatalf("%d commits succeeded, %d rows are there", written, len(rows))
	}
	for i, row := range rows {
		if row.N != int64(i) || i > 0 && row.Value < rows[i-1].Value {
			t.Fatalf("row %d is %+v after %+v", i, row, rows[max(i-1, 0)])
		}
	}
}

// testOverload blocks the done functions, so that nothing gets through, and submits more than may wait.
func testOverload(t *testing.T, b Backend) {
	const bound, excess = 10, 15
	s := open(t, b, Options{MaxWaiting: bound})
	release := make(chan struct{})
	fates := make(chan fate, bound+excess)
	for n := range bound + excess {
		s.Submit(put(pairs.Put(pair{Group: "g", N: int64(n)})), func(p persistence.Position, err error) {
			<-release
			fates <- fate{n, p, err}
		})
	}
	close(release)
	there := make(map[int64]bool)
	for _, f := range receive(t, fates, bound+excess) {
		if f.err == nil {
			there[int64(f.n)] = true
		} else if !errors.Is(f.err, persistence.ErrOverloaded) {
			t.Errorf("commit %d: %v", f.n, f.err)
		}
	}
	if len(there) != bound {
		t.Errorf("%d commits were accepted; the bound is %d", len(there), bound)
	}
	rows := group(t, s, "g")
	if len(rows) != len(there) {
		t.Errorf("%d rows of %d accepted commits", len(rows), len(there))
	}
	for _, row := range rows {
		if !there[row.N] {
			t.Errorf("row %d of a refused commit is there", row.N)
		}
	}
	commit(t, s, put(pairs.Put(pair{Group: "after"})))
}

func testClose(t *testing.T, b Backend) {
	s := b.Open(t, Options{})
	const waiting = 200
	fates := make(chan fate, waiting)
	for n := range waiting {
		s.Submit(put(pairs.Put(pair{Group: "g", N: int64(n)})), func(p persistence.Position, err error) { fates <- fate{n, p, err} })
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if len(fates) != waiting {
		t.Fatalf("close returned after %d of %d done functions", len(fates), waiting)
	}
	for _, f := range receive(t, fates, waiting) {
		if f.err != nil {
			t.Errorf("commit %d, submitted before the close: %v", f.n, f.err)
		}
	}
	refused(t, s, put(pairs.Put(pair{})), persistence.ErrClosed)
	if _, err := s.Claim(within(t), persistence.Stream{Kind: "room", ID: "x"}); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("claim: %v", err)
	}
	if _, _, err := pairs.Get(within(t), s, pair{}); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("get: %v", err)
	}
	if _, err := pairs.All(within(t), s, persistence.Range[pair]{}); !errors.Is(err, persistence.ErrClosed) {
		t.Errorf("scan: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if b.Persistent {
		if n := len(group(t, open(t, b, Options{}), "g")); n != waiting {
			t.Errorf("%d of %d rows are there after opening again", n, waiting)
		}
	}
}

func testCancelled(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	commit(t, s, put(pairs.Put(pair{Group: "g"})))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := pairs.Get(ctx, s, pair{Group: "g"}); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := pairs.All(ctx, s, persistence.Range[pair]{}); !errors.Is(err, context.Canceled) {
		t.Errorf("scan: %v", err)
	}
}
