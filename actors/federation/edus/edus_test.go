package edus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/devicelists"
	"github.com/matrixon/matrixon/actors/federation/edus"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

const room = "!room:here"

// world is a server with the user alice, who shares a room with bob of the server remote.
type world struct {
	*testing.T
	store    persistence.Store
	receiver *edus.Receiver
	now      time.Time

	mu   sync.Mutex
	told []string // what rooms and users were told
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	w := &world{T: t, store: memory.New(memory.Options{}), now: time.UnixMilli(1_700_000_000_000)}
	w.store.Follow(func(_ persistence.Position, notices []proto.Message) {
		for _, n := range notices {
			w.note(n)
		}
	})
	t.Cleanup(func() { _ = w.store.Close() })
	clock := func() time.Time { return w.now }
	r := reader.New(w.store, clock, "")
	log := slog.New(slog.DiscardHandler)
	w.receiver = edus.New(edus.Deps{ServerName: "here", Store: w.store, Reader: r, Actors: w, Presence: true, Now: clock, Log: log,
		Devices: devicelists.New(devicelists.Options{ServerName: "here", Store: w.store, Caller: w, Leads: func() bool { return true }, Now: clock, Log: log})})
	w.write(
		schema.RoomServers.Put(schema.RoomServer{RoomID: room, Server: "here", Joined: 1, JoinedSeq: 1}),
		schema.RoomServers.Put(schema.RoomServer{RoomID: room, Server: "remote", Joined: 1, JoinedSeq: 2}),
		schema.RoomServers.Put(schema.RoomServer{RoomID: "!left:here", Server: "remote", JoinedSeq: 2, LeftSeq: 3}),
		schema.Memberships.Put(schema.Membership{UserID: "@bob:remote", RoomID: room, Membership: "join", JoinedSeq: 2, Seq: 2}),
		schema.Devices.Put(schema.Device{UserID: "@alice:here", DeviceID: "A"}), schema.Devices.Put(schema.Device{UserID: "@alice:here", DeviceID: "B"}))
	return w
}

func (w *world) write(rows ...persistence.Mutation) {
	w.Helper()
	if _, err := persistence.Await(w.Context(), w.store, &persistence.Commit{Write: rows}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) note(m proto.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch m := m.(type) {
	case *messages.SetTyping:
		w.told = append(w.told, fmt.Sprint("typing ", m.By.UserId, " ", m.Typing))
	case *messages.ReceiveReceipt:
		w.told = append(w.told, fmt.Sprint("receipt ", m.UserId, " ", m.EventId, " ", m.ThreadId, " ", m.Ts))
	case *messages.PresenceNotice:
		w.told = append(w.told, "presence "+m.UserId)
	case *messages.UserNotice:
		w.told = append(w.told, fmt.Sprint("inbox ", m.UserId, " ", len(m.ToDevice)))
	case *messages.DeviceListNotice:
		w.told = append(w.told, "devices "+m.UserId)
	}
}

func (w *world) Ask(context.Context, cluster.Identity, proto.Message) (proto.Message, error) {
	return nil, errors.ErrUnsupported
}
func (w *world) Tell(_ cluster.Identity, m proto.Message)        { w.note(m) }
func (w *world) TellActive(cluster.Identity, proto.Message) bool { return false }
func (w *world) Call(context.Context, federation.Request) (jsontext.Value, error) {
	return nil, federation.Unreachable(errors.New("nobody listens"))
}

func (w *world) Open(context.Context, federation.Request) (io.ReadCloser, string, error) {
	return nil, "", errors.ErrUnsupported
}

// receive takes an EDU and gives who was told what.
func (w *world) receive(origin, kind, content string) string {
	w.Helper()
	if err := w.receiver.Receive(w.Context(), origin, kind, []byte(content)); err != nil {
		w.Fatalf("%s %s: %v", kind, content, err)
	}
	if _, err := w.store.CatchUp(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	told := strings.Join(w.told, ", ")
	w.told = nil
	return told
}

func TestWhatServersTellOfTheirUsers(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ kind, content, told string }{
		{"m.typing", `{"room_id":"!room:here","user_id":"@bob:remote","typing":true}`, "typing @bob:remote true"},
		{"m.typing", `{"room_id":"!room:here","user_id":"@bob:remote","typing":false}`, "typing @bob:remote false"},
		{"m.receipt", `{"!room:here":{"m.read":{"@bob:remote":{"data":{"ts":1,"thread_id":"main"},"event_ids":["$a","$b"]}}}}`, "receipt @bob:remote $b main 1"},
		{"m.presence", `{"push":[{"user_id":"@bob:remote","presence":"online","currently_active":true}]}`, "presence @bob:remote"},
		{"m.device_list_update", `{"user_id":"@bob:remote","device_id":"X","stream_id":3,"prev_id":[2]}`, "devices @bob:remote"},
		{"m.direct_to_device", `{"sender":"@bob:remote","type":"t","message_id":"1","messages":{"@alice:here":{"A":{}}}}`, "inbox @alice:here 1"},
		{"m.direct_to_device", `{"sender":"@carol:remote","type":"t","message_id":"1","messages":{"@alice:here":{"*":{"n":1}}}}`, "inbox @alice:here 2"},
	} {
		if told := w.receive("remote", c.kind, c.content); told != c.told {
			t.Errorf("%s %s: told %q, not %q", c.kind, c.content, told, c.told)
		}
	}
}

// What is malformed, or tells of others than the server's own users, or of rooms that it is not in, changes nothing.
// HARD_PLACES.md 36: notes in the name of others.
func TestHostileEDUs(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ origin, kind, content string }{
		{"remote", "org.example.unknown", `{}`},
		{"remote", "", `{}`},
		{"remote", "m.typing", `[]`},
		{"remote", "m.typing", ``},
		{"remote", "m.typing", `{"room_id":5,"user_id":"@bob:remote","typing":true}`},
		{"remote", "m.typing", `{"room_id":"","user_id":"@bob:remote","typing":true}`},
		{"remote", "m.typing", `{"room_id":"!room:here","user_id":"@alice:here","typing":true}`},
		{"remote", "m.typing", `{"room_id":"!room:here","user_id":"@bob:remote:8448","typing":true}`},
		{"remote", "m.typing", `{"room_id":"!left:here","user_id":"@bob:remote","typing":true}`},
		{"remote", "m.typing", `{"room_id":"!none:here","user_id":"@bob:remote","typing":true}`},
		{"other", "m.typing", `{"room_id":"!room:here","user_id":"@bob:remote","typing":true}`},
		{"other", "m.typing", `{"room_id":"!room:here","user_id":"@eve:other","typing":true}`},
		{"remote", "m.receipt", `{"!room:here":{"m.read":{"@alice:here":{"data":{},"event_ids":["$a"]}}}}`},
		{"remote", "m.receipt", `{"!room:here":{"m.read.private":{"@bob:remote":{"data":{},"event_ids":["$a"]}}}}`},
		{"remote", "m.receipt", `{"!room:here":{"m.read":{"@bob:remote":{"data":{},"event_ids":[]}}}}`},
		{"remote", "m.receipt", `{"!left:here":{"m.read":{"@bob:remote":{"data":{},"event_ids":["$a"]}}}}`},
		{"remote", "m.receipt", `{"!room:here":{"m.read":{"@bob:remote":null}}}`},
		{"remote", "m.presence", `{"push":[{"user_id":"@alice:here","presence":"online"},{"user_id":"@nobody:remote","presence":"online"},{"user_id":"@bob:remote","presence":"away"}]}`},
		{"remote", "m.presence", `{"push":{}}`},
		{"remote", "m.direct_to_device", `{"sender":"@alice:here","type":"t","message_id":"9","messages":{"@alice:here":{"A":{}}}}`},
		{"remote", "m.direct_to_device", `{"sender":"@bob:remote","type":"t","message_id":"","messages":{"@alice:here":{"A":{}}}}`},
		{"remote", "m.direct_to_device", `{"sender":"@bob:remote","type":"","message_id":"9","messages":{"@alice:here":{"A":{}}}}`},
		{"remote", "m.direct_to_device", `{"sender":"@bob:remote","type":"t","message_id":"9","messages":{"@alice:here":{"A":[],"NONE":{}},"@x:other":{"A":{}}}}`},
		{"remote", "m.direct_to_device", `{"sender":"@bob:remote","type":"t","message_id":"` + strings.Repeat("x", 300) + `","messages":{"@alice:here":{"A":{}}}}`},
		{"remote", "m.device_list_update", `{"user_id":"@alice:here","device_id":"A","stream_id":3}`},
		{"remote", "m.device_list_update", `{"user_id":"@nobody:remote","device_id":"A","stream_id":3}`},
		{"remote", "m.device_list_update", `{"user_id":"@bob:remote","device_id":"A","stream_id":"3"}`},
		{"remote", "m.signing_key_update", `{"user_id":"@alice:here","master_key":{}}`},
		{"remote", "m.typing", `{"x":"` + strings.Repeat("x", 3<<20) + `","room_id":"!room:here","user_id":"@bob:remote","typing":true}`},
	} {
		if told := w.receive(c.origin, c.kind, c.content); told != "" {
			t.Errorf("%s of %s %.200s: told %q", c.kind, c.origin, c.content, told)
		}
	}
}

func TestRoomsKeepServersOut(t *testing.T) {
	w := newWorld(t)
	w.write(
		schema.Events.Put(schema.Event{RoomID: room, Seq: 9, EventID: "$acl", Type: "m.room.server_acl", StateKey: new(string), JSON: []byte(`{"content":{"allow":["*"],"deny":["rem*"]}}`)}),
		schema.CurrentStates.Put(schema.CurrentState{RoomID: room, Type: "m.room.server_acl", EventID: "$acl", Seq: 9}))
	for kind, content := range map[string]string{
		"m.typing":  `{"room_id":"!room:here","user_id":"@bob:remote","typing":true}`,
		"m.receipt": `{"!room:here":{"m.read":{"@bob:remote":{"data":{},"event_ids":["$a"]}}}}`,
	} {
		if told := w.receive("remote", kind, content); told != "" {
			t.Errorf("%s: told %q", kind, told)
		}
	}
}

// A message comes once, however often it is sent, today and tomorrow.
func TestMessagesToDevicesComeOnce(t *testing.T) {
	w := newWorld(t)
	message := `{"sender":"@bob:remote","type":"t","message_id":"once","messages":{"@alice:here":{"A":{"n":1}}}}`
	for i, want := range []string{"inbox @alice:here 1", "", ""} {
		if told := w.receive("remote", "m.direct_to_device", message); told != want {
			t.Errorf("time %d: told %q", i+1, told)
		}
		w.now = w.now.Add(12 * time.Hour)
	}
	rows, err := schema.ToDevices.All(t.Context(), w.store, persistence.Range[schema.ToDevice]{})
	if err != nil || len(rows) != 1 || rows[0].Sender != "@bob:remote" || string(rows[0].Content) != `{"n":1}` {
		t.Fatalf("%v %v", rows, err)
	}
}
