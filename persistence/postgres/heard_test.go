package postgres

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/matrixon/matrixon/persistence"
)

// said is what another node says of a batch in which every position has one notice, which is its number.
func said(t *testing.T, first, last persistence.Position) string {
	t.Helper()
	b := &batch{first: first, last: last}
	for p := first; p <= last; p++ {
		b.requests = append(b.requests, &request{position: p, commit: &persistence.Commit{Notices: []proto.Message{wrapperspb.UInt64(uint64(p))}}})
	}
	notices, err := encodeNotices(b.requests)
	if err != nil {
		t.Fatal(err)
	}
	return word("another", b, notices)
}

// listening is a store that has no database, so that it would fail if it read, and what it told.
func listening(at persistence.Position) (*Store, *[]uint64) {
	told := new([]uint64)
	s := &Store{log: slog.New(slog.DiscardHandler), feedWork: make(chan struct{}, 1), id: "this",
		follower: func(p persistence.Position, n []proto.Message) {
			for _, one := range n {
				if v, ok := one.(*wrapperspb.UInt64Value); ok && v.Value == uint64(p) {
					*told = append(*told, v.Value)
				}
			}
		}}
	s.position.Set(uint64(at))
	return s, told
}

// A batch that was heard whole is told without reading, in order, with our own in their place.
func TestHeardIsNotRead(t *testing.T) {
	t.Parallel()
	s, told := listening(4)
	s.hearOf(said(t, 5, 6))
	s.hearOf(said(t, 7, 7))
	own := &batch{first: 8, last: 8, requests: []*request{{position: 8, done: func(persistence.Position, error) {},
		commit: &persistence.Commit{Notices: []proto.Message{wrapperspb.UInt64(8)}}}}}
	s.told = sync.NewCond(&s.mu)
	s.committed(own)
	s.hearOf(said(t, 9, 11))
	s.hearOf(word(s.id, own, nil)) // we hear ourselves
	if err := s.advance(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{5, 6, 7, 8, 9, 10, 11}; !slices.Equal(*told, want) || s.Position() != 11 || s.notified.Load() {
		t.Errorf("told %v up to %d, notified %v; want %v", *told, s.Position(), s.notified.Load(), want)
	}
}

// What was not heard, or not whole, is to be read, and nothing is told before it. What was read meanwhile is not told again.
func TestHeardInPart(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"one was missed":           {said(t, 6, 6)},
		"one is too long":          {word("another", &batch{first: 5, last: 5}, make([]byte, longestWord)), said(t, 6, 6)},
		"an older version":         {"ANOTHER"},
		"nonsense":                 {"another 5 five AAAA"},
		"nonsense for notices":     {"another 5 5 %%"},
		"the end before the start": {"another 6 5 AAAA"},
	} {
		s, told := listening(4)
		for _, w := range words {
			s.hearOf(w)
		}
		if next, err := s.tellHeard(); next || err != nil || !s.notified.Load() || len(*told) > 0 {
			t.Errorf("%s: told %v, %v, notified %v", name, *told, err, s.notified.Load())
		}
		s.position.Set(6) // as reading does
		s.notified.Store(false)
		if err := s.advance(context.Background(), false); err != nil || len(*told) > 0 || len(s.heard) > 0 {
			t.Errorf("%s: told %v again, %v, %d still heard", name, *told, err, len(s.heard))
		}
	}
}

// Notices that cannot be read are told of when they are read from the table, if at all.
func TestHeardCorrupt(t *testing.T) {
	t.Parallel()
	s, told := listening(4)
	s.hearOf(word("another", &batch{first: 5, last: 5}, []byte{5, 200}))
	if _, err := s.tellHeard(); err == nil || s.Position() != 4 || len(*told) > 0 {
		t.Errorf("told %v, %v, at %d", *told, err, s.Position())
	}
}

// What waits to be told is bounded; beyond it the feed reads.
func TestHeardIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := listening(0)
	for p := range persistence.Position(mostHeard + 10) {
		s.hearOf(said(t, p+1, p+1))
	}
	if len(s.heard) != mostHeard || !s.notified.Load() {
		t.Errorf("%d are kept, notified %v", len(s.heard), s.notified.Load())
	}
}

// Every word is one that Postgres takes, and is understood as it was meant.
func TestWords(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	node := strings.Repeat("n", 26)
	for range 2000 {
		b := &batch{first: persistence.Position(rng.Int64N(1<<62)) + 1}
		b.last = b.first + persistence.Position(rng.Int64N(2048))
		notices := make([]byte, rng.IntN(6200))
		for i := range notices {
			notices[i] = byte(rng.Uint32())
		}
		w := word(node, b, notices)
		if len(w) > 7999 {
			t.Fatalf("a word of %d bytes", len(w))
		}
		from, h, whole := understand(w)
		if from != node || !whole && len(notices) < 5800 || whole && len(w) < len(notices) {
			t.Fatalf("%d bytes: from %q, whole %v", len(notices), from, whole)
		}
		if whole && (h.First != int64(b.first) || h.Last != int64(b.last) || string(h.Notices) != string(notices)) {
			t.Fatalf("understood %d to %d with %d bytes, not %d to %d with %d", h.First, h.Last, len(h.Notices), b.first, b.last, len(notices))
		}
	}
}
