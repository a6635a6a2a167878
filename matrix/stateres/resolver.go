package stateres

import (
	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

var (
	createTuple      = event.Tuple{Type: "m.room.create"}
	powerLevelsTuple = event.Tuple{Type: "m.room.power_levels"}
)

// resolver is one resolution.
type resolver struct {
	version  *roomversion.Version
	events   Events
	agreed   Unconflicted
	resolved map[event.Tuple]*event.Event // what was resolved so far; it stands before agreed
	levels   map[sender]auth.Level        // see senderLevel
	missing  error                        // an event of the unconflicted state map that is not here
}

// stateFunc makes a function an auth.State.
type stateFunc func(event.Tuple) *event.Event

func (f stateFunc) Event(t event.Tuple) *event.Event { return f(t) }

func (r *resolver) event(id string) (*event.Event, error) {
	if e := r.events.Event(id); e != nil {
		return e, nil
	}
	return nil, &MissingError{id}
}

// state is the state so far: what was resolved, and the unconflicted state map.
func (r *resolver) state(t event.Tuple) *event.Event {
	if e := r.resolved[t]; e != nil {
		return e
	}
	id := r.agreed.ID(t)
	if id == "" {
		return nil
	}
	e, err := r.event(id)
	if err != nil {
		r.missing = err
	}
	return e
}

func (r *resolver) allowed(e *event.Event, state stateFunc) bool { return auth.Check(e, state) == nil }

// cited are the auth events of an event; in room version 12 the create event too, which the room id names.
func (r *resolver) cited(e *event.Event) ([]*event.Event, error) {
	ids := e.AuthEvents()
	cited := make([]*event.Event, 0, len(ids)+1)
	for _, id := range ids {
		a, err := r.event(id)
		if err != nil {
			return nil, err
		}
		cited = append(cited, a)
	}
	if r.version.RoomIDFromCreate && e.Type() != createTuple.Type {
		create, err := r.event(createID(e))
		if err != nil {
			return nil, err
		}
		cited = append(cited, create)
	}
	return cited, nil
}

// createID is the id of the create event, from room version 12 on.
func createID(e *event.Event) string { return "$" + e.RoomID()[1:] }

// check applies the events in their order: each that the rules allow becomes part of the state ("Iterative auth checks").
// Where that has no event for a place, the event's own auth events count, if they were not rejected.
func (r *resolver) check(events []*event.Event, state stateFunc) error {
	for _, e := range events {
		if !e.IsState() {
			continue
		}
		cited, err := r.cited(e)
		if err != nil {
			return err
		}
		view := func(t event.Tuple) *event.Event {
			if s := state(t); s != nil {
				return s
			}
			for _, a := range cited {
				if a.Tuple() == t && a.IsState() && !r.events.Rejected(a.ID()) {
					return a
				}
			}
			return nil
		}
		if r.allowed(e, view) {
			r.resolved[e.Tuple()] = e
		}
	}
	return nil
}
