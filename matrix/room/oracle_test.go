package room

import (
	"maps"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/stateres/naive"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// oracle knows the events of a world for the resolution in the words of the specification.
type oracle struct {
	w       *world
	entries map[string]*Entry
	states  map[statetree.Hash]naive.State
}

func newOracle(w *world) *oracle {
	o := &oracle{w, map[string]*Entry{}, map[statetree.Hash]naive.State{}}
	for _, e := range w.outliers {
		o.entries[e.Event.ID()] = e
	}
	for _, e := range w.entries {
		o.entries[e.Event.ID()] = e
	}
	return o
}

// Event implements naive.Events.
func (o *oracle) Event(id string) *event.Event { return o.entries[id].Event }

// Rejected implements naive.Events.
func (o *oracle) Rejected(id string) bool { return o.entries[id].Status == Rejected }

func (o *oracle) at(root statetree.Hash) naive.State {
	if o.states[root] == nil {
		o.states[root] = idsAt(o.w, root)
	}
	return o.states[root]
}

// merged is the resolution of the states after the events; ok is false when one of them is not here.
func (o *oracle) merged(ids []string) (state naive.State, ok bool) {
	states := make([]naive.State, len(ids))
	for i, id := range ids {
		e := o.entries[id]
		if e == nil || e.outlier() {
			return nil, false
		}
		states[i] = o.at(e.StateAfter)
	}
	return naive.Resolve(o.w.m.version, states, o), true
}

// checkOracle wants the state before every event, and the room's state now, to be what the oracle resolves. The machine works with trees,
// of which it compares what differs, and with numbers for auth events; the oracle with whole states and their auth chains.
func (n *network) checkOracle(w *world) {
	o := newOracle(w)
	for _, e := range w.entries {
		prevs := e.Event.PrevEvents()
		want, ok := o.merged(prevs)
		if !ok || len(prevs) == 0 {
			continue
		}
		if got := o.at(e.StateBefore); !maps.Equal(got, want) {
			n.rt.Fatalf("%s: the state before %s is\n%v\nand by the oracle\n%v", w.o.ServerName, e.Event.ID(), got, want)
		}
	}
	if want, ok := o.merged(ends(w)); !ok || !maps.Equal(w.current, want) {
		n.rt.Fatalf("%s: the room's state is\n%v\nand by the oracle\n%v", w.o.ServerName, w.current, want)
	}
}
