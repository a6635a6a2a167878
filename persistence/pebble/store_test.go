package pebble

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/storetest"
)

// spoil overwrites a row beside the committer and lets readers see it.
func spoil(t testing.TB, s persistence.Store, schema *persistence.Schema, row any) {
	store := s.(*Store)
	key := schema.EncodeKey(append([]byte{}, store.tables[schema]...), row, nil)
	if err := store.db.Set(key, []byte{0xff}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	store.setView(newView(store.db))
}

func openAt(t testing.TB, o Options) persistence.Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

// TestFiles runs the contract on the real file system.
func TestFiles(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		dir := t.TempDir()
		return storetest.Backend{
			Open: func(t testing.TB, o storetest.Options) persistence.Store {
				return openAt(t, Options{Dir: dir, MaxWaiting: o.MaxWaiting, Log: quiet})
			},
			Persistent: true,
			Spoil:      spoil,
		}
	})
}

// TestFaults runs the contract on a file system in memory that fails when told to, and at a crash forgets all, none or
// a random half of what was not synced.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, kept := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("%d%% of unsynced data kept", kept), func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(*testing.T) storetest.Backend { return faulty(kept) })
		})
	}
}

func faulty(kept int) storetest.Backend {
	disk := vfs.NewCrashableMem()
	fail := &errorfs.Toggle{Injector: errorfs.ErrInjected.If(errorfs.Writes)}
	random := rand.New(rand.NewPCG(1, uint64(kept)))
	return storetest.Backend{
		Open: func(t testing.TB, o storetest.Options) persistence.Store {
			fail.Off()
			return openAt(t, Options{Dir: "data", FS: errorfs.Wrap(disk, fail), MaxWaiting: o.MaxWaiting, Log: quiet})
		},
		Persistent: true,
		Crash: func(testing.TB) {
			disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: random})
		},
		Break: func(testing.TB) { fail.On() },
		Spoil: spoil,
	}
}
