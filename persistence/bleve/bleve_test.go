package bleve

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/storetest"
)

func openAt(t testing.TB, dir string) persistence.Searcher {
	t.Helper()
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestFolder(t *testing.T) {
	t.Parallel()
	storetest.RunSearch(t, true, func(t *testing.T) (persistence.Searcher, func() persistence.Searcher) {
		dir := filepath.Join(t.TempDir(), "search")
		return openAt(t, dir), func() persistence.Searcher { return openAt(t, dir) }
	})
}

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.RunSearch(t, false, func(t *testing.T) (persistence.Searcher, func() persistence.Searcher) {
		s, err := Memory()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s, nil
	})
}

// A damaged index does not keep the server from starting: it is made anew, and says so.
func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "search")
	s := openAt(t, dir)
	if err := s.MarkComplete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index_meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if complete, err := openAt(t, dir).Complete(t.Context()); err != nil || complete {
		t.Errorf("%v %v", complete, err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	storetest.BenchmarkUpdate(b, openAt(b, filepath.Join(b.TempDir(), "search")))
}

func BenchmarkSearch(b *testing.B) {
	storetest.BenchmarkSearch(b, openAt(b, filepath.Join(b.TempDir(), "search")))
}
