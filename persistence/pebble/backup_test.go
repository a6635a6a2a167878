package pebble

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// A backup that is made while commits flow has all that was acknowledged before, and opens like the store itself.
func TestABackupHasWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(Options{Dir: filepath.Join(dir, "store"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	put := func(room string) persistence.Position {
		at, err := persistence.Await(t.Context(), s, &persistence.Commit{Write: []persistence.Mutation{schema.BlockedRooms.Put(schema.BlockedRoom{RoomID: room})}})
		if err != nil {
			t.Error(err)
		}
		return at
	}
	last := put("!before")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				put("!meanwhile")
			}
		}
	})
	target := filepath.Join(dir, "backup")
	position, err := s.Backup(target)
	close(stop)
	writing.Wait()
	if err != nil || position < last {
		t.Fatalf("position %d, %v", position, err)
	}
	put("!after")
	if _, err := s.Backup(target); err == nil {
		t.Error("a second backup into the same folder")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copied, err := Open(Options{Dir: target, VerifyBytes: -1, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]bool{"!before": true, "!after": false} {
		if _, is, err := schema.BlockedRooms.Get(t.Context(), copied, schema.BlockedRoom{RoomID: room}); err != nil || is != want {
			t.Errorf("%s is in the backup: %v %v", room, is, err)
		}
	}
	if copied.Position() < position {
		t.Errorf("it is at %d, not %d", copied.Position(), position)
	}
	if err := copied.Close(); err != nil {
		t.Error(err)
	}
}
