// Package actortest lets tests use rooms, users and syncs without HTTP: the actors, the hub, the reader and the syncer of one node,
// over the memory store or one that survives a restart.
package actortest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/matrixon/matrixon/actors/hub"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/room"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/actors/user/delayed"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/pebble"
)

// ServerName is the name of the server in a World.
const ServerName = "test"

// TB is what a World needs of a test, a benchmark or a property.
type TB interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// World is a server of one node with its users.
type World struct {
	T       TB
	Clock   *Clock
	Store   persistence.Store
	Node    *cluster.Node
	Reader  *reader.Reader
	Syncer  *syncer.Syncer
	Creator *room.Creator
	Key     signing.Key // the server's

	open func() (persistence.Store, error)
	log  *slog.Logger
}

// New starts a server over the memory store, which ends with the test.
func New(t TB) *World {
	t.Helper()
	return start(t, func() (persistence.Store, error) { return memory.New(memory.Options{}), nil })
}

// OnDisk starts a server over Pebble in an empty folder. It ends with the test, and can be restarted.
func OnDisk(t TB, dir string) *World {
	t.Helper()
	return start(t, func() (persistence.Store, error) {
		return pebble.Open(pebble.Options{Dir: dir, CacheBytes: 1 << 20, MemtableBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	})
}

func start(t TB, open func() (persistence.Store, error)) *World {
	t.Helper()
	w := &World{T: t, Clock: newClock(), open: open, log: slog.New(failures{t}), Key: signing.NewKey("a_test", make([]byte, 32))}
	w.begin()
	t.Cleanup(w.end)
	return w
}

func (w *World) begin() {
	w.T.Helper()
	store, err := w.open()
	if err != nil {
		w.T.Fatal(err)
	}
	w.Store = store
	w.Node = cluster.NewNode(cluster.Options{Name: "a", Logger: w.log, Clock: w.Clock})
	h := hub.New(w.Node)
	w.Store.Follow(h.Publish)
	w.read()
	for _, kind := range []cluster.Kind{
		{Name: cluster.KindRoom, Bound: 4096, New: room.New(room.Deps{
			Store: w.Store, Typing: h.Room, ServerName: ServerName, Key: w.Key, Now: w.Clock.Now})},
		{Name: cluster.KindUser, Bound: 4096, New: user.New(user.Deps{
			Store: w.Store, Hub: h, Now: w.Clock.Now, Log: w.log, Presence: true}, slices.Concat(account.Handlers(account.Options{}), keys.Handlers(), delayed.Handlers())...)},
	} {
		if err := w.Node.Register(kind); err != nil {
			w.T.Fatal(err)
		}
	}
	w.Creator = &room.Creator{Caller: w.Node, Store: w.Store, ServerName: ServerName, Key: w.Key, Now: w.Clock.Now, Random: &randomness{}}
}

// read makes the side that reads, with empty caches.
func (w *World) read() {
	w.T.Helper()
	w.Reader = reader.New(w.Store, w.Clock.Now, "")
	counter := unread.New(w.Store, "")
	w.Syncer = syncer.New(w.Node, w.Reader, counter, true, w.Clock.Now)
}

func (w *World) end() {
	if err := w.Node.Stop(context.Background()); err != nil {
		w.T.Errorf("stopping the node: %v", err)
	}
	if err := w.Store.Close(); err != nil {
		w.T.Errorf("closing the store: %v", err)
	}
}

// Restart ends the server and starts it again over what it had stored.
func (w *World) Restart() {
	w.T.Helper()
	w.end()
	w.begin()
}

// Passivate ends the activations of these users; the next question to them begins new ones, from the store.
func (w *World) Passivate(users ...string) {
	w.T.Helper()
	for _, u := range users {
		if err := w.Node.Deactivate(context.Background(), cluster.Identity{Kind: cluster.KindUser, ID: u}); err != nil {
			w.T.Fatal(err)
		}
	}
}

// Settle waits until everybody has been told of what was committed.
func (w *World) Settle() {
	w.T.Helper()
	if _, err := w.Store.CatchUp(context.Background()); err != nil {
		w.T.Fatal(err)
	}
}

// Write commits rows as if some actor had.
func (w *World) Write(rows ...persistence.Mutation) {
	w.T.Helper()
	if _, err := persistence.Await(context.Background(), w.Store, &persistence.Commit{Write: rows}); err != nil {
		w.T.Fatal(err)
	}
}

// randomness is a deterministic source of bytes that do not repeat.
type randomness struct {
	mu sync.Mutex
	n  uint64
}

// Read implements io.Reader.
func (r *randomness) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b {
		r.n++
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, r.n))
		b[i] = sum[0]
	}
	return len(b), nil
}

// failures makes what the server logs as an error a failure of the test.
type failures struct{ t TB }

// Enabled implements slog.Handler.
func (f failures) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements slog.Handler.
func (f failures) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	f.t.Errorf("the server logged an error: %s", text)
	return nil
}

// WithAttrs implements slog.Handler.
func (f failures) WithAttrs([]slog.Attr) slog.Handler { return f }

// WithGroup implements slog.Handler.
func (f failures) WithGroup(string) slog.Handler { return f }

// patience is how long something may take that takes no time.
const patience = 30 * time.Second
