package sliding_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

type J = actortest.J

// watcher is a client with one list of all rooms, of which the window shrinks and grows.
type watcher struct {
	*actortest.Device
	syncer *sliding.Syncer
	pos    string
	rooms  map[string]roomView
}

// roomView is what the client makes of a room. It is not changed once it is in a watcher.
type roomView struct {
	timeline []string
	state    map[string]string
}

func newWatcher(t *rapid.T, d *actortest.Device) *watcher {
	return &watcher{Device: d, syncer: newSyncer(t, d.World), rooms: map[string]roomView{}}
}

// ask asks for the newest rooms, so many, and so many events of each.
func (c *watcher) ask(t *rapid.T, window, limit int) gjson.Result {
	list := sliding.List{Config: sliding.Config{TimelineLimit: limit, State: sliding.Require(sliding.Rule{Include: []sliding.Element{{}}})}}
	list.Ranges = [][2]int{{0, window - 1}}
	req := sliding.Request{UserID: c.User, DeviceID: c.ID, ConnID: "x", Pos: c.pos, SetPresence: "offline", Lists: map[string]sliding.List{"all": list}}
	resp, err := c.syncer.Unstable(context.Background(), req)
	if actortest.Code(err) == "M_UNKNOWN_POS" && c.pos != "" {
		c.pos, req.Pos = "", ""
		resp, err = c.syncer.Unstable(context.Background(), req)
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	return gjson.ParseBytes(raw)
}

// take asks and takes the answer in.
func (c *watcher) take(t *rapid.T, window, limit int) {
	a := c.ask(t, window, limit)
	c.pos = a.Get("pos").Str
	for roomID, room := range a.Get("rooms").Map() {
		c.rooms[roomID] = c.apply(roomID, room, c.rooms[roomID])
	}
}

func (c *watcher) apply(roomID string, room gjson.Result, old roomView) roomView {
	r := roomView{state: map[string]string{}, timeline: slices.Clone(old.timeline)}
	if room.Get("initial").Bool() {
		r.timeline = nil
	} else {
		maps.Copy(r.state, old.state)
	}
	for _, e := range room.Get("required_state").Array() {
		r.state[e.Get("type").Str+"|"+e.Get("state_key").Str] = e.Get("event_id").Str
	}
	again := room.Get("initial").Bool() || room.Get("limited").Bool() || room.Get("unstable_expanded_timeline").Bool()
	if again {
		var missed []string
		for from := room.Get("prev_batch").Str; from != ""; {
			var page []string
			page, from = c.Page(roomID, from, 3, true)
			for _, id := range page {
				if slices.Contains(r.timeline, id) {
					from = ""
					break
				}
				missed = append(missed, id)
			}
		}
		slices.Reverse(missed)
		r.timeline = append(r.timeline, missed...)
	}
	for _, e := range room.Get("timeline").Array() {
		id := e.Get("event_id").Str
		if !slices.Contains(r.timeline, id) {
			r.timeline = append(r.timeline, id)
		} else if !again {
			c.World.T.Fatalf("%s hears %s in %s twice", c.User, id, roomID)
		}
	}
	return r
}

// check compares what the client made of it all with what the store holds, of a room that the user is in.
func (c *watcher) check(t *rapid.T, roomID string) {
	w, ctx := c.World, context.Background()
	access, err := w.Reader.Access(ctx, roomID, c.User)
	if err != nil {
		t.Fatal(err)
	}
	if !access.Joined() {
		return
	}
	var visible []string
	for _, row := range w.Journal(roomID) {
		sees, err := access.Sees(ctx, &row)
		if err != nil {
			t.Fatal(err)
		}
		if sees && row.Status == schema.Accepted {
			visible = append(visible, row.EventID)
		}
	}
	actortest.Same(t, c.User+" in "+roomID, c.rooms[roomID].timeline, visible...)
	current, err := schema.CurrentStates.All(ctx, w.Store, persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: roomID}, Keys: 1})
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	for _, s := range current {
		state[s.Type+"|"+s.StateKey] = s.EventID
	}
	if !maps.Equal(c.rooms[roomID].state, state) {
		t.Fatalf("%s in %s: the state is %v, want %v", c.User, roomID, c.rooms[roomID].state, state)
	}
}

// Whatever happens, whatever answer is lost, whatever the window: who pages through the gaps hears everything of the rooms that they
// are in, and knows their state; also when the user's activation ends in between.
func TestNoSlidingSyncLosesAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := actortest.New(t)
		alice, bob := w.User("alice"), w.User("bob")
		rooms := make([]string, 3)
		for i, visibility := range []string{"shared", "joined", "shared"} {
			rooms[i] = alice.Create(J{"power_level_content_override": J{"state_default": 0}, "initial_state": []J{
				{"type": "m.room.join_rules", "content": J{"join_rule": "public"}},
				{"type": "m.room.history_visibility", "content": J{"history_visibility": visibility}}}})
		}
		clients := []*watcher{newWatcher(t, alice), newWatcher(t, bob)}
		someRoom, someClient, n := rapid.SampledFrom(rooms), rapid.SampledFrom(clients), 0
		window, limit := rapid.IntRange(1, 3), rapid.SampledFrom([]int{1, 2, 5, 50})
		try := func(t *rapid.T, typ string, stateKey *string) {
			n++
			d := someClient.Draw(t, "who")
			_, _ = w.AskRoom(someRoom.Draw(t, "where"), &messages.SendEvent{By: d.By(), TxnId: strconv.Itoa(n),
				Event: &messages.Proposal{Type: typ, StateKey: stateKey, Sender: d.User, Content: w.JSON(J{"n": n})}})
		}
		member := func(action messages.ChangeMembership_Action) func(*rapid.T) {
			return func(t *rapid.T) {
				_, _ = w.AskRoom(someRoom.Draw(t, "where"), &messages.ChangeMembership{By: bob.By(), Action: action, Target: bob.User})
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"say":   func(t *rapid.T) { try(t, "m.room.message", nil) },
			"state": func(t *rapid.T) { try(t, "x.state", new(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"))) },
			"join":  member(messages.ChangeMembership_JOIN), "leave": member(messages.ChangeMembership_LEAVE),
			"sync": func(t *rapid.T) {
				someClient.Draw(t, "client").take(t, window.Draw(t, "window"), limit.Draw(t, "limit"))
			},
			"lose": func(t *rapid.T) {
				c := someClient.Draw(t, "client")
				pos := c.pos
				c.ask(t, window.Draw(t, "window"), limit.Draw(t, "limit"))
				c.pos = pos
			},
			"end": func(t *rapid.T) { w.Passivate(someClient.Draw(t, "who").User) },
		})
		for _, c := range clients {
			c.take(t, 3, 2)
			for _, roomID := range rooms {
				c.check(t, roomID)
			}
		}
	})
}
