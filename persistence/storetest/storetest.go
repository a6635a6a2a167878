// Package storetest checks that a backend keeps the contract of package persistence. Every backend runs it.
package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/matrixon/matrixon/persistence"
)

// Options are what a test wants of a store; zero values mean the backend's defaults.
type Options struct {
	MaxWaiting int // how many commits may wait
}

// Backend is an empty place for data, and what can be done to it.
type Backend struct {
	// Open opens a store at the place; after Close or Crash it may be called again.
	Open func(t testing.TB, o Options) persistence.Store
	// Persistent says that what was committed is there when the place is opened again.
	Persistent bool
	// Shared says that several stores may be open at the place at the same time.
	Shared bool
	// Crash, if not nil, makes the place what a power failure at this moment leaves of it. The open store is not used
	// afterwards; it must not change the place any more.
	Crash func(t testing.TB)
	// Break, if not nil, makes every write of the open store fail from now on.
	Break func(t testing.TB)
	// Spoil, if not nil, overwrites the stored value of the row, whose key is set, with bytes that are not one.
	Spoil func(t testing.TB, s persistence.Store, schema *persistence.Schema, row any)
}

// Run runs the tests that apply to the backend; place makes a new empty place for each.
func Run(t *testing.T, place func(t *testing.T) Backend) {
	always := func(Backend) bool { return true }
	for _, test := range []struct {
		name    string
		applies func(Backend) bool
		run     func(*testing.T, Backend)
	}{
		{"types and null", always, testTypes},
		{"ranges", always, testRanges},
		{"range errors", always, testRangeErrors},
		{"scan and commit", always, testScanAndCommit},
		{"put, replace, delete", always, testPutDelete},
		{"position columns", always, testPositionColumns},
		{"atomic", always, testAtomic},
		{"absent", always, testAbsent},
		{"fencing", always, testFencing},
		{"snapshot", always, testSnapshot},
		{"without stream", always, testWithoutStream},
		{"order of done", always, testOrder},
		{"notices", always, testNotices},
		{"notices of all nodes", func(b Backend) bool { return b.Shared }, testSharedNotices},
		{"concurrent writers", always, testConcurrent},
		{"rival claimers", always, testRivals},
		{"overload", always, testOverload},
		{"close", always, testClose},
		{"cancelled", always, testCancelled},
		{"random operations", always, testModel},
		{"reopen", func(b Backend) bool { return b.Persistent }, testReopen},
		{"crash", func(b Backend) bool { return b.Crash != nil }, testCrash},
		{"disk failure", func(b Backend) bool { return b.Break != nil }, testBroken},
		{"corrupt value", func(b Backend) bool { return b.Spoil != nil }, testCorrupt},
	} {
		b := place(t)
		if !test.applies(b) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, b)
		})
	}
}

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

func open(t testing.TB, b Backend, o Options) persistence.Store {
	t.Helper()
	s := b.Open(t, o)
	t.Cleanup(func() { _ = s.Close() }) // of a store that was closed or crashed it may give an error
	return s
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// commit commits and expects success.
func commit(t testing.TB, s persistence.Store, c *persistence.Commit) persistence.Position {
	t.Helper()
	p, err := persistence.Await(within(t), s, c)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return p
}

// refused commits and expects the error.
func refused(t testing.TB, s persistence.Store, c *persistence.Commit, want error) {
	t.Helper()
	if p, err := persistence.Await(within(t), s, c); !errors.Is(err, want) || p != 0 {
		t.Fatalf("commit: position %d, error %v; want error %v", p, err, want)
	}
}

func claim(t testing.TB, s persistence.Store, stream persistence.Stream) persistence.Activation {
	t.Helper()
	a, err := s.Claim(within(t), stream)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return a
}

func put(rows ...persistence.Mutation) *persistence.Commit {
	return &persistence.Commit{Write: rows}
}

// all reads the range and expects no error.
func all[R any](t testing.TB, s persistence.Reader, table *persistence.Table[R], q persistence.Range[R]) []R {
	t.Helper()
	rows, err := table.All(within(t), s, q)
	if err != nil {
		t.Fatalf("scan of %s: %v", table.Schema().Name(), err)
	}
	return rows
}

// group reads the pairs of a group.
func group(t testing.TB, s persistence.Reader, name string) []pair {
	t.Helper()
	return all(t, s, pairs, persistence.Range[pair]{Prefix: pair{Group: name}, Keys: 1})
}

func wantEqual[T comparable](t fataler, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// fate is what a done function was told.
type fate struct {
	n   int // the number of the commit
	pos persistence.Position
	err error
}

// receive waits for n fates.
func receive(t testing.TB, ch <-chan fate, n int) []fate {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var fates []fate
	for range n {
		select {
		case f := <-ch:
			fates = append(fates, f)
		case <-timeout.C:
			t.Fatalf("only %d of %d done functions were called", len(fates), n)
		}
	}
	return fates
}

// fataler is what testing.T and rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}
