package memory

import "hash/maphash"

// node is a persistent (immutable) treap: a search tree by key that is a heap by priority, the hash of the key. A root
// is a snapshot for ever.
type node struct {
	key         string
	value       []byte
	priority    uint64
	left, right *node
}

var seed = maphash.MakeSeed()

// get gives the value of the key and whether it is there.
func (n *node) get(key string) ([]byte, bool) {
	for n != nil && n.key != key {
		if key < n.key {
			n = n.left
		} else {
			n = n.right
		}
	}
	if n == nil {
		return nil, false
	}
	return n.value, true
}

// set gives a tree that has the value under the key.
func (n *node) set(key string, value []byte) *node {
	if n == nil {
		return &node{key: key, value: value, priority: maphash.String(seed, key)}
	}
	c := *n
	switch {
	case key == n.key:
		c.value = value
	case key < n.key:
		if l := n.left.set(key, value); l.priority > c.priority {
			up := *l
			c.left, up.right = l.right, &c
			return &up
		} else {
			c.left = l
		}
	default:
		if r := n.right.set(key, value); r.priority > c.priority {
			up := *r
			c.right, up.left = r.left, &c
			return &up
		} else {
			c.right = r
		}
	}
	return &c
}

// without gives a tree that does not have the key.
func (n *node) without(key string) *node {
	if n == nil {
		return nil
	}
	if key == n.key {
		return join(n.left, n.right)
	}
	c := *n
	if key < n.key {
		c.left = n.left.without(key)
	} else {
		c.right = n.right.without(key)
	}
	return &c
}

// join makes one tree of two, all keys of the first being smaller.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		c := *a
		c.right = join(a.right, b)
		return &c
	default:
		c := *b
		c.left = join(a, b.left)
		return &c
	}
}

// walk visits the entries with lower ≤ key < upper in order, or the largest first, until visit returns false.
func (n *node) walk(lower, upper string, reverse bool, visit func(*node) bool) bool {
	if n == nil {
		return true
	}
	first, second := n.left, n.right
	if reverse {
		first, second = second, first
	}
	descend := func(child *node) bool {
		if child == n.left && n.key < lower || child == n.right && n.key >= upper {
			return true
		}
		return child.walk(lower, upper, reverse, visit)
	}
	if !descend(first) {
		return false
	}
	if n.key >= lower && n.key < upper && !visit(n) {
		return false
	}
	return descend(second)
}
