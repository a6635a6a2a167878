package room

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	alice = "@alice:test"
	bob   = "@bob:test"
	carol = "@carol:test"
)

// notices records what the hub would hear.
type notices struct {
	mu    sync.Mutex
	rooms []*messages.RoomNotice
	users []*messages.UserNotice
	heard chan struct{}
}

func (n *notices) Room(r *messages.RoomNotice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rooms = append(n.rooms, r)
	select {
	case n.heard <- struct{}{}:
	default:
	}
}

// hear is the store's follower.
func (n *notices) hear(pos persistence.Position, all []proto.Message) {
	for _, m := range all {
		switch m := m.(type) {
		case *messages.RoomNotice:
			m.Pos = uint64(pos)
			n.Room(m)
		case *messages.UserNotice:
			n.mu.Lock()
			n.users = append(n.users, m)
			n.mu.Unlock()
		}
	}
}

func (n *notices) all() []*messages.RoomNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*messages.RoomNotice(nil), n.rooms...)
}

// await waits until a notice satisfies the condition.
func (n *notices) await(t *testing.T, want func(*messages.RoomNotice) bool) *messages.RoomNotice {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		for _, r := range n.all() {
			if want(r) {
				return r
			}
		}
		select {
		case <-n.heard:
		case <-deadline:
			t.Fatal("the notice did not come")
		}
	}
}

// server is one node with rooms over a store.
type server struct {
	t       testing.TB
	store   persistence.Store
	node    *cluster.Node
	notices *notices
	creator *Creator
	key     signing.Key
}

// stream is a deterministic source of random-looking bytes.
type stream struct{ n uint64 }

func (s *stream) Read(b []byte) (int, error) {
	for i := range b {
		s.n++
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, s.n))
		b[i] = sum[0]
	}
	return len(b), nil
}

func newServer(t testing.TB, store persistence.Store, change ...func(*Deps)) *server {
	t.Helper()
	s := &server{t: t, store: store, notices: &notices{heard: make(chan struct{}, 1)}, key: signing.NewKey("test", make([]byte, 32))}
	store.Follow(s.notices.hear)
	s.node = cluster.NewNode(cluster.Options{Name: "a", Logger: slog.New(slog.DiscardHandler)})
	deps := Deps{Store: store, Typing: s.notices.Room, ServerName: "test", Key: s.key, Now: time.Now}
	for _, f := range change {
		f(&deps)
	}
	err := s.node.Register(cluster.Kind{Name: cluster.KindRoom, New: New(deps), Bound: 4096, IdleAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.creator = &Creator{Caller: s.node, Store: store, ServerName: "test", Key: s.key, Now: deps.Now, Random: &stream{}}
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	if err := s.node.Stop(context.Background()); err != nil {
		s.t.Error(err)
	}
}

func newMemory(t testing.TB) persistence.Store {
	store := memory.New(memory.Options{})
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func (s *server) create(by, body string) string {
	s.t.Helper()
	id, err := s.tryCreate(by, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *server) tryCreate(by, body string) (string, error) {
	s.t.Helper()
	var req room.CreateRequest
	if err := json.Unmarshal([]byte(body), &req); err != nil {
		s.t.Fatal(err)
	}
	return s.creator.Create(context.Background(), &messages.Requester{UserId: by, DeviceId: "DEV"}, req)
}

func (s *server) ask(roomID string, m proto.Message) (proto.Message, error) {
	return s.node.Ask(context.Background(), cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, m)
}

func (s *server) must(roomID string, m proto.Message) *messages.EventSent {
	s.t.Helper()
	answer, err := s.ask(roomID, m)
	if err != nil {
		s.t.Fatalf("%v: %v", m, err)
	}
	sent, _ := answer.(*messages.EventSent)
	return sent
}

// refused asks and wants the refusal.
func (s *server) refused(roomID string, m proto.Message, status int, code string) *mxerr.Error {
	s.t.Helper()
	answer, err := s.ask(roomID, m)
	var e *mxerr.Error
	if !errors.As(err, &e) {
		s.t.Fatalf("%v: answered %v, want %d %s", m, answer, status, code)
	}
	if e.Status != status || e.Code != code {
		s.t.Fatalf("%v: refused with %d %s (%s), want %d %s", m, e.Status, e.Code, e.Message, status, code)
	}
	return e
}

func by(user string) *messages.Requester { return &messages.Requester{UserId: user, DeviceId: "DEV"} }

func text(user, body, txn string) *messages.SendEvent {
	content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	if err != nil {
		panic(err)
	}
	return &messages.SendEvent{By: by(user), TxnId: txn, Event: &messages.Proposal{Type: "m.room.message", Sender: user, Content: content}}
}

func change(user string, action messages.ChangeMembership_Action, target string) *messages.ChangeMembership {
	return &messages.ChangeMembership{By: by(user), Action: action, Target: target}
}

func (s *server) membership(user, roomID string) schema.Membership {
	s.t.Helper()
	row, _, err := schema.Memberships.Get(context.Background(), s.store, schema.Membership{UserID: user, RoomID: roomID})
	if err != nil {
		s.t.Fatal(err)
	}
	return row
}

func (s *server) journal(roomID string) []schema.Event {
	s.t.Helper()
	rows, err := schema.Events.All(context.Background(), s.store, persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: roomID}, Keys: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

func (s *server) summary(roomID string) schema.Room {
	s.t.Helper()
	row, _, err := schema.Rooms.Get(context.Background(), s.store, schema.Room{RoomID: roomID})
	if err != nil {
		s.t.Fatal(err)
	}
	return row
}
