package peers

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Room is a room as crafters know it: a line of events, of which each follows the one before. It is safe for concurrent use.
type Room struct {
	ID      string
	Version *roomversion.Version

	mu     sync.Mutex
	events map[string]*event.Event
	line   []*event.Event                    // those that the room has, in order
	before map[string]map[event.Tuple]string // the state before each of them
	state  map[event.Tuple]string            // after the last
	// While the room is being joined, what comes waits for what was before.
	joining bool
	waiting []*event.Event
}

func newRoom(id string, version *roomversion.Version) *Room {
	return &Room{ID: id, Version: version, events: map[string]*event.Event{}, before: map[string]map[event.Tuple]string{}, state: map[event.Tuple]string{}}
}

// Add puts an event at the end of the room, unless it is there.
func (r *Room) Add(e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joining {
		r.waiting = append(r.waiting, e)
	} else {
		r.add(e)
	}
}

// begin puts the state and the join at the beginning of a room that is being joined.
func (r *Room) begin(state []*event.Event, join *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range append(append(state, join), r.waiting...) {
		r.add(e)
	}
	r.joining, r.waiting = false, nil
}

func (r *Room) add(e *event.Event) {
	if r.before[e.ID()] != nil {
		return
	}
	r.events[e.ID()] = e
	r.line = append(r.line, e)
	r.before[e.ID()] = maps.Clone(r.state)
	if e.IsState() {
		r.state[e.Tuple()] = e.ID()
	}
}

// Know makes the room know an event that has no place in it.
func (r *Room) Know(events ...*event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		r.events[e.ID()] = e
	}
}

// Event is an event that the room has or knows, nil if there is none.
func (r *Room) Event(id string) *event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[id]
}

// Last is the newest event.
func (r *Room) Last() *event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.line[len(r.line)-1]
}

// State is the room's state now: the ids of its events.
func (r *Room) State() map[event.Tuple]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.state)
}

// StateBefore are the events of the state before one of the room's events, in no order that means anything.
func (r *Room) StateBefore(id string) []*event.Event {
	r.mu.Lock()
	before := r.before[id]
	r.mu.Unlock()
	return r.known(before)
}

func (r *Room) known(state map[event.Tuple]string) []*event.Event {
	var events []*event.Event
	for _, id := range slices.Sorted(maps.Values(state)) {
		events = append(events, r.Event(id))
	}
	return events
}

// Chain is the auth chain of events, without them.
func (r *Room) Chain(of ...*event.Event) []*event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]*event.Event{}
	for len(of) > 0 {
		cited := of[0].AuthEvents()
		if r.Version.RoomIDFromCreate && of[0].Type() != "m.room.create" {
			cited = append(slices.Clone(cited), "$"+r.ID[1:])
		}
		of = of[1:]
		for _, id := range cited {
			if e := r.events[id]; e != nil && seen[id] == nil {
				seen[id] = e
				of = append(of, e)
			}
		}
	}
	return slices.Collect(maps.Values(seen))
}

// Before are up to limit events before those with these ids, the newest first.
func (r *Room) Before(ids []string, limit int) []*event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := -1
	for i, e := range r.line {
		if slices.Contains(ids, e.ID()) {
			end = i
		}
	}
	var found []*event.Event
	for i := end; i >= 0 && len(found) < limit; i-- {
		found = append(found, r.line[i])
	}
	return found
}

// Draft is an event that would follow the newest one, authorised by the state now, to be changed at will and made by Make.
func (r *Room) Draft(sender, typ, content string, stateKey ...string) event.Proto {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := event.Proto{Type: typ, Sender: sender, RoomID: r.ID, Content: []byte(content), OriginServerTS: time.Now().UnixMilli(), EventIDRandom: random()}
	if len(stateKey) > 0 {
		p.StateKey = &stateKey[0]
	}
	if n := len(r.line); n > 0 {
		p.PrevEvents, p.Depth = []string{r.line[n-1].ID()}, r.line[n-1].Depth()+1
	}
	for _, place := range auth.Selection(r.Version, auth.Shape{Type: typ, StateKey: p.StateKey, Sender: sender, Content: p.Content}) {
		if id, ok := r.state[place]; ok {
			p.AuthEvents = append(p.AuthEvents, id)
		}
	}
	return p
}

var made atomic.Int64

// random is part of the id of an event of room version 1 or 2.
func random() string { return fmt.Sprint("crafted", made.Add(1)) }

// Make makes an event, signed by the crafter.
func (c *Crafter) Make(r *Room, p event.Proto) *event.Event {
	c.t.Helper()
	e, err := event.Build(p, r.Version, c.Name, c.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// Put makes an event and puts it into the room.
func (c *Crafter) Put(r *Room, p event.Proto) *event.Event {
	c.t.Helper()
	e := c.Make(r, p)
	r.Add(e)
	return e
}

// Room makes a room of the crafter, with the user who made it, that everybody may join.
func (c *Crafter) Room(creator string, version *roomversion.Version) *Room {
	c.t.Helper()
	r := newRoom("", version)
	if !version.RoomIDFromCreate {
		r.ID = "!" + random() + ":" + c.Name
	}
	content := `{"room_version":"` + version.ID + `"`
	if !version.UpdatedRedaction {
		content += `,"creator":"` + creator + `"`
	}
	p := r.Draft(creator, "m.room.create", content+`}`, "")
	p.Depth = 1
	create := c.Make(r, p)
	r.ID = create.RoomID()
	r.Add(create)
	c.Put(r, r.Draft(creator, "m.room.member", `{"membership":"join"}`, creator))
	levels := `{"users":{"` + creator + `":100}}`
	if version.RoomIDFromCreate {
		levels = `{"users":{}}`
	}
	c.Put(r, r.Draft(creator, "m.room.power_levels", levels, ""))
	c.Put(r, r.Draft(creator, "m.room.join_rules", `{"join_rule":"public"}`, ""))
	c.Share(r, c)
	return r
}
