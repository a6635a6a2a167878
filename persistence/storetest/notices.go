package storetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/matrixon/matrixon/persistence"
)

func notice(text string) proto.Message { return wrapperspb.String(text) }

// follower remembers what it is told, as position:text.
type follower struct {
	mu   sync.Mutex
	told []string
	last persistence.Position
	errs []string
}

func (f *follower) hear(p persistence.Position, notices []proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p <= f.last {
		f.errs = append(f.errs, fmt.Sprintf("told of %d after %d", p, f.last))
	}
	f.last = p
	for _, n := range notices {
		text, ok := n.(*wrapperspb.StringValue)
		if !ok {
			f.errs = append(f.errs, fmt.Sprintf("told a %T", n))
			continue
		}
		f.told = append(f.told, text.GetValue())
	}
}

func (f *follower) heard(t testing.TB) []string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.errs {
		t.Error(e)
	}
	return slices.Clone(f.told)
}

func testNotices(t *testing.T, b Backend) {
	s := open(t, b, Options{})
	var f follower
	s.Follow(f.hear)
	room := persistence.Stream{Kind: "room", ID: "!a"}
	a := claim(t, s, room)
	commit(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Advance: 1, Notices: []proto.Message{notice("one"), notice("two")}})
	wantEqual(t, "told before done", f.heard(t), []string{"one", "two"})
	refused(t, s, &persistence.Commit{Stream: room, Epoch: a.Epoch, Notices: []proto.Message{notice("refused")}}, persistence.ErrConflict)
	commit(t, s, put(pairs.Put(pair{Group: "g"}))) // without a notice
	commit(t, s, &persistence.Commit{Notices: []proto.Message{notice("three")}})
	wantEqual(t, "told", f.heard(t), []string{"one", "two", "three"})

	// What is told to many at once is told in order, and done comes after it.
	const many = 500
	fates := make(chan fate, many)
	for n := range many {
		text := strconv.Itoa(n)
		s.Submit(&persistence.Commit{Notices: []proto.Message{notice(text)}}, func(p persistence.Position, err error) {
			if told := f.heard(t); !slices.Contains(told, text) {
				t.Errorf("done of %s was called before it was told", text)
			}
			fates <- fate{n, p, err}
		})
	}
	for _, fate := range receive(t, fates, many) {
		if fate.err != nil {
			t.Errorf("commit %d: %v", fate.n, fate.err)
		}
	}
	if told := f.heard(t); len(told) != many+3 {
		t.Errorf("%d of %d notices were told", len(told), many+3)
	}
	if p, err := s.CatchUp(within(t)); err != nil || p != s.Position() {
		t.Errorf("caught up at %d of %d: %v", p, s.Position(), err)
	}
}

// testSharedNotices has several stores commit to one place: each is told the same, and whoever catches up has been told
// of everything it can read.
func testSharedNotices(t *testing.T, b Backend) {
	const nodes, each = 3, 100
	stores := make([]persistence.Store, nodes)
	followers := make([]follower, nodes)
	for i := range stores {
		stores[i] = open(t, b, Options{})
		stores[i].Follow(followers[i].hear)
	}
	ctx := within(t)
	var writers sync.WaitGroup
	for i, s := range stores {
		writers.Go(func() {
			for n := range each {
				row := pair{Group: "g", N: int64(i*each + n)}
				c := &persistence.Commit{Write: []persistence.Mutation{pairs.Put(row)}, Notices: []proto.Message{notice(strconv.FormatInt(row.N, 10))}}
				if _, err := persistence.Await(ctx, s, c); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			}
		})
		writers.Go(func() {
			for range each / 4 {
				if err := toldOfAll(ctx, s, &followers[i]); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			}
		})
	}
	writers.Wait()
	for _, s := range stores {
		if _, err := s.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
	}
	first := followers[0].heard(t)
	if len(first) != nodes*each {
		t.Errorf("%d of %d notices were told", len(first), nodes*each)
	}
	for i := range followers {
		wantEqual(t, "told to another node", followers[i].heard(t), first)
	}
}

// toldOfAll reads, catches up, and compares.
func toldOfAll(ctx context.Context, s persistence.Store, f *follower) error {
	var rows []pair
	for row, err := range pairs.Scan(ctx, s, persistence.Range[pair]{Prefix: pair{Group: "g"}, Keys: 1}) {
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if _, err := s.CatchUp(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	told := map[string]bool{}
	for _, text := range f.told {
		told[text] = true
	}
	for _, row := range rows {
		if !told[strconv.FormatInt(row.N, 10)] {
			return fmt.Errorf("row %d was readable and not told", row.N)
		}
	}
	return nil
}
