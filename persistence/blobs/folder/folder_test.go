package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/persistence/blobs/blobstest"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blobstest.Run(t, open(t, dir), open(t, dir))
}

// TestAbandonedFilesGo: what a writer that died has left goes at a later start, what is being written stays.
func TestAbandonedFilesGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	old, young := filepath.Join(dir, Unfinished, "old"), filepath.Join(dir, Unfinished, "young")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(old, then, then); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List(t.Context()) {
		t.Errorf("listed: %+v, %v", info, err)
	}
	open(t, dir)
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the abandoned file: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the file that is being written: %v", err)
	}
}

func TestFilesAreForTheServerAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "media")
	s := open(t, dir)
	if err := s.Put(t.Context(), "abcdefgh", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "ab", "cd", "abcdefgh"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s: %v", path, info.Mode())
		}
	}
}
