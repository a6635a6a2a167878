package stateres

import (
	"cmp"
	"iter"
)

// WalkedChains walks the auth events of events that are at hand. It remembers the graph that it has seen. It is not safe for
// concurrent use.
type WalkedChains struct{ graph *Graph[string] }

// NewChains gives Chains for the events.
func NewChains(events Events) *WalkedChains {
	return &WalkedChains{NewGraph(func(id string) ([]string, error) {
		e := events.Event(id)
		if e == nil {
			return nil, &MissingError{id}
		}
		return e.AuthEvents(), nil
	})}
}

// AuthDifference implements Chains.
func (c *WalkedChains) AuthDifference(unconflicted iter.Seq[string], conflicted [][]string) ([]string, error) {
	var failed error
	difference, err := c.graph.Difference(func(yield func(string) bool) {
		for id := range unconflicted {
			cites, err := c.graph.read(id)
			if failed = err; err != nil {
				return
			}
			for _, cited := range cites {
				if !yield(cited) {
					return
				}
			}
		}
	}, conflicted)
	return difference, cmp.Or(err, failed)
}

// Subgraph implements Chains.
func (c *WalkedChains) Subgraph(ids []string) ([]string, error) { return c.graph.Subgraph(ids) }
