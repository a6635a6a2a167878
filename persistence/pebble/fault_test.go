package pebble

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/matrixon/matrixon/persistence"
)

// failing is a disk in memory on which, once armed, an operation fails with the error.
func failing(op errorfs.OpKind, pattern string) (vfs.FS, *errorfs.Toggle) {
	toggle := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(o errorfs.Op) error {
		if match, err := filepath.Match(pattern, filepath.Base(o.Path)); o.Kind != op || err != nil || !match {
			return nil
		}
		return errorfs.ErrInjected
	})}
	return errorfs.Wrap(vfs.NewCrashableMem(), toggle), toggle
}

// TestFailures lets single operations of the disk fail: what waits must get an error, and although the disk works again
// at once, the store must not.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		op      errorfs.OpKind
		pattern string
	}{
		{"write of the log", errorfs.OpFileWrite, "*.log"},
		{"sync of the log", errorfs.OpFileSyncData, "*.log"},
		{"write of the acknowledged file", errorfs.OpFileWriteAt, acknowledgedName},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			disk, fail := failing(test.op, test.pattern)
			s := openAt(t, Options{Dir: "data", FS: disk, Log: quiet}).(*Store)
			fill(t, s, 0, 10)
			fail.On()
			_, err := persistence.Await(t.Context(), s, &persistence.Commit{Write: []persistence.Mutation{keptRows.Put(kept{N: 10})}})
			if err == nil {
				t.Fatal("a commit was acknowledged although the disk failed")
			}
			fail.Off()
			if _, err := persistence.Await(t.Context(), s, &persistence.Commit{}); err == nil || !strings.Contains(err.Error(), "has failed") {
				t.Errorf("a commit afterwards: %v", err)
			}
			if _, err := s.Claim(t.Context(), persistence.Stream{Kind: "room"}); err == nil || !strings.Contains(err.Error(), "has failed") {
				t.Errorf("a claim afterwards: %v", err)
			}
			if _, err := keptRows.All(t.Context(), s, persistence.Range[kept]{}); err == nil || !strings.Contains(err.Error(), "has failed") {
				t.Errorf("a scan afterwards: %v", err)
			}
			if p := s.Position(); p != 10 {
				t.Errorf("the position is %d", p)
			}
			if err := s.Close(); err == nil {
				t.Error("closing a failed store gave no error")
			}
		})
	}
}

// TestBackgroundFailure lets Pebble fail beside the committer: commits must hear of it. It runs in a process of its own,
// because a Pebble that has failed so cannot be closed.
func TestBackgroundFailure(t *testing.T) {
	t.Parallel()
	if os.Getenv(inChild) == "" {
		if out, err := child("TestBackgroundFailure", "yes").CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	disk, fail := failing(errorfs.OpFileSync, "MANIFEST-*")
	s := openAt(t, Options{Dir: "data", FS: disk, Log: quiet}).(*Store)
	fill(t, s, 0, 10)
	fail.On()
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		// The flush ends in a fatal error; whether it returns is Pebble's affair.
		_, _ = s.db.AsyncFlush()
	}()
	<-flushed
	select {
	case <-s.failed:
	case <-time.After(30 * time.Second):
		t.Fatal("the store did not notice")
	}
	if _, err := persistence.Await(t.Context(), s, &persistence.Commit{}); err == nil || !strings.Contains(err.Error(), "MANIFEST") {
		t.Errorf("a commit afterwards: %v", err)
	}
	if err := s.Close(); err == nil {
		t.Error("closing a failed store gave no error")
	}
}

// TestHangingDisk fails the store while a commit hangs in the disk: it and those behind it must be told at once.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	hang, hanging := make(chan struct{}), make(chan struct{}, 100)
	toggle := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind == errorfs.OpFileSyncData && strings.HasSuffix(o.Path, ".log") {
			hanging <- struct{}{}
			<-hang
		}
		return nil
	})}
	s := openAt(t, Options{Dir: "data", FS: errorfs.Wrap(vfs.NewCrashableMem(), toggle), Log: quiet}).(*Store)
	fill(t, s, 0, 1)
	toggle.On()
	told := make(chan error, 2)
	for n := range 2 {
		s.Submit(&persistence.Commit{Write: []persistence.Mutation{keptRows.Put(kept{N: uint64(n + 1)})}},
			func(_ persistence.Position, err error) { told <- err })
		if n == 0 {
			<-hanging
		}
	}
	if rows := keptNumbers(t, s); len(rows) != 1 {
		t.Errorf("rows that are not on the disk are visible: %v", rows)
	}
	cause := errors.New("given up")
	s.fail(cause)
	for range 2 {
		if err := <-told; !errors.Is(err, cause) {
			t.Errorf("told %v", err)
		}
	}
	close(hang)
	if err := s.Close(); !errors.Is(err, cause) {
		t.Errorf("close: %v", err)
	}
	if len(told) != 0 {
		t.Errorf("told once more: %v", <-told)
	}
}

// TestChangedColumns opens data whose tables had other columns: only columns added at the end are no error.
func TestChangedColumns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
	stored, err := storedTables(s.db)
	if err != nil {
		t.Fatal(err)
	}
	columns := stored["pebbletest_kept"]
	if fmt.Sprint(columns) != "[n uint64 key text string]" {
		t.Fatalf("recorded columns: %q", columns)
	}
	record := func(columns ...string) {
		if err := s.db.Set(tableKey("pebbletest_kept"), encodeColumns(columns), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range [][]string{
		{"n uint64 key", "text string", "more string"},
		{"n uint64 key", "other string"},
		{"n int64 key", "text string"},
		{"n uint64"},
		{"n uint64 key", "text string key"},
	} {
		record(other...)
		if _, err := Open(Options{Dir: dir, Log: quiet}); err == nil || !strings.Contains(err.Error(), "pebbletest_kept") {
			t.Fatalf("opened with %q recorded: %v", other, err)
		}
		// Repair it beside the store, to go on.
		db, err := pebble.Open(dir, &pebble.Options{Logger: &logger{log: quiet}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Set(tableKey("pebbletest_kept"), encodeColumns(columns), pebble.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
	}
	record("n uint64 key") // as if text had been added since
	s = openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
	fill(t, s, 0, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKilled kills a writing process (this test's own program) at some moment, several times in one folder.
func TestKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(inChild); dir != "" {
		writeUntilKilled(t, dir)
	}
	dir := t.TempDir()
	told := 0 // rows 0 to told-1 were acknowledged
	for round := range 4 {
		cmd := child("TestKilled", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		began := told
		for told < began+50 {
			var n int
			switch _, err := fmt.Fscanf(out, "row %d\n", &n); {
			case err == nil:
				told = n + 1
			case err.Error() == "EOF" || errors.Is(err, os.ErrClosed):
				t.Fatalf("round %d: the writer ended after %d rows", round, told)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, so it gives an error
		s := openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
		rows := keptNumbers(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(rows) < told || rows[len(rows)-1] != len(rows)-1 {
			t.Fatalf("round %d: %d rows were acknowledged; there are %v", round, told, rows)
		}
		told = len(rows)
	}
}

// writeUntilKilled is what the process does that TestKilled kills.
func writeUntilKilled(t *testing.T, dir string) {
	s := openAt(t, Options{Dir: dir, Log: quiet}).(*Store)
	for n := len(keptNumbers(t, s)); ; n++ {
		fill(t, s, n, n+1)
		fmt.Printf("row %d\n", n)
	}
}

// TestFailureWhileOpening lets Pebble meet a fatal error before there is a store: it must be an error of Open.
func TestFailureWhileOpening(t *testing.T) {
	t.Parallel()
	for _, op := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpCreate, errorfs.OpRename} {
		disk, fail := failing(op, "*")
		fail.On()
		if _, err := Open(Options{Dir: "data", FS: disk, Log: quiet}); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("operation %v: %v", op, err)
		}
	}
	disk, fail := failing(errorfs.OpFileSync, "MANIFEST-*")
	fail.On()
	if _, err := Open(Options{Dir: "data", FS: disk, Log: quiet}); err == nil || !strings.Contains(err.Error(), "MANIFEST sync failed") {
		t.Errorf("manifest: %v", err)
	}
	fail.Off()
	s := openAt(t, Options{Dir: "data", FS: disk, Log: quiet}).(*Store)
	defer s.Close()
	fill(t, s, 0, 1)
}
