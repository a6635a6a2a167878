package stateres

import "iter"

// WalkedChains walks the auth events. It remembers the graph that it has seen, so it costs time in the length of the auth
// chains once. It is not safe for concurrent use.
type WalkedChains struct {
	events  Events
	numbers map[string]int32
	ids     []string
	cites   [][]int32 // the auth events of each event; nil until the event was read
	seen    []int32   // the walk that saw the event last
	walk    int32
}

// NewChains gives Chains for the events.
func NewChains(events Events) *WalkedChains {
	return &WalkedChains{events: events, numbers: map[string]int32{}}
}

// AuthDifference implements Chains.
func (c *WalkedChains) AuthDifference(unconflicted iter.Seq[string], conflicted [][]string) ([]string, error) {
	var stack []int32
	for id := range unconflicted {
		stack = append(stack, c.number(id))
	}
	shared, err := c.chain(stack, nil)
	if err != nil {
		return nil, err
	}
	inAll := make([]bool, len(c.ids))
	for _, n := range shared {
		inAll[n] = true
	}
	states := map[int32]int{}
	for _, ids := range conflicted {
		chain, err := c.chain(c.numbersOf(ids), inAll)
		if err != nil {
			return nil, err
		}
		for _, n := range chain {
			states[n]++
		}
	}
	var difference []string
	for n, count := range states {
		if count < len(conflicted) {
			difference = append(difference, c.ids[n])
		}
	}
	return difference, nil
}

// Subgraph implements Chains.
func (c *WalkedChains) Subgraph(ids []string) ([]string, error) {
	from := c.numbersOf(ids)
	below, err := c.chain(from, nil)
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
			for _, a := range c.cites[n] {
				citedBy[a] = append(citedBy[a], n)
			}
		}
	}
	// What the walk has seen leads down from the events; of that, climbing up from the events keeps what leads to one.
	c.walk++
	var subgraph []string
	for stack := from; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if c.seen[n] == c.walk {
			continue
		}
		c.seen[n] = c.walk
		subgraph = append(subgraph, c.ids[n])
		stack = append(stack, citedBy[n]...)
	}
	return subgraph, nil
}

// chain is the union of the auth chains of the events, without those in skip, whose own chains must be in skip too.
func (c *WalkedChains) chain(from []int32, skip []bool) ([]int32, error) {
	c.walk++
	var chain []int32
	expand := func(n int32) error {
		cites, err := c.read(n)
		if err != nil {
			return err
		}
		for _, a := range cites {
			if c.seen[a] != c.walk && (int(a) >= len(skip) || !skip[a]) {
				c.seen[a] = c.walk
				chain = append(chain, a)
			}
		}
		return nil
	}
	for _, n := range from {
		if err := expand(n); err != nil {
			return nil, err
		}
	}
	for i := 0; i < len(chain); i++ {
		if err := expand(chain[i]); err != nil {
			return nil, err
		}
	}
	return chain, nil
}

// read gives the auth events of an event.
func (c *WalkedChains) read(n int32) ([]int32, error) {
	if c.cites[n] == nil {
		e := c.events.Event(c.ids[n])
		if e == nil {
			return nil, &MissingError{c.ids[n]}
		}
		cites := make([]int32, 0, len(e.AuthEvents()))
		for _, id := range e.AuthEvents() {
			cites = append(cites, c.number(id))
		}
		c.cites[n] = cites
	}
	return c.cites[n], nil
}

func (c *WalkedChains) numbersOf(ids []string) []int32 {
	numbers := make([]int32, len(ids))
	for i, id := range ids {
		numbers[i] = c.number(id)
	}
	return numbers
}

func (c *WalkedChains) number(id string) int32 {
	n, ok := c.numbers[id]
	if !ok {
		n = int32(len(c.ids))
		c.numbers[id] = n
		c.ids, c.cites, c.seen = append(c.ids, id), append(c.cites, nil), append(c.seen, 0)
	}
	return n
}
