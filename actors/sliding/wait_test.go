package sliding_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/messages"
)

// poll is how long syncs wait here; what is due then is nothing else.
const poll = 30*time.Second + time.Millisecond

func newSyncer(t actortest.TB, w *actortest.World) *sliding.Syncer {
	t.Helper()
	counter := unread.New(w.Store, "")
	s := sliding.New(w.Node, w.Reader, w.Syncer, counter, w.Clock.Now)
	return s
}

// everything asks for all rooms with an event of each, and for every extension.
func everything(d *actortest.Device, pos string) sliding.Request {
	return sliding.Request{UserID: d.User, DeviceID: d.ID, Pos: pos, SetPresence: "offline",
		Lists: map[string]sliding.List{"all": {Config: sliding.Config{TimelineLimit: 1}}},
		Extensions: sliding.Extensions{E2EE: true, AccountData: &sliding.Scope{}, Receipts: &sliding.Scope{}, Typing: &sliding.Scope{},
			ToDevice: &sliding.ToDeviceQuery{Limit: 100}, ThreadSubscriptions: 100}}
}

func answer(t actortest.TB, s *sliding.Syncer, req sliding.Request) gjson.Result {
	resp, err := s.Unstable(context.Background(), req)
	if err != nil {
		t.Errorf("%s syncs: %v", req.UserID, err)
		return gjson.Result{}
	}
	raw, err := json.Marshal(resp)
	if err != nil {
		t.Errorf("%v", err)
	}
	return gjson.ParseBytes(raw)
}

// later is a sync that waits while the test does something.
func later(t actortest.TB, s *sliding.Syncer, w *actortest.World, req sliding.Request) <-chan gjson.Result {
	req.Timeout = poll
	done := make(chan gjson.Result, 1)
	go func() { done <- answer(t, s, req) }()
	w.Clock.Await(poll)
	return done
}

func TestASlidingSyncWaitsUntilItsTimeIsOut(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	alice.Create(J{})
	s := newSyncer(t, w)
	pos := answer(t, s, everything(alice, "")).Get("pos").Str
	done := later(t, s, w, everything(alice, pos))
	w.Clock.Advance(poll)
	a := <-done
	if len(a.Get("rooms").Map()) != 0 || a.Get("lists.all.count").Int() != 1 || a.Get("pos").Str == "" {
		t.Errorf("the answer is %s", a.Raw)
	}
	if keys := a.Get("extensions.e2ee.device_one_time_keys_count").Raw; keys != `{"signed_curve25519":0}` {
		t.Errorf("the counts of keys are %s", keys)
	}
}

// Each of these ends a wait.
func TestWhatEndsASlidingWait(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	said := alice.Say(roomID, "1")
	own := bob.Create(J{"preset": "public_chat"})
	alice.Join(own)
	s := newSyncer(t, w)
	pos := answer(t, s, everything(alice, "")).Get("pos").Str
	for _, c := range []struct {
		what, path string
		do         func()
	}{
		{"a message", "rooms.@values.0.timeline.0", func() { bob.Say(roomID, "2") }},
		{"a receipt", "extensions.receipts.rooms.@values.0", func() { bob.Read(roomID, "m.read", said, "") }},
		{"typing", "extensions.typing.rooms.@values.0", func() { bob.Room(roomID, &messages.SetTyping{By: bob.By(), Typing: true, TimeoutMs: 20000}) }},
		{"account data", "extensions.account_data.global.0", func() { alice.SetData("", "x", J{"a": 1}) }},
		{"a room's account data", "extensions.account_data.rooms.@values.0", func() { alice.SetData(roomID, "x", J{"a": 1}) }},
		{"an invite", "rooms.@values.0.invite_state.0", func() { bob.Create(J{"invite": []string{alice.User}}) }},
		{"being thrown out", "rooms.@values.0.timeline.0", func() { bob.Kick(own, alice) }},
	} {
		done := later(t, s, w, everything(alice, pos))
		c.do()
		a := <-done
		if !a.Get(c.path).Exists() {
			t.Errorf("after %s there is no %s in %s", c.what, c.path, a.Raw)
		}
		pos = a.Get("pos").Str
	}
}

// A connection outlives the user's activation when that ends as planned; a position is not taken for another's.
func TestAConnectionOutlivesTheActivation(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	roomID := alice.Create(J{})
	s := newSyncer(t, w)
	pos := answer(t, s, everything(alice, "")).Get("pos").Str
	w.Passivate(alice.User)
	alice.Say(roomID, "1")
	a := answer(t, s, everything(alice, pos))
	room := a.Get("rooms").Map()[roomID]
	if room.Get("initial").Exists() || len(room.Get("timeline").Array()) != 1 {
		t.Errorf("the room is %s", room.Raw)
	}
	_, err := s.Unstable(context.Background(), everything(alice.With("OTHER"), pos))
	if actortest.Code(err) != "M_UNKNOWN_POS" {
		t.Errorf("another device is told %v", err)
	}
}

// BenchmarkSlidingSync is of a user in 2,000 rooms: the first answer of the newest 20, and one with a new message.
func BenchmarkSlidingSync(b *testing.B) {
	w := actortest.New(b)
	alice := w.User("alice")
	rooms := make([]string, 2000)
	for i := range rooms {
		rooms[i] = alice.Create(J{})
	}
	s := newSyncer(b, w)
	first := everything(alice, "")
	first.Lists["all"] = sliding.List{Ranges: [][2]int{{0, 19}}, Config: sliding.Config{TimelineLimit: 1,
		State: sliding.Require(sliding.Rule{Include: []sliding.Element{{Type: new("m.room.create")}, {Type: new("m.room.name")}}, LazyMembers: true})}}
	pos := answer(b, s, first).Get("pos").Str
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			pos = answer(b, s, first).Get("pos").Str
		}
	})
	b.Run("increment", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			alice.Say(rooms[len(rooms)-1], "x")
			b.StartTimer()
			next := first
			next.Pos = pos
			pos = answer(b, s, next).Get("pos").Str
		}
	})
}
