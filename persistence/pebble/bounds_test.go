package pebble

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/matrixon/matrixon/persistence"
)

// TestLargeCommits commits rows and snapshots larger than a memtable.
func TestLargeCommits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, Options{Dir: dir, Log: quiet, MemtableBytes: 1 << 20, MaxWaitingBytes: 1 << 20}).(*Store)
	text := strings.Repeat("large ", 1<<19)
	stream := persistence.Stream{Kind: "room", ID: "large"}
	a, err := s.Claim(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	c := &persistence.Commit{Stream: stream, Epoch: a.Epoch, Advance: 1, Snapshot: []byte(text)}
	for n := range 4 {
		c.Write = append(c.Write, keptRows.Put(kept{N: uint64(n), Text: text}))
	}
	// Alone it is admitted although it is larger than what may wait.
	if _, err := persistence.Await(t.Context(), s, c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if rows := keptNumbers(t, s); !slices.Equal(rows, upTo(4)) {
			t.Errorf("rows %v", rows)
		}
		if a, err = s.Claim(t.Context(), stream); err != nil || string(a.Snapshot) != text {
			t.Errorf("a snapshot of %d bytes, %v", len(a.Snapshot), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBytesBound submits more bytes than may wait while nothing gets through.
func TestBytesBound(t *testing.T) {
	t.Parallel()
	s := openAt(t, Options{Dir: "data", FS: vfs.NewMem(), Log: quiet, MaxWaitingBytes: 10_000}).(*Store)
	defer s.Close()
	release, told := make(chan struct{}), make(chan error, 100)
	for n := range 100 {
		c := &persistence.Commit{Write: []persistence.Mutation{keptRows.Put(kept{N: uint64(n), Text: strings.Repeat("x", 1000)})}}
		s.Submit(c, func(_ persistence.Position, err error) { <-release; told <- err })
	}
	close(release)
	accepted := 0
	for range 100 {
		if err := <-told; err == nil {
			accepted++
		} else if !errors.Is(err, persistence.ErrOverloaded) {
			t.Error(err)
		}
	}
	if accepted < 5 || accepted > 10 {
		t.Errorf("%d commits of 1 kB were accepted; the bound is 10 kB", accepted)
	}
	fill(t, s, 200, 201)
}

func TestHeadCache(t *testing.T) {
	t.Parallel()
	var c headCache
	stream := func(n int) persistence.Stream { return persistence.Stream{Kind: "room", ID: fmt.Sprint(n)} }
	for n := range 5 * headCacheSize {
		c.put(map[persistence.Stream]head{stream(n): {epoch: 1, seq: uint64(n)}, stream(0): {epoch: 1, seq: uint64(n)}})
		if h, ok := c.get(stream(0)); !ok || h.seq != uint64(n) {
			t.Fatalf("after %d streams the first is at %v, %v", n, h, ok)
		}
		if len(c.newer) > headCacheSize || len(c.older) > headCacheSize {
			t.Fatalf("the cache has %d and %d heads", len(c.newer), len(c.older))
		}
	}
	if _, ok := c.get(stream(1)); ok {
		t.Error("the cache forgets nothing")
	}
}

// TestAcknowledgedSlots spoils one slot of the file after the other: the one that is left counts.
func TestAcknowledgedSlots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := createAcknowledged(vfs.Default, dir, 5); err != nil {
		t.Fatal(err)
	}
	a, err := openAcknowledged(vfs.Default, dir)
	if err != nil {
		t.Fatal(err)
	}
	for p := persistence.Position(6); p < 10; p++ {
		if err := a.note(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	want := func(want persistence.Position) {
		t.Helper()
		if p, err := readAcknowledged(vfs.Default, dir); p != want || err != nil {
			t.Errorf("position %d, %v; want %d", p, err, want)
		}
	}
	want(9)
	path := filepath.Join(dir, acknowledgedName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range []int{0, slotDistance} {
		edit(t, path, func([]byte) []byte { b := slices.Clone(whole); b[slot+10] ^= 1; return b })
		p, err := readAcknowledged(vfs.Default, dir)
		if err != nil || p != 8 && p != 9 {
			t.Errorf("without slot %d: %d, %v", slot, p, err)
		}
	}
	edit(t, path, func([]byte) []byte { return whole[:10] })
	if p, err := readAcknowledged(vfs.Default, dir); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("a file that is cut: %d, %v", p, err)
	}
}

// TestUnverifiedTable reads a damaged table that was too large to be verified when the store was opened.
func TestUnverifiedTable(t *testing.T) {
	t.Parallel()
	dir := abandoned(t)
	edit(t, newest(t, dir, ".sst"), func(b []byte) []byte { b[len(b)/4] ^= 1; return b })
	s, err := Open(Options{Dir: dir, Log: quiet, VerifyBytes: 1})
	if errors.Is(err, persistence.ErrCorrupt) {
		return // the block happened to hold something that opening reads
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if rows, err := keptRows.All(t.Context(), s, persistence.Range[kept]{}); !errors.Is(err, persistence.ErrCorrupt) {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}
