package stateres

import "iter"

// Graph walks auth events, whatever names them. It remembers what it has seen, so that a chain costs time in its length once.
// It is not safe for concurrent use.
type Graph[K comparable] struct {
	read    func(K) ([]K, error)
	numbers map[K]int32
	keys    []K
	edges   [][]int32 // the auth events of each event; nil until they were read
	seen    []int32   // the walk that saw the event last
	walk    int32
}

// NewGraph gives a graph; cites tells the auth events of an event, and is asked once for each.
func NewGraph[K comparable](cites func(K) ([]K, error)) *Graph[K] {
	return &Graph[K]{read: cites, numbers: map[K]int32{}}
}

// Difference is ∪Cᵢ − ∩Cᵢ (see Chains.AuthDifference). cited gives the auth events of the unconflicted events, which are many more than the
// events that they cite; it is read only when the chains of the conflicted differ.
func (g *Graph[K]) Difference(cited iter.Seq[K], conflicted [][]K) ([]K, error) {
	states := map[int32]int{}
	for _, keys := range conflicted {
		chain, err := g.chain(g.numbersOf(keys))
		if err != nil {
			return nil, err
		}
		for _, n := range chain {
			states[n]++
		}
	}
	for n, count := range states {
		if count == len(conflicted) {
			delete(states, n)
		}
	}
	if len(states) == 0 {
		return nil, nil
	}
	g.walk++
	var shared []int32
	for key := range cited {
		if n := g.number(key); g.seen[n] != g.walk {
			g.seen[n] = g.walk
			shared = append(shared, n)
		}
	}
	shared, err := g.closure(shared)
	if err != nil {
		return nil, err
	}
	for _, n := range shared {
		delete(states, n)
	}
	difference := make([]K, 0, len(states))
	for n := range states {
		difference = append(difference, g.keys[n])
	}
	return difference, nil
}

// Subgraph is the conflicted state subgraph of the events (see Chains.Subgraph).
func (g *Graph[K]) Subgraph(keys []K) ([]K, error) {
	from := g.numbersOf(keys)
	below, err := g.chain(from)
	if err != nil {
		return nil, err
	}
	citedBy := map[int32][]int32{}
	walked := make(map[int32]bool, len(below)+len(from))
	for _, list := range [][]int32{below, from} {
		for _, n := range list {
			if walked[n] {
				continue
			}
			walked[n] = true
			for _, a := range g.edges[n] {
				citedBy[a] = append(citedBy[a], n)
			}
		}
	}
	// What the walk has seen leads down from the events; of that, climbing up from the events keeps what leads to one.
	g.walk++
	var subgraph []K
	for stack := from; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if g.seen[n] == g.walk {
			continue
		}
		g.seen[n] = g.walk
		subgraph = append(subgraph, g.keys[n])
		stack = append(stack, citedBy[n]...)
	}
	return subgraph, nil
}

// chain is the union of the auth chains of the events.
func (g *Graph[K]) chain(from []int32) ([]int32, error) {
	g.walk++
	var chain []int32
	var err error
	for _, n := range from {
		if chain, err = g.extend(chain, n); err != nil {
			return nil, err
		}
	}
	return g.closure(chain)
}

// closure adds to the events, which this walk has seen, their auth chains.
func (g *Graph[K]) closure(chain []int32) (_ []int32, err error) {
	for i := 0; i < len(chain); i++ {
		if chain, err = g.extend(chain, chain[i]); err != nil {
			return nil, err
		}
	}
	return chain, nil
}

// extend adds the auth events of an event that this walk has not seen.
func (g *Graph[K]) extend(chain []int32, n int32) ([]int32, error) {
	edges, err := g.expand(n)
	for _, a := range edges {
		if g.seen[a] != g.walk {
			g.seen[a] = g.walk
			chain = append(chain, a)
		}
	}
	return chain, err
}

// expand gives the auth events of an event.
func (g *Graph[K]) expand(n int32) ([]int32, error) {
	if g.edges[n] == nil {
		cites, err := g.read(g.keys[n])
		if err != nil {
			return nil, err
		}
		g.edges[n] = g.numbersOf(cites)
	}
	return g.edges[n], nil
}

func (g *Graph[K]) numbersOf(keys []K) []int32 {
	numbers := make([]int32, len(keys))
	for i, key := range keys {
		numbers[i] = g.number(key)
	}
	return numbers
}

func (g *Graph[K]) number(key K) int32 {
	n, ok := g.numbers[key]
	if !ok {
		n = int32(len(g.keys))
		g.numbers[key] = n
		g.keys, g.edges, g.seen = append(g.keys, key), append(g.edges, nil), append(g.seen, 0)
	}
	return n
}
