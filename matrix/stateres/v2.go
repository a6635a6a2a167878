package stateres

import (
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// graph holds the full conflicted set, and the events on paths between its members, which only connect.
type graph struct {
	events map[string]*event.Event
	full   map[string]bool
}

// resolveV2 is the algorithm of room version 2 (rooms/v2, "Algorithm"), with the changes of room version 12.
func (r *resolver) resolveV2(conflicted []map[event.Tuple]string, chains Chains) error {
	empty := r.version.StateResolution == roomversion.StateResolutionV2_1
	g, err := r.fullConflictedSet(conflicted, chains)
	if err != nil {
		return err
	}
	power, err := r.powerOrder(g)
	if err != nil {
		return err
	}
	state := stateFunc(r.state)
	if empty {
		state = func(t event.Tuple) *event.Event { return r.resolved[t] }
	}
	if err := r.check(power, state); err != nil {
		return err
	}
	for _, e := range power {
		delete(g.full, e.ID())
	}
	rest := make([]*event.Event, 0, len(g.full))
	for id := range g.full {
		rest = append(rest, g.events[id])
	}
	if err := r.sortByMainline(rest, state(powerLevelsTuple)); err != nil {
		return err
	}
	return r.check(rest, state)
}

// fullConflictedSet is the conflicted state set and the auth difference, and in room version 12 the conflicted state subgraph.
// In earlier versions the subgraph only tells which members come before which: whatever else lies between two members
// lies between two events of the conflicted state set, because a path that ends in the auth difference stays in it.
func (r *resolver) fullConflictedSet(conflicted []map[event.Tuple]string, chains Chains) (*graph, error) {
	each, all := conflictedIDs(conflicted)
	difference, err := chains.AuthDifference(r.agreed.IDs(), each)
	if err != nil {
		return nil, err
	}
	subgraph, err := chains.Subgraph(all)
	if err != nil {
		return nil, err
	}
	full := slices.Concat(all, difference)
	if r.version.StateResolution == roomversion.StateResolutionV2_1 {
		full = append(full, subgraph...)
	}
	g := &graph{events: make(map[string]*event.Event, len(full)), full: make(map[string]bool, len(full))}
	for _, id := range full {
		g.full[id] = true
	}
	for _, ids := range [][]string{full, subgraph} {
		for _, id := range ids {
			if g.events[id], err = r.event(id); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

// isPowerEvent reports whether the event might remove somebody's ability to do something (rooms/v2, "Power events").
func isPowerEvent(e *event.Event) bool {
	stateKey, isState := e.StateKey()
	switch {
	case !isState:
		return false
	case e.Type() == "m.room.power_levels" || e.Type() == "m.room.join_rules":
		return true
	case e.Type() == "m.room.member" && e.Sender() != stateKey:
		membership := e.Membership()
		return membership == "leave" || membership == "ban"
	}
	return false
}
