package syncer_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// view is what a client makes of the answers that it got: the rooms by id.
type view struct {
	since string
	rooms map[string]roomView
}

// roomView is a client's view of a room. It is not changed once it is in a view.
type roomView struct {
	section  string            // join, invite, knock, leave
	timeline []string          // ids of events
	state    map[string]string // ids of events by type and state key
}

// watcher is a client: a device, its view, and views that it had stored earlier.
type watcher struct {
	*actortest.Device
	view
	stored []view
	after  bool // it asks for state_after
}

// take syncs and takes the answer in.
func (c *watcher) take(with ...actortest.With) {
	if c.after {
		with = append(with, actortest.StateAfter)
	}
	a := c.Look(append(with, actortest.From(c.since))...)
	next := view{a.Text("next_batch"), maps.Clone(c.rooms)}
	if next.rooms == nil {
		next.rooms = map[string]roomView{}
	}
	seen := map[string]bool{}
	for _, section := range []string{"join", "invite", "knock", "leave"} {
		for roomID, room := range a.At("rooms." + section).Map() {
			if seen[roomID] {
				c.World.T.Fatalf("%s is in two sections of %s", roomID, a.Raw)
			}
			seen[roomID] = true
			next.rooms[roomID] = c.apply(roomID, section, room, c.rooms[roomID])
		}
	}
	c.view = next
}

// apply gives the room after an answer.
func (c *watcher) apply(roomID, section string, room gjson.Result, old roomView) roomView {
	r := roomView{section: section, timeline: old.timeline, state: maps.Clone(old.state)}
	if section == "invite" || section == "knock" {
		return r
	}
	if r.state == nil {
		r.state = map[string]string{}
	}
	set := func(events gjson.Result) {
		for _, e := range events.Array() {
			if e.Get("state_key").Exists() {
				r.state[e.Get("type").Str+"|"+e.Get("state_key").Str] = e.Get("event_id").Str
			}
		}
	}
	timeline := room.Get("timeline")
	if c.after {
		set(room.Get("state_after.events"))
	} else {
		set(room.Get("state.events"))
		set(timeline.Get("events"))
	}
	if section == "join" {
		r.timeline = c.append(roomID, old.timeline, timeline)
	}
	return r
}

// append adds a timeline, and what lies in the gap before it.
func (c *watcher) append(roomID string, known []string, timeline gjson.Result) []string {
	known = slices.Clone(known)
	limited := timeline.Get("limited").Bool()
	if limited {
		known = append(known, c.missed(roomID, known, timeline.Get("prev_batch").Str)...)
	}
	for _, e := range timeline.Get("events").Array() {
		id := e.Get("event_id").Str
		if !slices.Contains(known, id) {
			known = append(known, id)
		} else if !limited {
			c.World.T.Fatalf("%s %s hears %s in %s twice: %q", c.User, c.ID, id, roomID, known)
		}
	}
	return known
}

// missed pages back from a gap to what is known.
func (c *watcher) missed(roomID string, known []string, from string) []string {
	var missed []string
	for from != "" {
		var page []string
		page, from = c.Page(roomID, from, 3, true)
		for _, id := range page {
			if slices.Contains(known, id) {
				from = ""
				break
			}
			missed = append(missed, id)
		}
	}
	slices.Reverse(missed)
	return missed
}

// check compares what the client made of it all with what the store holds.
func (c *watcher) check(t *rapid.T, roomID string) {
	w, ctx := c.World, context.Background()
	access, err := w.Reader.Access(ctx, roomID, c.User)
	if err != nil {
		t.Fatal(err)
	}
	r, m := c.rooms[roomID], access.Member
	section := m.Membership
	if section == "ban" || section == "" {
		section = "leave"
	}
	if r.section != section && (section != "leave" || r.section != "") {
		t.Fatalf("%s %s takes %s for %q, but it is %q", c.User, c.ID, roomID, r.section, section)
	}
	if section != "join" {
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
	actortest.Same(t, c.User+" "+c.ID+" in "+roomID, r.timeline, visible...)
	current, err := schema.CurrentStates.All(ctx, w.Store, persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: roomID}, Keys: 1})
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	for _, s := range current {
		state[s.Type+"|"+s.StateKey] = s.EventID
	}
	if !maps.Equal(r.state, state) {
		t.Fatalf("%s %s in %s: the state is %v, want %v", c.User, c.ID, roomID, r.state, state)
	}
}

// hall is where a property plays: a few people with two devices each, in rooms of different kinds.
type hall struct {
	w       *actortest.World
	people  []*actortest.Device
	clients []*watcher
	rooms   []string
	n       int
}

func newHall(t *rapid.T) *hall {
	h := &hall{w: actortest.New(t)}
	for i := range 3 {
		p := h.w.User("p" + strconv.Itoa(i))
		h.people = append(h.people, p)
		h.clients = append(h.clients, &watcher{Device: p}, &watcher{Device: p.With("OTHER"), after: true})
	}
	for _, kind := range [][2]string{{"public", "shared"}, {"public", "joined"}, {"knock", "invited"}} {
		h.rooms = append(h.rooms, h.people[0].Create(J{"power_level_content_override": J{"invite": 0, "state_default": 0},
			"initial_state": []J{
				{"type": "m.room.join_rules", "content": J{"join_rule": kind[0]}},
				{"type": "m.room.history_visibility", "content": J{"history_visibility": kind[1]}}}}))
	}
	return h
}

// tries asks a room for something that may be refused.
func (h *hall) tries(roomID string, m proto.Message) {
	if _, err := h.w.AskRoom(roomID, m); err != nil && actortest.Code(err) == "M_UNKNOWN" {
		if _, forgetting := m.(*messages.Forget); !forgetting { // of a room that one is in
			h.w.T.Fatalf("%v: %v", m, err)
		}
	}
}

func (h *hall) next() string {
	h.n++
	return strconv.Itoa(h.n)
}

// Whatever happens and whichever token a device syncs with: it hears everything that its user may see of the rooms that the user is
// in, once and in order, when it pages through the gaps; and it knows their state, and which rooms they are.
func TestNoSyncLosesAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := newHall(t)
		someRoom, somebody, someClient := rapid.SampledFrom(h.rooms), rapid.IntRange(0, len(h.people)-1), rapid.SampledFrom(h.clients)
		change := func(action messages.ChangeMembership_Action, others bool) func(*rapid.T) {
			return func(t *rapid.T) {
				p := h.people[somebody.Draw(t, "who")]
				target := p
				if others {
					target = h.people[somebody.Draw(t, "whom")]
				}
				h.tries(someRoom.Draw(t, "where"), &messages.ChangeMembership{By: p.By(), Action: action, Target: target.User})
			}
		}
		propose := func(t *rapid.T, typ string, stateKey *string) {
			p := h.people[somebody.Draw(t, "who")]
			h.tries(someRoom.Draw(t, "where"), &messages.SendEvent{By: p.By(), TxnId: h.next(),
				Event: &messages.Proposal{Type: typ, StateKey: stateKey, Sender: p.User, Content: h.w.JSON(J{"n": h.next()})}})
		}
		t.Repeat(map[string]func(*rapid.T){
			"say":   func(t *rapid.T) { propose(t, "m.room.message", nil) },
			"state": func(t *rapid.T) { propose(t, "x.state", new(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"))) },
			"join":  change(messages.ChangeMembership_JOIN, false), "leave": change(messages.ChangeMembership_LEAVE, false),
			"knock": change(messages.ChangeMembership_KNOCK, false), "invite": change(messages.ChangeMembership_INVITE, true),
			"kick": change(messages.ChangeMembership_KICK, true),
			"forget": func(t *rapid.T) {
				h.tries(someRoom.Draw(t, "where"), &messages.Forget{By: h.people[somebody.Draw(t, "who")].By()})
			},
			"sync": func(t *rapid.T) {
				someClient.Draw(t, "client").take(h.w.Limit(rapid.SampledFrom([]int{1, 2, 3, 6, 50}).Draw(t, "limit")))
			},
			"lose": func(t *rapid.T) { c := someClient.Draw(t, "client"); c.Look(actortest.From(c.since)) },
			"store": func(t *rapid.T) {
				c := someClient.Draw(t, "client")
				c.stored = append(c.stored, c.view)
			},
			"restore": func(t *rapid.T) {
				if c := someClient.Draw(t, "client"); len(c.stored) > 0 {
					c.view = rapid.SampledFrom(c.stored).Draw(t, "view")
				}
			},
			"end": func(t *rapid.T) { h.w.Passivate(h.people[somebody.Draw(t, "who")].User) },
		})
		for _, c := range h.clients {
			c.take(h.w.Limit(2))
			for _, roomID := range h.rooms {
				c.check(t, roomID)
			}
		}
	})
}
