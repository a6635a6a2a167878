package cluster

import (
	"cmp"
	"fmt"
	"slices"
)

// NodeLoad is how busy a member is.
type NodeLoad struct {
	Name   string
	Weight float64
	Load   float64 // processors that its actors keep busy
}

// ActorLoad is how busy one actor is.
type ActorLoad struct {
	ID     Identity
	Node   string
	Load   float64 // share of a processor
	Pinned bool    // an operator put it where it is
}

// PlannedMove is a move that would even out the load, and why.
type PlannedMove struct {
	ID       Identity
	From, To string
	Load     float64
	Why      string
}

// Balance says when and how much is evened out.
type Balance struct {
	// Tolerance is how much busier than the average, in relation to its weight, a node may be: 0.25 is a quarter.
	Tolerance float64
	// Least is the load of a node, in processors, below which it is never too busy.
	Least float64
	// Moves is the most moves of one plan.
	Moves int
}

// leastGain is how much of what a node carries above the average a move must take from it.
const leastGain = 0.01

// Plan names the few moves of busy actors that even out the load best: each takes from the node that is busiest for its weight and
// gives to the one that is least so, and leaves the busier of the two less busy than before. Moving costs a pause, so a plan is
// empty when nothing is much gained. Actors that are not listed stay.
func (b Balance) Plan(nodes []NodeLoad, actors []ActorLoad) []PlannedMove {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n NodeLoad) bool { return n.Weight <= 0 })
	if len(nodes) < 2 {
		return nil
	}
	slices.SortFunc(nodes, func(a, b NodeLoad) int { return cmp.Compare(a.Name, b.Name) })
	var load, weight float64
	for _, n := range nodes {
		load += n.Load
		weight += n.Weight
	}
	average := load / weight
	use := func(n NodeLoad) float64 { return n.Load / n.Weight }
	byUse := func(a, b NodeLoad) int { return cmp.Compare(use(a), use(b)) }
	left := slices.Clone(actors)
	var moves []PlannedMove
	for len(moves) < b.Moves {
		from := slices.IndexFunc(nodes, func(n NodeLoad) bool { return n == slices.MaxFunc(nodes, byUse) })
		to := slices.IndexFunc(nodes, func(n NodeLoad) bool { return n == slices.MinFunc(nodes, byUse) })
		busy, idle := &nodes[from], &nodes[to]
		if busy.Load < b.Least || use(*busy) <= average*(1+b.Tolerance) {
			break
		}
		best, after := -1, use(*busy)-leastGain*(use(*busy)-average)
		for i, a := range left {
			if a.Node != busy.Name || a.Pinned || a.Load <= 0 {
				continue
			}
			if then := max((busy.Load-a.Load)/busy.Weight, (idle.Load+a.Load)/idle.Weight); then < after {
				best, after = i, then
			}
		}
		if best < 0 {
			break
		}
		a := left[best]
		moves = append(moves, PlannedMove{ID: a.ID, From: busy.Name, To: idle.Name, Load: a.Load,
			Why: fmt.Sprintf("%s carries %.3f of a processor and %s %.3f, for an average of %.3f by weight; this actor is %.3f of it",
				busy.Name, busy.Load, idle.Name, idle.Load, average, a.Load)})
		busy.Load -= a.Load
		idle.Load += a.Load
		left = slices.Delete(left, best, best+1)
	}
	return moves
}
