package stateres

import (
	"cmp"
	"container/heap"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
)

// vertex is an event of the power ordering.
type vertex struct {
	event   *event.Event
	member  bool // of the full conflicted set; others only connect
	level   auth.Level
	waits   int // how many of its auth events are still to come
	citedBy []*vertex
}

// powerOrder lists the power events of the full conflicted set, with what of their auth chains is in it, in the reverse
// topological power ordering (rooms/v2).
func (r *resolver) powerOrder(g *graph) ([]*event.Event, error) {
	vertices, err := r.powerGraph(g)
	if err != nil {
		return nil, err
	}
	var ready candidates
	var connecting []*vertex
	free := func(v *vertex) {
		if v.member {
			heap.Push(&ready, v)
		} else {
			connecting = append(connecting, v)
		}
	}
	for _, v := range vertices {
		if v.waits == 0 {
			free(v)
		}
	}
	var order []*event.Event
	for len(ready) > 0 || len(connecting) > 0 {
		var next *vertex
		if n := len(connecting); n > 0 {
			next, connecting = connecting[n-1], connecting[:n-1]
		} else {
			next, _ = heap.Pop(&ready).(*vertex)
			order = append(order, next.event)
		}
		for _, v := range next.citedBy {
			if v.waits--; v.waits == 0 {
				free(v)
			}
		}
	}
	return order, nil
}

// powerGraph gives the vertices below the power events.
func (r *resolver) powerGraph(g *graph) (map[string]*vertex, error) {
	vertices := map[string]*vertex{}
	var stack []*vertex
	reach := func(id string) *vertex {
		v := vertices[id]
		if v == nil {
			v = &vertex{event: g.events[id], member: g.full[id]}
			vertices[id] = v
			stack = append(stack, v)
		}
		return v
	}
	for id := range g.full {
		if isPowerEvent(g.events[id]) {
			reach(id)
		}
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, id := range v.event.AuthEvents() {
			if g.events[id] != nil {
				below := reach(id)
				below.citedBy = append(below.citedBy, v)
				v.waits++
			}
		}
		if v.member {
			var err error
			if v.level, err = r.senderLevel(v.event); err != nil {
				return nil, err
			}
		}
	}
	return vertices, nil
}

// sender is a user under a create event and a power levels event.
type sender struct{ create, powerLevels, userID string }

// senderLevel is the power level of the event's sender by the event's own auth events.
func (r *resolver) senderLevel(e *event.Event) (auth.Level, error) {
	cited, err := r.cited(e)
	if err != nil {
		return auth.Level{}, err
	}
	var create, powerLevels *event.Event
	key := sender{userID: e.Sender()}
	if r.version.RoomIDFromCreate && e.Type() == createTuple.Type {
		cited = []*event.Event{e}
	}
	for _, a := range cited {
		switch {
		case !a.IsState():
		case create == nil && a.Tuple() == createTuple:
			create, key.create = a, a.ID()
		case powerLevels == nil && a.Tuple() == powerLevelsTuple:
			powerLevels, key.powerLevels = a, a.ID()
		}
	}
	if level, ok := r.levels[key]; ok {
		return level, nil
	}
	levels, err := auth.Levels(r.version, create, powerLevels)
	if err != nil {
		return auth.Level{}, err
	}
	r.levels[key] = levels.User(e.Sender())
	return r.levels[key], nil
}

// candidates is a heap of vertices, the one that comes first on top.
type candidates []*vertex

func (c candidates) Len() int      { return len(c) }
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c candidates) Less(i, j int) bool {
	a, b := c[i], c[j]
	if a.level != b.level {
		return b.level.Less(a.level)
	}
	return cmp.Or(cmp.Compare(a.event.OriginServerTS(), b.event.OriginServerTS()), cmp.Compare(a.event.ID(), b.event.ID())) < 0
}

// Push and Pop implement heap.Interface.
func (c *candidates) Push(x any) {
	if v, ok := x.(*vertex); ok {
		*c = append(*c, v)
	}
}

func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}
