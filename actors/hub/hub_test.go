package hub

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ears hear what users are told.
type ears struct {
	cluster.Caller
	mu    sync.Mutex
	heard map[string][]proto.Message
}

func (e *ears) TellActive(to cluster.Identity, m proto.Message) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard == nil {
		e.heard = map[string][]proto.Message{}
	}
	e.heard[to.ID] = append(e.heard[to.ID], m)
	return true
}

// take is who heard something since the last call, each as often as it did.
func (e *ears) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var who []string
	for u, heard := range e.heard {
		for range heard {
			who = append(who, u)
		}
	}
	clear(e.heard)
	slices.Sort(who)
	return who
}

func member(userID, membership string) *messages.RoomEvent {
	return &messages.RoomEvent{Type: "m.room.member", StateKey: &userID, Membership: membership}
}

func notice(room string, events ...*messages.RoomEvent) *messages.RoomNotice {
	return &messages.RoomNotice{RoomId: room, Events: events}
}

func want(t *testing.T, e *ears, users ...string) {
	t.Helper()
	if got := e.take(); !slices.Equal(got, users) {
		t.Fatalf("told %v, want %v", got, users)
	}
}

func TestARoomTellsItsActiveUsers(t *testing.T) {
	t.Parallel()
	e := &ears{}
	h := New(e)
	h.Enter("@a", []string{"!1", "!2"})
	h.Enter("@b", []string{"!1"})
	h.Room(notice("!1"))
	want(t, e, "@a", "@b")
	h.Room(notice("!2"))
	want(t, e, "@a")
	h.Room(notice("!3"))
	want(t, e)
	h.Leave("@a")
	h.Leave("@a")
	h.Room(notice("!1"))
	want(t, e, "@b")
}

func TestMembershipsChangeTheIndex(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"leave", "ban", "invite", "knock"} {
		e := &ears{}
		h := New(e)
		h.Enter("@a", nil)
		h.Room(notice("!1", member("@a", "join"), member("@asleep", "join")))
		want(t, e, "@a")
		h.Room(notice("!1"))
		want(t, e, "@a")
		h.Room(notice("!1", member("@a", gone)))
		want(t, e, "@a")
		h.Room(notice("!1"))
		want(t, e)
		h.Room(notice("!1", member("@a", gone))) // it is told whatever the index says
		want(t, e, "@a")
	}
}

func TestRefusedMembershipsChangeNothing(t *testing.T) {
	t.Parallel()
	e := &ears{}
	h := New(e)
	h.Enter("@a", []string{"!1"})
	refused := member("@a", "leave")
	refused.Status = schema.Accepted + 1
	h.Room(notice("!1", refused))
	want(t, e, "@a")
	h.Room(notice("!1"))
	want(t, e, "@a")
}

func TestARoomLeftWhileEnteringStaysLeft(t *testing.T) {
	t.Parallel()
	e := &ears{}
	h := New(e)
	h.Enter("@a", nil)
	h.Room(notice("!left", member("@a", "leave")))
	h.Room(notice("!back", member("@a", "leave")))
	h.Room(notice("!back", member("@a", "join")))
	want(t, e, "@a", "@a", "@a")
	h.Enter("@a", []string{"!left", "!back", "!old"}) // read before it left
	for room, told := range map[string][]string{"!left": nil, "!back": {"@a"}, "!old": {"@a"}} {
		h.Room(notice(room))
		want(t, e, told...)
	}
	h.Enter("@a", []string{"!left"}) // read afterwards
	h.Room(notice("!left"))
	want(t, e, "@a")
}

func TestSharersAreToldOnce(t *testing.T) {
	t.Parallel()
	e := &ears{}
	h := New(e)
	h.Enter("@me", []string{"!1", "!2"})
	h.Enter("@b", []string{"!1", "!2"})
	h.Enter("@c", []string{"!2"})
	h.Enter("@d", []string{"!3"})
	h.DeviceList(&messages.DeviceListNotice{UserId: "@me", Rooms: []string{"!1", "!2"}})
	want(t, e, "@b", "@c", "@me")
	h.Presence(&messages.PresenceNotice{UserId: "@me", Rooms: []string{"!1"}})
	want(t, e, "@b", "@me")
	h.Presence(&messages.PresenceNotice{UserId: "@me"})
	want(t, e, "@me")
	h.User(&messages.UserNotice{UserId: "@c"})
	want(t, e, "@c")
}

// TestIndexAgreesWithASimpleOne runs random histories against sets of strings.
func TestIndexAgreesWithASimpleOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := &ears{}
		h := New(e)
		h.partitions[0].round = ^uint32(0) - 3 // wraps on the way
		joined := map[string]map[string]bool{} // of active users
		users := rapid.SampledFrom([]string{"@a", "@b", "@c", "@d", "@e", "@f", "@g", "@h", "@i", "@j"})
		rooms := rapid.SampledFrom([]string{"!1", "!2", "!3", "!4"})
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				u := users.Draw(t, "user")
				r := rapid.SliceOf(rooms).Draw(t, "rooms")
				h.Enter(u, nil)
				h.Enter(u, r)
				if joined[u] == nil {
					joined[u] = map[string]bool{}
				}
				for _, id := range r {
					joined[u][id] = true
				}
			},
			"leave": func(t *rapid.T) {
				u := users.Draw(t, "user")
				h.Leave(u)
				delete(joined, u)
			},
			"room": func(t *rapid.T) {
				room := rooms.Draw(t, "room")
				told := map[string]bool{}
				for u, in := range joined {
					if in[room] {
						told[u] = true
					}
				}
				n := notice(room)
				for range rapid.IntRange(0, 3).Draw(t, "changes") {
					u, m := users.Draw(t, "user"), rapid.SampledFrom([]string{"join", "leave", "ban"}).Draw(t, "membership")
					n.Events = append(n.Events, member(u, m))
					if joined[u] != nil {
						told[u] = true
						joined[u][room] = m == "join"
					}
				}
				h.Room(n)
				if got, expected := e.take(), slices.Sorted(maps.Keys(told)); !slices.Equal(got, expected) {
					t.Fatalf("told %v, want %v", got, expected)
				}
			},
		})
		for u := range joined {
			h.Leave(u)
		}
		for i := range h.partitions {
			p := &h.partitions[i]
			if len(p.userByID) != 0 || len(p.roomByID) != 0 || len(p.freeUsers) != len(p.users) || len(p.freeRooms) != len(p.rooms) {
				t.Fatalf("left behind: %d users, %d rooms", len(p.userByID), len(p.roomByID))
			}
		}
	})
}

// listener is a user's actor that remembers the positions it is told.
type listener struct {
	hub  *Hub
	room []string
	id   string
	got  []uint64
}

func (l *listener) Load(context.Context, cluster.Self) error {
	l.hub.Enter(l.id, l.room)
	return nil
}

func (l *listener) Receive(m cluster.Message) {
	switch body := m.Body.(type) {
	case *messages.RoomNotice:
		l.got = append(l.got, body.Pos)
	case *messages.UserNotice:
		l.got = append(l.got, body.Pos)
	case *messages.PresenceNotice:
		l.got = append(l.got, body.Pos)
	default:
		m.Reply(&messages.SyncPlan{Pos: uint64(len(l.got))})
	}
}

func (l *listener) Idle() bool                { return true }
func (l *listener) Stopping()                 { l.hub.Leave(l.id) }
func (l *listener) Inspect(*messages.Summary) {}

// startUsers is a node with a hub and this many active users, all in "!all".
func startUsers(t testing.TB, count int) (*Hub, *cluster.Node, []*listener) {
	n := cluster.NewNode(cluster.Options{Name: "a"})
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h := New(n)
	all := make([]*listener, count)
	byID := make(map[string]*listener, count)
	for i := range all {
		id := fmt.Sprintf("@user%d:example.org", i)
		all[i] = &listener{hub: h, id: id, room: []string{"!all"}}
		byID[id] = all[i]
	}
	err := n.Register(cluster.Kind{Name: cluster.KindUser, Bound: 1 << 20, New: func(id cluster.Identity) cluster.Behavior { return byID[id.ID] }})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if _, err := n.Ask(context.Background(), user(l.id), &messages.SyncAsk{}); err != nil {
			t.Fatal(err)
		}
	}
	return h, n, all
}

func TestEveryUserHearsInTheOrderOfPublishing(t *testing.T) {
	t.Parallel()
	const published = 3000
	h, n, all := startUsers(t, 20)
	for pos := uint64(1); pos <= published; pos++ {
		switch pos % 3 {
		case 0:
			h.Room(&messages.RoomNotice{RoomId: "!all", Pos: pos})
		case 1:
			h.Presence(&messages.PresenceNotice{UserId: "@elsewhere:example.org", Rooms: []string{"!all"}, Pos: pos})
		case 2:
			for _, l := range all {
				h.User(&messages.UserNotice{UserId: l.id, Pos: pos})
			}
		}
	}
	for _, l := range all {
		// Published before asked: it must have been heard.
		plan, err := cluster.Ask[*messages.SyncPlan](context.Background(), n, user(l.id), &messages.SyncAsk{})
		if err != nil || plan.Pos != published {
			t.Fatalf("%s heard %v of %d (%v)", l.id, plan, published, err)
		}
		if !slices.IsSorted(l.got) {
			t.Fatalf("%s heard out of order", l.id)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	e := &ears{}
	h := New(e)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				u := fmt.Sprint("@", g, i%7)
				h.Enter(u, nil)
				h.Enter(u, []string{"!1", "!2"})
				h.Room(notice("!1", member(u, "leave")))
				h.DeviceList(&messages.DeviceListNotice{UserId: u, Rooms: []string{"!1", "!2"}})
				h.Leave(u)
			}
		})
	}
	wg.Wait()
	e.take()
	h.Room(notice("!1"))
	want(t, e)
}

func BenchmarkFanOut1000(b *testing.B) {
	h, _, _ := startUsers(b, 1000)
	n := &messages.RoomNotice{RoomId: "!all"}
	b.ReportAllocs()
	for b.Loop() {
		h.Room(n)
	}
}

func BenchmarkRoomWithoutUsers(b *testing.B) {
	h := New(&ears{})
	n := notice("!nobody")
	b.ReportAllocs()
	for b.Loop() {
		h.Room(n)
	}
}

// BenchmarkMemory is 200,000 users in 20 rooms each, of 20,000 rooms.
func BenchmarkMemory(b *testing.B) {
	const users, each, rooms = 200_000, 20, 20_000
	for b.Loop() {
		before := heap()
		h := New(&ears{})
		for u := range users {
			in := make([]string, each)
			for i := range in {
				in[i] = fmt.Sprintf("!room%d:example.org", (u*7+i*i*31)%rooms)
			}
			h.Enter(fmt.Sprintf("@user%d:example.org", u), in)
		}
		b.ReportMetric(float64(heap()-before)/users, "B/user")
		runtime.KeepAlive(h)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
