package room

import (
	"cmp"
	"iter"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/stateres"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// open gives the state with this root. Nodes that are not in memory are noted as missing.
func (d *draft) open(root statetree.Hash) statetree.Tree {
	return statetree.Open(root, d.node)
}

// node gives the bytes of a node.
func (d *draft) node(h statetree.Hash) ([]byte, error) {
	if b, ok := d.nodeBytes[h]; ok {
		return b, nil
	}
	if b, ok := d.m.cache.node(h); ok {
		return b, nil
	}
	if !slices.Contains(d.need.Nodes, h) {
		d.need.Nodes = append(d.need.Nodes, h)
	}
	return nil, errNodeMissing
}

// keepNodes has nodes of new states stored with the draft.
func (d *draft) keepNodes(fresh []statetree.Node) {
	if d.nodeBytes == nil {
		d.nodeBytes = make(map[statetree.Hash][]byte, len(fresh))
	}
	for _, n := range fresh {
		if _, ok := d.nodeBytes[n.Hash]; !ok {
			d.nodeBytes[n.Hash] = n.Bytes
			d.nodes = append(d.nodes, n)
		}
	}
}

// set gives the state with another event in a place.
func (d *draft) set(state statetree.Tree, t event.Tuple, number uint64) (statetree.Tree, error) {
	changed, err := state.Set(t, number)
	if err != nil {
		return state, d.treeError(err)
	}
	d.keepNodes(changed.Fresh(state))
	return changed, nil
}

// treeError is errMissing for what is only not in memory.
func (d *draft) treeError(err error) error {
	if waiting := d.waiting(); waiting != nil {
		return waiting
	}
	return err
}

// view is a state as the authorization rules look at it.
type view struct {
	d    *draft
	tree statetree.Tree
}

// Event implements auth.State. What cannot be told yet reads as absent and is noted.
func (v view) Event(t event.Tuple) *event.Event {
	number, ok, err := v.tree.Get(t)
	if err != nil || !ok {
		return nil // the missing node was noted
	}
	if e := v.d.entry(number); e != nil {
		return e.Event
	}
	return nil
}

// merge is the state that follows from several: the resolution of their conflicts (rooms, "State resolution").
func (d *draft) merge(roots []statetree.Hash) (statetree.Tree, error) {
	roots = slices.Clone(roots)
	slices.SortFunc(roots, func(a, b statetree.Hash) int { return slices.Compare(a[:], b[:]) })
	roots = slices.Compact(roots)
	switch len(roots) {
	case 0:
		return statetree.Empty(d.node), nil
	case 1:
		return d.open(roots[0]), nil
	}
	of := mergeOf(roots)
	if root, ok := d.merged(of); ok {
		return d.open(root), nil
	}
	r := &resolution{d: d, base: d.open(roots[0]), conflicts: map[event.Tuple][]uint64{}}
	if err := r.compare(roots); err != nil {
		return r.base, err
	}
	state, err := r.resolve()
	if err == nil {
		if d.merges == nil {
			d.merges = map[string]statetree.Hash{}
		}
		d.merges[of] = state.Root()
	}
	return state, err
}

// mostMerges is how many resolutions a machine remembers. While people talk on both sides of a fork, each message meets the same one.
const mostMerges = 32

// mergeOf names the resolution of these states.
func mergeOf(roots []statetree.Hash) string {
	of := make([]byte, 0, len(roots)*len(statetree.Hash{}))
	for _, root := range roots {
		of = append(of, root[:]...)
	}
	return string(of)
}

func (d *draft) merged(of string) (root statetree.Hash, ok bool) {
	if root, ok = d.merges[of]; !ok {
		root, ok = d.m.merges[of]
	}
	return root, ok
}

// keepMerges remembers the draft's resolutions, whose nodes are stored with what it accepted. What was remembered may not hold any more when
// an event that others rest on turns out to be rejected.
func (d *draft) keepMerges() {
	for _, list := range [][]*Entry{d.entries, d.older} {
		for _, e := range list {
			if e.Status == Rejected && e.Number != 0 {
				d.m.merges = nil
				return
			}
		}
	}
	for of, root := range d.merges {
		if d.m.merges == nil || len(d.m.merges) >= mostMerges {
			d.m.merges = map[string]statetree.Hash{}
		}
		d.m.merges[of] = root
	}
}

// resolution resolves the conflicts of states.
type resolution struct {
	d     *draft
	base  statetree.Tree // one of the states
	count int
	// conflicts are the places in which the states differ, with the number of the event in each state, 0 for none.
	conflicts map[event.Tuple][]uint64
}

// compare finds the conflicts.
func (r *resolution) compare(roots []statetree.Hash) error {
	r.count = len(roots)
	var first error
	for i, root := range roots[1:] {
		other := r.d.open(root)
		err := statetree.Diff(r.base, other, func(c statetree.Change) bool {
			numbers := r.conflicts[c.Tuple]
			if numbers == nil {
				numbers = make([]uint64, r.count)
				for j := range numbers {
					numbers[j] = c.Old
				}
				r.conflicts[c.Tuple] = numbers
			}
			numbers[i+1] = c.New
			return true
		})
		if err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return r.d.treeError(first)
	}
	return nil
}

func (r *resolution) resolve() (statetree.Tree, error) {
	d := r.d
	conflicted := make([]map[event.Tuple]string, r.count)
	for i := range conflicted {
		conflicted[i] = map[event.Tuple]string{}
	}
	for t, numbers := range r.conflicts {
		for i, number := range numbers {
			if number == 0 {
				continue
			}
			if e := d.entry(number); e != nil {
				conflicted[i][t] = e.Event.ID()
			}
		}
	}
	if err := d.waiting(); err != nil {
		return r.base, err
	}
	resolved, err := stateres.ResolveConflicts(d.version, r, conflicted, r, r)
	if err != nil || !d.need.empty() {
		return r.base, d.treeError(err)
	}
	return r.apply(resolved)
}

// apply gives the state with the conflicts resolved. It goes from place to place in a fixed order, so that a repetition meets the same.
func (r *resolution) apply(resolved map[event.Tuple]string) (statetree.Tree, error) {
	state := r.base
	places := make([]event.Tuple, 0, len(r.conflicts))
	for t := range r.conflicts {
		places = append(places, t)
	}
	slices.SortFunc(places, func(a, b event.Tuple) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.StateKey, b.StateKey))
	})
	for t := range resolved {
		if r.conflicts[t] == nil { // of the auth difference alone
			places = append(places, t)
		}
	}
	for _, t := range places {
		id, ok := resolved[t]
		var err error
		if !ok {
			state, err = state.Delete(t)
		} else if e := r.d.entryByID(id); e != nil {
			state, err = state.Set(t, e.number())
		}
		if err != nil {
			return state, r.d.treeError(err)
		}
	}
	r.d.keepNodes(state.Fresh(r.base))
	return state, r.d.waiting()
}

// ID implements stateres.Unconflicted.
func (r *resolution) ID(t event.Tuple) string {
	if r.conflicts[t] != nil {
		return ""
	}
	number, ok, err := r.base.Get(t)
	if err != nil || !ok {
		return ""
	}
	if e := r.d.entry(number); e != nil {
		return e.Event.ID()
	}
	return ""
}

// IDs implements stateres.Unconflicted. Nobody asks for them: AuthDifference has the numbers.
func (r *resolution) IDs() iter.Seq[string] { return func(func(string) bool) {} }

// Event implements stateres.Events.
func (r *resolution) Event(id string) *event.Event {
	if e := r.d.entryByID(id); e != nil {
		return e.Event
	}
	return nil
}

// Rejected implements stateres.Events.
func (r *resolution) Rejected(id string) bool {
	e := r.d.entryByID(id)
	return e != nil && e.Status == Rejected
}

// AuthDifference implements stateres.Chains. The chains of what is unconflicted are walked only when those of the rest differ.
func (r *resolution) AuthDifference(_ iter.Seq[string], conflicted [][]string) ([]string, error) {
	numbers := make([][]uint64, len(conflicted))
	for i, ids := range conflicted {
		numbers[i] = r.numbers(ids)
	}
	if err := r.known(slices.Concat(numbers...)); err != nil {
		return nil, err
	}
	difference, err := r.graph().Difference(r.citedByUnconflicted, numbers)
	if err != nil || !r.d.need.empty() {
		return nil, r.d.treeError(err)
	}
	return r.ids(difference)
}

// Subgraph implements stateres.Chains.
func (r *resolution) Subgraph(ids []string) ([]string, error) {
	numbers := r.numbers(ids)
	if err := r.known(numbers); err != nil {
		return nil, err
	}
	subgraph, err := r.graph().Subgraph(numbers)
	if err != nil || !r.d.need.empty() {
		return nil, r.d.treeError(err)
	}
	return r.ids(subgraph)
}

// citedByUnconflicted gives the numbers of the auth events of the events that all states have. What is missing of their chains is asked for
// at once.
func (r *resolution) citedByUnconflicted(yield func(uint64) bool) {
	var numbers []uint64
	err := statetree.Diff(statetree.Empty(r.d.node), r.base, func(c statetree.Change) bool {
		if r.conflicts[c.Tuple] == nil {
			numbers = append(numbers, c.New)
		}
		return true
	})
	if err != nil {
		// Asking for one node after another of a large state would take for ever. What is missing is durable with all below it; the
		// state itself need not be.
		r.d.need.Trees = append(r.d.need.Trees, r.d.need.Nodes...)
		r.d.need.Nodes = nil
		return
	}
	told := map[uint64]bool{} // members cite the same few events
	for _, number := range numbers {
		cites, ok := r.edges(number)
		if !ok {
			r.d.need.Chains = append(r.d.need.Chains, number)
			continue
		}
		for _, cited := range cites {
			if told[cited] {
				continue
			}
			if told[cited] = true; !yield(cited) {
				return
			}
		}
	}
}

// known asks for the chains of the events whose auth events are not in memory.
func (r *resolution) known(numbers []uint64) error {
	for _, number := range numbers {
		if _, ok := r.edges(number); !ok {
			r.d.need.Chains = append(r.d.need.Chains, number)
		}
	}
	return r.d.waiting()
}

func (r *resolution) edges(number uint64) ([]uint64, bool) {
	for _, e := range r.d.edges {
		if e.Number == number {
			return e.Cites, true
		}
	}
	return r.d.m.cache.edges(number)
}

// graph walks the auth events. It lives as long as the draft, which may be worked out again with other numbers.
func (r *resolution) graph() *stateres.Graph[uint64] {
	return stateres.NewGraph(func(number uint64) ([]uint64, error) {
		cites, ok := r.edges(number)
		if !ok {
			r.d.need.Chains = append(r.d.need.Chains, number)
			return nil, errMissing
		}
		return cites, nil
	})
}

func (r *resolution) numbers(ids []string) []uint64 {
	numbers := make([]uint64, 0, len(ids))
	for _, id := range ids {
		if e := r.d.entryByID(id); e != nil {
			numbers = append(numbers, e.number())
		}
	}
	return numbers
}

func (r *resolution) ids(numbers []uint64) ([]string, error) {
	ids := make([]string, 0, len(numbers))
	for _, number := range numbers {
		if e := r.d.entry(number); e != nil {
			ids = append(ids, e.Event.ID())
		}
	}
	return ids, r.d.waiting()
}
