package statetree

import "cmp"

// Diff calls yield with each place whose event differs between a and b, until it returns false. What the trees share is
// skipped without being read. Where a node cannot be read it goes on with the others, so that whoever fetches nodes hears of all that
// are missing; the error is the first then.
func Diff(a, b Tree, yield func(Change) bool) error {
	d := differ{a: a, b: b, yield: yield}
	return d.nodes(a.root, b.root, 0)
}

type differ struct {
	a, b    Tree
	yield   func(Change) bool
	stopped bool
}

// nodes compares two nodes of the same depth; nil is the empty one.
func (d *differ) nodes(a, b *node, depth int) error {
	if d.stopped || a == b || a != nil && b != nil && a.sum() == b.sum() {
		return nil
	}
	if depth >= nibbles {
		return errTooDeep
	}
	var errA, errB error
	if a != nil {
		errA = d.a.load(a)
	}
	if b != nil {
		errB = d.b.load(b)
	}
	if err := cmp.Or(errA, errB); err != nil {
		return err
	}
	var first error
	for nib := range uint(width) {
		if err := d.slots(a, b, nib, depth); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// slots compares what the two nodes have for one nibble.
func (d *differ) slots(a, b *node, nib uint, depth int) error {
	leafA, childA := side(a, nib)
	leafB, childB := side(b, nib)
	switch {
	case leafA == nil && leafB == nil:
		return d.nodes(childA, childB, depth+1)
	case leafA != nil && leafB != nil && leafA.Tuple == leafB.Tuple:
		if leafA.Value != leafB.Value {
			d.tell(Change{leafA.Tuple, leafA.Value, leafB.Value})
		}
		return nil
	case childA == nil && childB == nil:
		if leafA != nil {
			d.tell(Change{leafA.Tuple, leafA.Value, 0})
		}
		if leafB != nil {
			d.tell(Change{leafB.Tuple, 0, leafB.Value})
		}
		return nil
	}
	// A leaf against a node: it stands for a node that holds only it.
	nodeA, err := asNode(leafA, childA, depth+1)
	if err != nil {
		return err
	}
	nodeB, err := asNode(leafB, childB, depth+1)
	if err != nil {
		return err
	}
	return d.nodes(nodeA, nodeB, depth+1)
}

// side gives the leaf or the child that a node has for a nibble.
func side(n *node, nib uint) (*Entry, *node) {
	if n == nil {
		return nil, nil
	}
	i, ok := n.at(nib)
	if !ok {
		return nil, nil
	}
	if l := n.slots[i].leaf; l != nil {
		return l, nil
	}
	return nil, n.childAt(i)
}

func asNode(l *Entry, child *node, depth int) (*node, error) {
	if l == nil {
		return child, nil
	}
	if depth >= nibbles {
		return nil, errTooDeep
	}
	p := pathOf(l.Tuple)
	return &node{used: 1 << p.nibble(depth), slots: []slot{{leaf: l}}}, nil
}

func (d *differ) tell(c Change) {
	if !d.stopped {
		d.stopped = !d.yield(c)
	}
}
