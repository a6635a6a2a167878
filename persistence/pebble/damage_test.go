package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/persistence"
)

// kept is a table for the tests of damage.
type kept struct {
	N    uint64 `col:"n,key"`
	Text string `col:"text"`
}

var keptRows = persistence.NewTable[kept]("pebbletest_kept")

// fill commits rows from..to-1, one by one, each of about 1 kB.
func fill(t testing.TB, s *Store, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		c := &persistence.Commit{Write: []persistence.Mutation{keptRows.Put(kept{N: uint64(n), Text: strings.Repeat(fmt.Sprint(n, " "), 200)})}}
		if _, err := persistence.Await(t.Context(), s, c); err != nil {
			t.Fatal(err)
		}
	}
}

// keptNumbers reads which rows are there.
func keptNumbers(t testing.TB, s *Store) []int {
	t.Helper()
	var numbers []int
	for row, err := range keptRows.Scan(t.Context(), s, persistence.Range[kept]{}) {
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, int(row.N))
	}
	return numbers
}

func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// abandoned makes a folder with rows 0 to 49 in a table file and 50 to 99 in the write-ahead log, as a killed process
// leaves it: a copy of the files while the store is open.
func abandoned(t *testing.T) string {
	t.Helper()
	live := t.TempDir()
	s := openAt(t, Options{Dir: live, Log: quiet}).(*Store)
	defer s.Close()
	fill(t, s, 0, 50)
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 50, 100)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newest gives the newest file with the suffix.
func newest(t testing.TB, dir, suffix string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "0*"+suffix))
	if err != nil || len(names) == 0 {
		t.Fatalf("no file *%s: %v", suffix, err)
	}
	return slices.Max(names)
}

// edit changes a file.
func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents maps the names of files to what is in them.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// journal is what was logged; Pebble also logs in the background.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *journal) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *journal) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// logged is a logger and what it wrote.
func logged() (*slog.Logger, *journal) {
	r := &journal{}
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelWarn})), r
}

func TestUndamaged(t *testing.T) {
	t.Parallel()
	dir := abandoned(t)
	log, said := logged()
	for round := range 3 {
		s := openAt(t, Options{Dir: dir, Log: log}).(*Store)
		if got := keptNumbers(t, s); !slices.Equal(got, upTo(100+round)) {
			t.Errorf("round %d: rows %v", round, got)
		}
		fill(t, s, 100+round, 101+round)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if text := said.String(); text != "" {
		t.Errorf("a sound store complained:\n%s", text)
	}
}

// TestTornTail leaves a part of a record that was never acknowledged at the end of the log.
func TestTornTail(t *testing.T) {
	t.Parallel()
	for _, drop := range []int{1, 300, 600, 650} {
		t.Run(fmt.Sprint(drop), func(t *testing.T) {
			t.Parallel()
			live := t.TempDir()
			s := openAt(t, Options{Dir: live, Log: quiet}).(*Store)
			defer s.Close()
			fill(t, s, 0, 20)
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(live)); err != nil {
				t.Fatal(err)
			}
			// What the log has in addition after one more commit is that commit's record; the rest of the folder does
			// not know of it.
			before, err := os.ReadFile(newest(t, live, ".log"))
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s, 20, 21)
			after, err := os.ReadFile(newest(t, live, ".log"))
			if err != nil {
				t.Fatal(err)
			}
			if len(after)-len(before) <= drop {
				t.Fatalf("the record has only %d bytes", len(after)-len(before))
			}
			edit(t, newest(t, dir, ".log"), func([]byte) []byte { return after[:len(after)-drop] })

			log, said := logged()
			again := openAt(t, Options{Dir: dir, Log: log}).(*Store)
			defer again.Close()
			if got := keptNumbers(t, again); !slices.Equal(got, upTo(20)) {
				t.Errorf("rows %v", got)
			}
			want := fmt.Sprintf("offset=%d bytes=%d", len(before), len(after)-drop-len(before))
			if !strings.Contains(said.String(), "torn") || !strings.Contains(said.String(), ".log") || !strings.Contains(said.String(), want) {
				t.Errorf("the report lacks %q:\n%s", want, said)
			}
			fill(t, again, 20, 30)
		})
	}
}

// TestDamage damages acknowledged data in every way: the store must refuse and change nothing; and when loss is
// accepted, open with the rest, say so, and work.
func TestDamage(t *testing.T) {
	t.Parallel()
	flip := func(at func(int) int) func([]byte) []byte {
		return func(b []byte) []byte { b[at(len(b))] ^= 0x40; return b }
	}
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		says   string // what the error must name
		fatal  bool   // no option overcomes it
		rest   func([]int) bool
	}{
		{"log cut in the middle", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), func(b []byte) []byte { return b[:len(b)/2] })
		}, "position", false, isStart(50, 99)},
		{"log cut by one byte", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), func(b []byte) []byte { return b[:len(b)-1] })
		}, "position", false, isStart(99, 99)},
		{"log emptied", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), func([]byte) []byte { return nil })
		}, "position", false, isStart(50, 50)},
		{"log removed", func(t *testing.T, dir string) {
			if err := os.Remove(newest(t, dir, ".log")); err != nil {
				t.Fatal(err)
			}
		}, "position", false, isStart(50, 50)},
		{"bit in the middle of the log", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), flip(func(n int) int { return n / 2 }))
		}, ".log", false, isStart(50, 99)},
		{"bit in the first record of the log", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), flip(func(int) int { return 30 }))
		}, ".log", false, isStart(50, 50)},
		{"bit in the last record of the log", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), flip(func(n int) int { return n - 10 }))
		}, ".log cannot be read after offset", false, isStart(99, 99)},
		{"zeros in the log", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".log"), func(b []byte) []byte { clear(b[len(b)/3 : len(b)/2]); return b })
		}, ".log", false, isStart(50, 99)},
		{"table removed", func(t *testing.T, dir string) {
			if err := os.Remove(newest(t, dir, ".sst")); err != nil {
				t.Fatal(err)
			}
		}, ".sst", false, nil},
		{"table cut", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".sst"), func(b []byte) []byte { return b[:len(b)-100] })
		}, ".sst", false, nil},
		{"bit in a table", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".sst"), flip(func(int) int { return 100 }))
		}, ".sst", false, nil},
		{"bit in the footer of a table", func(t *testing.T, dir string) {
			edit(t, newest(t, dir, ".sst"), flip(func(n int) int { return n - 3 }))
		}, ".sst", false, nil},
		{"acknowledged file removed", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, acknowledgedName)); err != nil {
				t.Fatal(err)
			}
		}, acknowledgedName, false, isStart(100, 100)},
		{"acknowledged file spoiled", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, acknowledgedName), func(b []byte) []byte { clear(b); return b })
		}, acknowledgedName, false, isStart(100, 100)},
		{"manifest marker removed", func(t *testing.T, dir string) {
			markers, err := filepath.Glob(filepath.Join(dir, "marker.manifest.*"))
			if err != nil || len(markers) != 1 {
				t.Fatalf("markers: %v, %v", markers, err)
			}
			if err := os.Remove(markers[0]); err != nil {
				t.Fatal(err)
			}
		}, "manifest", true, nil},
		{"manifest spoiled", func(t *testing.T, dir string) {
			manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			if err != nil || len(manifests) == 0 {
				t.Fatalf("manifests: %v, %v", manifests, err)
			}
			edit(t, slices.Max(manifests), flip(func(int) int { return 20 }))
		}, "cannot be opened", true, nil},
		{"everything but the acknowledged file removed", func(t *testing.T, dir string) {
			for name := range contents(t, dir) {
				if name != acknowledgedName {
					if err := os.Remove(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, "everything is missing", false, isStart(0, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := abandoned(t)
			test.damage(t, dir)
			before := contents(t, dir)
			s, err := Open(Options{Dir: dir, Log: quiet})
			if err == nil {
				rows := keptNumbers(t, s)
				t.Fatalf("the store opened, with the rows %v; close: %v", rows, s.Close())
			}
			if !errors.Is(err, persistence.ErrCorrupt) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not explain %q: %v", test.says, err)
			}
			after := contents(t, dir)
			for name, content := range before {
				if after[name] != content {
					t.Errorf("the refusal changed the file %s", name)
				}
			}

			log, said := logged()
			s, err = Open(Options{Dir: dir, Log: log, AcceptLoss: true})
			if test.fatal {
				if err == nil {
					t.Fatalf("the store opened; close: %v", s.Close())
				}
				return
			}
			if err != nil {
				t.Fatalf("with the loss accepted: %v", err)
			}
			if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), test.says) {
				t.Errorf("the loss was not logged:\n%s", said)
			}
			if rows := keptNumbers(t, s); test.rest != nil && !test.rest(rows) {
				t.Errorf("the rows that are left: %v", rows)
			}
			if acknowledged := test.name != "acknowledged file removed" && test.name != "acknowledged file spoiled"; acknowledged && s.Position() < 100 {
				t.Errorf("the position went back to %d", s.Position())
			}
			fill(t, s, 200, 210)
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			s = openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
			defer s.Close()
			if rows := keptNumbers(t, s); len(rows) < 10 || rows[len(rows)-1] != 209 {
				t.Errorf("rows that were written afterwards: %v", rows)
			}
		})
	}
}

// isStart says that exactly the rows 0 to n-1 must be there, n being between least and most.
func isStart(least, most int) func([]int) bool {
	return func(rows []int) bool {
		return len(rows) >= least && len(rows) <= most && slices.Equal(rows, upTo(len(rows)))
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
	defer s.Close()
	if _, err := Open(Options{Dir: dir, Log: quiet}); err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v", err)
	}
	fill(t, s, 0, 1)
}
