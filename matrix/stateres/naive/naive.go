// Package naive resolves conflicts between states in the words of the specification: slowly, with nothing clever and nothing
// shared with package stateres. It is the oracle that tests compare stateres with. Do not use it in a server.
package naive

import (
	"crypto/sha1" //nolint:gosec // room version 1 orders events by it
	"encoding/hex"
	"math"
	"sort"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Events are the room's events, all of them.
type Events interface {
	Event(id string) *event.Event
	Rejected(id string) bool
}

// State is a room state: event ids by place.
type State = map[event.Tuple]string

type set map[string]bool

// Resolve gives the resolution of the states.
func Resolve(v *roomversion.Version, states []State, events Events) State {
	n := room{v, events}
	if v.StateResolution == roomversion.StateResolutionV1 {
		return n.resolveV1(states)
	}
	return n.resolveV2(states)
}

// AuthDifference is ∪Cᵢ − ∩Cᵢ of the states' auth chains.
func AuthDifference(v *roomversion.Version, states []State, events Events) map[string]bool {
	return room{v, events}.authDifference(states)
}

// Subgraph is the conflicted state subgraph of the conflicted events.
func Subgraph(conflicted map[string]bool, events Events) map[string]bool {
	return room{events: events}.subgraph(conflicted)
}

type room struct {
	v      *roomversion.Version
	events Events
}

// authEvents are the event's auth events. The create event of room version 12 is not one of them.
func (n room) authEvents(id string) []string { return n.events.Event(id).AuthEvents() }

// authChain is the set of all of the event's auth events, all of their auth events, and so on.
func (n room) authChain(id string) set {
	chain := set{}
	for grown := n.authEvents(id); len(grown) > 0; {
		var next []string
		for _, a := range grown {
			if !chain[a] {
				chain[a] = true
				next = append(next, n.authEvents(a)...)
			}
		}
		grown = next
	}
	return chain
}

// conflicts divides the states: the pairs that are in every state, and all other values.
func conflicts(states []State) (unconflicted State, conflicted set) {
	unconflicted, conflicted = State{}, set{}
	for _, s := range states {
		for k, v := range s {
			everywhere := true
			for _, other := range states {
				everywhere = everywhere && other[k] == v
			}
			if everywhere {
				unconflicted[k] = v
			} else {
				conflicted[v] = true
			}
		}
	}
	return unconflicted, conflicted
}

// authDifference is ∪Cᵢ − ∩Cᵢ.
func (n room) authDifference(states []State) set {
	var chains []set
	union := set{}
	for _, s := range states {
		full := set{}
		for _, id := range s {
			for a := range n.authChain(id) {
				full[a], union[a] = true, true
			}
		}
		chains = append(chains, full)
	}
	difference := set{}
	for id := range union {
		for _, c := range chains {
			if !c[id] {
				difference[id] = true
			}
		}
	}
	return difference
}

// subgraph is the conflicted state subgraph: what one conflicted event leads to and what leads to another.
func (n room) subgraph(conflicted set) set {
	graph := set{}
	for from := range conflicted {
		graph[from] = true
		for between := range n.authChain(from) {
			for to := range n.authChain(between) {
				if conflicted[to] {
					graph[between] = true
				}
			}
		}
	}
	return graph
}

func (n room) isPowerEvent(id string) bool {
	e := n.events.Event(id)
	stateKey, isState := e.StateKey()
	if !isState {
		return false
	}
	if e.Type() == "m.room.power_levels" || e.Type() == "m.room.join_rules" {
		return true
	}
	return e.Type() == "m.room.member" && (e.Membership() == "leave" || e.Membership() == "ban") && e.Sender() != stateKey
}

func (n room) resolveV2(states []State) State {
	unconflicted, conflicted := conflicts(states)
	full := set{}
	for id := range conflicted {
		full[id] = true
	}
	for id := range n.authDifference(states) {
		full[id] = true
	}
	if n.v.StateResolution == roomversion.StateResolutionV2_1 {
		for id := range n.subgraph(conflicted) {
			full[id] = true
		}
	}
	// Step 1.
	x := set{}
	for id := range full {
		if n.isPowerEvent(id) {
			x[id] = true
			for a := range n.authChain(id) {
				if full[a] {
					x[a] = true
				}
			}
		}
	}
	sorted := n.reverseTopologicalPowerOrdering(x)
	// Step 2.
	partial := State{}
	if n.v.StateResolution != roomversion.StateResolutionV2_1 {
		for k, v := range unconflicted {
			partial[k] = v
		}
	}
	n.iterativeAuthChecks(partial, sorted)
	// Step 3.
	var rest []string
	for id := range full {
		if !x[id] {
			rest = append(rest, id)
		}
	}
	n.mainlineOrdering(rest, partial[event.Tuple{Type: "m.room.power_levels"}])
	// Step 4.
	n.iterativeAuthChecks(partial, rest)
	// Step 5.
	for k, v := range unconflicted {
		partial[k] = v
	}
	return partial
}

// reverseTopologicalPowerOrdering is Kahn's algorithm: of the events whose auth chain has come, the smallest comes next.
func (n room) reverseTopologicalPowerOrdering(x set) []string {
	var order []string
	come := set{}
	for {
		smallest := ""
		for id := range x {
			candidate := !come[id]
			for a := range n.authChain(id) {
				candidate = candidate && (!x[a] || come[a])
			}
			if candidate && (smallest == "" || n.less(id, smallest)) {
				smallest = id
			}
		}
		if smallest == "" {
			return order
		}
		come[smallest] = true
		order = append(order, smallest)
	}
}

func (n room) less(a, b string) bool {
	x, y := n.events.Event(a), n.events.Event(b)
	levelX, levelY := n.senderLevel(x), n.senderLevel(y)
	switch {
	case levelY.Less(levelX):
		return true
	case levelX.Less(levelY):
		return false
	case x.OriginServerTS() != y.OriginServerTS():
		return x.OriginServerTS() < y.OriginServerTS()
	}
	return a < b
}

// senderLevel is the level of the event's sender, looking at the event's auth events.
func (n room) senderLevel(e *event.Event) auth.Level {
	create, powerLevels := n.cited(e, event.Tuple{Type: "m.room.create"}), n.cited(e, event.Tuple{Type: "m.room.power_levels"})
	if n.v.RoomIDFromCreate {
		create = n.events.Event("$" + e.RoomID()[1:])
	}
	levels, err := auth.Levels(n.v, create, powerLevels)
	if err != nil {
		panic(err)
	}
	return levels.User(e.Sender())
}

// cited is the event's auth event for a place.
func (n room) cited(e *event.Event, t event.Tuple) *event.Event {
	for _, id := range e.AuthEvents() {
		if a := n.events.Event(id); a.IsState() && a.Tuple() == t {
			return a
		}
	}
	return nil
}

// mainline lists the power levels event, the one that it cites, and so on.
func (n room) mainline(id string) []string {
	var list []string
	for id != "" {
		list = append(list, id)
		id = n.powerLevelsOf(id)
	}
	return list
}

func (n room) powerLevelsOf(id string) string {
	if p := n.cited(n.events.Event(id), event.Tuple{Type: "m.room.power_levels"}); p != nil {
		return p.ID()
	}
	return ""
}

func (n room) mainlineOrdering(ids []string, powerLevels string) {
	mainline := n.mainline(powerLevels)
	position := func(id string) int {
		for _, e := range n.mainline(n.powerLevelsOf(id)) {
			for i, p := range mainline {
				if e == p {
					return i
				}
			}
		}
		return math.MaxInt
	}
	sort.Slice(ids, func(i, j int) bool {
		x, y := n.events.Event(ids[i]), n.events.Event(ids[j])
		if a, b := position(ids[i]), position(ids[j]); a != b {
			return a > b
		}
		if x.OriginServerTS() != y.OriginServerTS() {
			return x.OriginServerTS() < y.OriginServerTS()
		}
		return ids[i] < ids[j]
	})
}

// authState is a state in which the auth events of an event stand in for what is absent.
type authState struct {
	room
	state State
	e     *event.Event // nil: nothing stands in
}

func (s authState) Event(t event.Tuple) *event.Event {
	if id := s.state[t]; id != "" {
		return s.events.Event(id)
	}
	if s.e == nil {
		return nil
	}
	if s.v.RoomIDFromCreate && t.Type == "m.room.create" {
		return s.notRejected(s.events.Event("$" + s.e.RoomID()[1:]))
	}
	return s.notRejected(s.cited(s.e, t))
}

func (s authState) notRejected(e *event.Event) *event.Event {
	if e != nil && s.events.Rejected(e.ID()) {
		return nil
	}
	return e
}

func (n room) iterativeAuthChecks(state State, ids []string) {
	for _, id := range ids {
		e := n.events.Event(id)
		if e.IsState() && auth.Check(e, authState{n, state, e}) == nil {
			state[e.Tuple()] = id
		}
	}
}

func (n room) resolveV1(states []State) State {
	r := State{}
	candidates := map[event.Tuple][]string{}
	for _, s := range states {
		for k, v := range s {
			r[k] = v
			known := false
			for _, id := range candidates[k] {
				known = known || id == v
			}
			if !known {
				candidates[k] = append(candidates[k], v)
			}
		}
	}
	for k, ids := range candidates {
		if len(ids) == 1 {
			delete(candidates, k)
			continue
		}
		delete(r, k)
		sort.Slice(ids, func(i, j int) bool {
			x, y := n.events.Event(ids[i]), n.events.Event(ids[j])
			if x.Depth() != y.Depth() {
				return x.Depth() < y.Depth()
			}
			return hash(ids[i]) > hash(ids[j])
		})
	}
	for _, typ := range []string{"m.room.power_levels", "m.room.join_rules", "m.room.member"} {
		after := State{}
		for k, v := range r {
			after[k] = v
		}
		for k, ids := range candidates {
			if k.Type != typ {
				continue
			}
			during := State{}
			for place, id := range r {
				during[place] = id
			}
			during[k] = ids[0]
			for _, id := range ids[1:] {
				if auth.Check(n.events.Event(id), authState{n, during, nil}) != nil {
					break
				}
				during[k] = id
			}
			after[k] = during[k]
			delete(candidates, k)
		}
		r = after
	}
	resolved := State{}
	for k, ids := range candidates {
		for i := len(ids) - 1; i >= 0 && resolved[k] == ""; i-- {
			if auth.Check(n.events.Event(ids[i]), authState{n, r, nil}) == nil {
				resolved[k] = ids[i]
			}
		}
	}
	for k, v := range resolved {
		r[k] = v
	}
	return r
}

func hash(id string) string {
	h := sha1.Sum([]byte(id)) //nolint:gosec // as above
	return hex.EncodeToString(h[:])
}
