// Package stateres resolves conflicts between states of a room: the algorithms of room version 1 (rooms/v1), of room versions
// 2 to 11 (rooms/v2) and of room version 12 (rooms/v12, "state resolution 2.1").
//
// Why it may be trusted: package naive says the same in the words of the specification, slowly, and tests compare the two over
// generated histories. What differs here is that nothing recurses, that chains come from an interface which a room can serve
// from its own index, and that each event is looked at a bounded number of times.
package stateres

import (
	"iter"
	"slices"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Events are the room's events. All that the states and their auth chains hold must be there.
type Events interface {
	Event(id string) *event.Event // nil when the event is not here
	// Rejected reports whether the event was rejected (server-server API, "Rejection"): as an auth event it then authorises nothing.
	Rejected(id string) bool
}

// Chains knows the graph of auth events. NewChains is an implementation that walks it.
type Chains interface {
	// AuthDifference is ∪Cᵢ − ∩Cᵢ, where Cᵢ is the union of the auth chains of the events of state i: those in unconflicted and
	// those in conflicted[i]. An auth chain does not hold the event that it starts from. The order does not matter.
	AuthDifference(unconflicted iter.Seq[string], conflicted [][]string) ([]string, error)
	// Subgraph is the conflicted state subgraph (rooms/v12): every event on a path along auth events from one of the events to
	// another, and the events themselves. The order does not matter.
	Subgraph(ids []string) ([]string, error)
}

// Unconflicted is the unconflicted state map: what all states agree on.
type Unconflicted interface {
	ID(t event.Tuple) string // "" when the place is conflicted or empty
	IDs() iter.Seq[string]
}

// MissingError says that an event is not here that the resolution needs.
type MissingError struct{ EventID string }

func (e *MissingError) Error() string { return "stateres: the event " + e.EventID + " is missing" }

// Resolve gives the resolution of the states (event ids by place) by the algorithm of the room version. The order of the states
// does not matter. The error is a *MissingError, or comes from chains.
func Resolve(v *roomversion.Version, states []map[event.Tuple]string, events Events, chains Chains) (map[event.Tuple]string, error) {
	if len(states) == 0 {
		return map[event.Tuple]string{}, nil
	}
	agreed, conflicted := split(states)
	resolved, err := ResolveConflicts(v, agreed, conflicted, events, chains)
	if err != nil {
		return nil, err
	}
	for t, id := range resolved {
		agreed[t] = id
	}
	return agreed, nil
}

// ResolveConflicts is Resolve for who knows already in what the states differ: conflicted[i] are the places of state i, which not
// all states have, or not with the same event. It gives the part of the resolution that is not in the unconflicted state map.
func ResolveConflicts(v *roomversion.Version, agreed Unconflicted, conflicted []map[event.Tuple]string, events Events, chains Chains) (map[event.Tuple]string, error) {
	if !slices.ContainsFunc(conflicted, func(c map[event.Tuple]string) bool { return len(c) > 0 }) {
		return map[event.Tuple]string{}, nil
	}
	r := &resolver{version: v, events: events, agreed: agreed, resolved: map[event.Tuple]*event.Event{}, levels: map[sender]auth.Level{}}
	var err error
	if v.StateResolution == roomversion.StateResolutionV1 {
		err = r.resolveV1(conflicted)
	} else {
		err = r.resolveV2(conflicted, chains)
	}
	if err == nil && r.missing != nil {
		err = r.missing
	}
	if err != nil {
		return nil, err
	}
	result := make(map[event.Tuple]string, len(r.resolved))
	for t, e := range r.resolved {
		if agreed.ID(t) == "" {
			result[t] = e.ID()
		}
	}
	return result, nil
}

// stateMap is an unconflicted state map that is held as a map.
type stateMap map[event.Tuple]string

func (m stateMap) ID(t event.Tuple) string { return m[t] }

func (m stateMap) IDs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, id := range m {
			if !yield(id) {
				return
			}
		}
	}
}

// split divides states into what all agree on and, state by state, the rest.
func split(states []map[event.Tuple]string) (stateMap, []map[event.Tuple]string) {
	agreed := make(stateMap, len(states[0]))
	for t, id := range states[0] {
		if !slices.ContainsFunc(states[1:], func(s map[event.Tuple]string) bool { return s[t] != id }) {
			agreed[t] = id
		}
	}
	conflicted := make([]map[event.Tuple]string, len(states))
	for i, s := range states {
		conflicted[i] = map[event.Tuple]string{}
		for t, id := range s {
			if agreed[t] == "" {
				conflicted[i][t] = id
			}
		}
	}
	return agreed, conflicted
}

// conflictedIDs lists the events of each state's conflicted places, and all of them once.
func conflictedIDs(conflicted []map[event.Tuple]string) (each [][]string, all []string) {
	each = make([][]string, len(conflicted))
	for i, c := range conflicted {
		for _, id := range c {
			each[i] = append(each[i], id)
		}
		all = append(all, each[i]...)
	}
	slices.Sort(all)
	return each, slices.Compact(all)
}
