// Package blobstest checks that a store keeps the contract of package blobs.
package blobstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/matrixon/matrixon/persistence/blobs"
)

// Run tests the store, which is empty. Peer gives the same objects as another node sees them.
func Run(t *testing.T, store, peer blobs.Store) {
	s := suite{store, peer}
	for name, test := range map[string]func(*testing.T){
		"round trip": s.roundTrip, "offsets": s.offsets, "absent": s.absent, "broken off": s.brokenOff, "names": s.names,
		"together": s.together, "given up": s.givenUp,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

type suite struct{ store, peer blobs.Store }

// Bytes makes n bytes that look random, the same for every seed.
func Bytes(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	r.Read(b) //nolint:errcheck // it has no errors
	return b
}

func put(t *testing.T, s blobs.Store, name string, content []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(content), int64(len(content))); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func read(t *testing.T, s blobs.Store, name string, offset int64) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), name, offset)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return content
}

func (s suite) roundTrip(t *testing.T) {
	for i, size := range []int{0, 1, 100, 256 << 10, 256<<10 + 1, 512 << 10, 3_000_001} {
		name, content := fmt.Sprintf("round%d.x_y-z", size), Bytes(size, uint64(i))
		before := time.Now().Add(-time.Minute)
		if i%2 == 0 {
			put(t, s.store, name, content)
		} else if err := s.store.Put(t.Context(), name, iotest.HalfReader(bytes.NewReader(content)), -1); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s.peer, name, 0); !bytes.Equal(got, content) {
			t.Fatalf("%d bytes came back as %d", size, len(got))
		}
		info, err := s.peer.Stat(t.Context(), name)
		if err != nil || info.Name != name || info.Size != int64(size) || info.Stored.Before(before) {
			t.Fatalf("stat: %+v, %v", info, err)
		}
		if !s.lists(t, name) {
			t.Fatalf("%s is not listed", name)
		}
		if err := s.peer.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		s.isAbsent(t, name)
	}
}

func (s suite) offsets(t *testing.T) {
	const size = 600_000
	content := Bytes(size, 7)
	put(t, s.store, "offsets1", content)
	for _, offset := range []int64{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, size - 1, size} {
		if got := read(t, s.peer, "offsets1", offset); !bytes.Equal(got, content[offset:]) {
			t.Errorf("from %d came %d bytes", offset, len(got))
		}
	}
	seeker := blobs.NewSeeker(t.Context(), s.peer, "offsets1", size)
	if err := iotest.TestReader(seeker, content); err != nil {
		t.Error(err)
	}
	if err := seeker.Close(); err != nil {
		t.Error(err)
	}
}

func (s suite) absent(t *testing.T) {
	s.isAbsent(t, "absent00")
	if err := s.store.Delete(t.Context(), "absent00"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
}

func (s suite) isAbsent(t *testing.T, name string) {
	t.Helper()
	if r, err := s.peer.Open(t.Context(), name, 0); !errors.Is(err, blobs.ErrNotFound) {
		if err == nil {
			r.Close()
		}
		t.Errorf("open %s: %v", name, err)
	}
	if _, err := s.peer.Stat(t.Context(), name); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("stat %s: %v", name, err)
	}
	if s.lists(t, name) {
		t.Errorf("%s is listed", name)
	}
}

func (s suite) lists(t *testing.T, name string) bool {
	t.Helper()
	found := 0
	for info, err := range s.peer.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Name == name && info.Size >= 0 {
			found++
		}
	}
	if found > 1 {
		t.Fatalf("%s is listed %d times", name, found)
	}
	return found == 1
}

var errBroken = errors.New("broken off")

func (s suite) brokenOff(t *testing.T) {
	content := Bytes(700_000, 3)
	for i, test := range []struct {
		r    io.Reader
		size int64
		want error
	}{
		{io.MultiReader(bytes.NewReader(content), iotest.ErrReader(errBroken)), -1, errBroken},
		{io.MultiReader(bytes.NewReader(content), iotest.ErrReader(errBroken)), 800_000, errBroken},
		{io.MultiReader(bytes.NewReader(content[:10]), iotest.ErrReader(io.ErrUnexpectedEOF)), -1, io.ErrUnexpectedEOF},
		{iotest.ErrReader(errBroken), -1, errBroken},
		{bytes.NewReader(content), 700_001, nil},
		{bytes.NewReader(content), 699_999, nil},
	} {
		name := fmt.Sprintf("broken%02d", i)
		err := s.store.Put(t.Context(), name, test.r, test.size)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("put %d: %v", i, err)
		}
		s.isAbsent(t, name)
	}
}

func (s suite) givenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(bytes.NewReader(Bytes(300_000, 1)), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	}))
	if err := s.store.Put(ctx, "givenup0", r, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	s.isAbsent(t, "givenup0")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (s suite) names(t *testing.T) {
	for _, name := range []string{"", "short", "../../../etc/passwd", "abcd/../x", "ABCDEFGH", "a.bcdefgh", "abcdefg\x00", strings.Repeat("a", 121)} {
		if err := s.store.Put(t.Context(), name, strings.NewReader("x"), 1); err == nil {
			t.Errorf("put %q", name)
		}
		if r, err := s.store.Open(t.Context(), name, 0); err == nil {
			r.Close()
			t.Errorf("open %q", name)
		}
		if _, err := s.store.Stat(t.Context(), name); err == nil {
			t.Errorf("stat %q", name)
		}
		if err := s.store.Delete(t.Context(), name); err == nil {
			t.Errorf("delete %q", name)
		}
	}
}

func (s suite) together(t *testing.T) {
	var wait sync.WaitGroup
	var names []string
	for i := range 16 {
		name := fmt.Sprintf("togeth%02d", i)
		names = append(names, name)
		wait.Add(1)
		go func() {
			defer wait.Done()
			content := Bytes(20_000+i, uint64(i))
			if err := s.store.Put(t.Context(), name, bytes.NewReader(content), -1); err != nil {
				t.Errorf("put %s: %v", name, err)
				return
			}
			r, err := s.peer.Open(t.Context(), name, 0)
			if err != nil {
				t.Errorf("open %s: %v", name, err)
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}()
	}
	wait.Wait()
	var listed []string
	for info, err := range s.peer.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(info.Name, "togeth") {
			listed = append(listed, info.Name)
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, names) {
		t.Errorf("listed: %v", listed)
	}
	for info, err := range s.peer.List(t.Context()) { // a reader may stop early
		if err != nil || info.Name == "" {
			t.Errorf("list: %v, %v", info, err)
		}
		break
	}
}
