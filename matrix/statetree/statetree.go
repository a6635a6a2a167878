// Package statetree is a room's state as a persistent map from (type, state key) to the number of an event in the room's
// journal. A change copies the path to it and shares the rest, so that the state after every event costs O(log n); nodes are
// named by their content, so that two states are compared by skipping what they share, and stored once.
//
// The shape is a hash trie: a key's SHA-256 is read four bits at a time, and a leaf stands at the first node where it is
// alone. The shape depends on the content only, never on the order of changes, so equal states have equal roots.
package statetree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/bits"

	"github.com/matrixon/matrixon/matrix/event"
)

// Hash names a node by its content; zero names the empty tree.
type Hash [16]byte

// HashFrom reads a hash as it is stored; no bytes mean the empty tree.
func HashFrom(b []byte) (Hash, error) {
	var h Hash
	if len(b) != 0 && len(b) != len(h) {
		return h, fmt.Errorf("statetree: a hash has %d bytes, not %d", len(b), len(h))
	}
	copy(h[:], b)
	return h, nil
}

// Fetcher gives the bytes of a stored node.
type Fetcher func(Hash) ([]byte, error)

// Node is a node to be stored.
type Node struct {
	Hash  Hash
	Bytes []byte
}

// Tree is an immutable map. Reading loads nodes and computes hashes in place, so trees that share nodes, which all made from
// one another do, must not be used by several goroutines at once.
type Tree struct {
	root  *node
	fetch Fetcher
}

// Entry is a place in the state and the number of the event in it, which is never 0.
type Entry struct {
	event.Tuple
	Value uint64
}

// Change is a place that differs between two trees; 0 means that the place is empty.
type Change struct {
	event.Tuple
	Old, New uint64
}

// node has a slot for each of the sixteen values of four bits that leads somewhere.
type node struct {
	used  uint16 // which slots there are
	slots []slot
	hash  Hash // zero until computed
	bytes []byte
}

// slot holds a leaf, or a child: loaded, or known by its hash only.
type slot struct {
	leaf  *leaf
	child *node
	hash  Hash
}

type leaf struct {
	Entry
	key [sha256.Size]byte
}

const (
	nibbles = sha256.Size * 2
	width   = 16
)

var errTooDeep = errors.New("statetree: two keys have the same SHA-256")

func keyOf(t event.Tuple) [sha256.Size]byte {
	b := make([]byte, 0, 128)
	b = append(b, t.Type...)
	b = append(b, 0)
	b = append(b, t.StateKey...)
	return sha256.Sum256(b)
}

func nibble(key *[sha256.Size]byte, depth int) uint {
	b := key[depth/2]
	if depth%2 == 0 {
		return uint(b >> 4)
	}
	return uint(b & 15)
}

// Empty is the tree without entries; fetch serves the trees made from it.
func Empty(fetch Fetcher) Tree { return Tree{fetch: fetch} }

// Open gives the stored tree with this root. Nodes are fetched when they are first needed.
func Open(root Hash, fetch Fetcher) Tree {
	if root == (Hash{}) {
		return Empty(fetch)
	}
	return Tree{root: &node{hash: root}, fetch: fetch}
}

// Root names the tree's content.
func (t Tree) Root() Hash {
	if t.root == nil {
		return Hash{}
	}
	return t.root.sum()
}

// at gives the position of the slot for a nibble, and whether it is there.
func (n *node) at(nib uint) (int, bool) {
	bit := uint16(1) << nib
	return bits.OnesCount16(n.used & (bit - 1)), n.used&bit != 0
}

// load reads the node's slots if they are not there yet.
func (t Tree) load(n *node) error {
	if n.slots != nil {
		return nil
	}
	b, err := t.fetch(n.hash)
	if err != nil {
		return err
	}
	read, err := decode(b)
	if err != nil {
		return err
	}
	n.used, n.slots, n.bytes = read.used, read.slots, b
	return nil
}

func (t Tree) child(n *node, i int) (*node, error) {
	s := &n.slots[i]
	if s.child == nil {
		s.child = &node{hash: s.hash}
	}
	return s.child, t.load(s.child)
}

// Get gives the number of the event in the place; ok is false when it is empty.
func (t Tree) Get(tuple event.Tuple) (value uint64, ok bool, err error) {
	if t.root == nil {
		return 0, false, nil
	}
	key := keyOf(tuple)
	n := t.root
	if err := t.load(n); err != nil {
		return 0, false, err
	}
	for depth := range nibbles {
		i, ok := n.at(nibble(&key, depth))
		if !ok {
			return 0, false, nil
		}
		if l := n.slots[i].leaf; l != nil {
			return l.Value, l.key == key, nil
		}
		if n, err = t.child(n, i); err != nil {
			return 0, false, err
		}
	}
	return 0, false, errTooDeep
}

// Set gives the tree with the event's number in the place.
func (t Tree) Set(tuple event.Tuple, value uint64) (Tree, error) {
	if value == 0 {
		return t, errors.New("statetree: no event has the number 0")
	}
	l := &leaf{Entry{tuple, value}, keyOf(tuple)}
	root := &node{slots: []slot{}}
	if t.root != nil {
		if err := t.load(t.root); err != nil {
			return t, err
		}
		root = t.root
	}
	root, err := t.set(root, l, 0)
	return Tree{root, t.fetch}, err
}

func (t Tree) set(n *node, l *leaf, depth int) (*node, error) {
	if depth >= nibbles {
		return nil, errTooDeep
	}
	nib := nibble(&l.key, depth)
	i, ok := n.at(nib)
	if !ok {
		return n.insert(i, nib, slot{leaf: l}), nil
	}
	old := n.slots[i].leaf
	switch {
	case old != nil && old.key == l.key:
		if old.Value == l.Value {
			return n, nil
		}
		return n.replace(i, slot{leaf: l}), nil
	case old != nil:
		child, err := t.set(&node{slots: []slot{}}, old, depth+1)
		if err != nil {
			return nil, err
		}
		if child, err = t.set(child, l, depth+1); err != nil {
			return nil, err
		}
		return n.replace(i, slot{child: child}), nil
	}
	child, err := t.child(n, i)
	if err != nil {
		return nil, err
	}
	changed, err := t.set(child, l, depth+1)
	if err != nil || changed == child {
		return n, err
	}
	return n.replace(i, slot{child: changed}), nil
}

// Delete gives the tree with the place empty.
func (t Tree) Delete(tuple event.Tuple) (Tree, error) {
	if t.root == nil {
		return t, nil
	}
	if err := t.load(t.root); err != nil {
		return t, err
	}
	key := keyOf(tuple)
	root, err := t.remove(t.root, &key, 0)
	if err != nil {
		return t, err
	}
	if root.used == 0 {
		root = nil
	}
	return Tree{root, t.fetch}, nil
}

func (t Tree) remove(n *node, key *[sha256.Size]byte, depth int) (*node, error) {
	if depth >= nibbles {
		return n, nil
	}
	nib := nibble(key, depth)
	i, ok := n.at(nib)
	if !ok {
		return n, nil
	}
	if l := n.slots[i].leaf; l != nil {
		if l.key != *key {
			return n, nil
		}
		return n.without(i, nib), nil
	}
	child, err := t.child(n, i)
	if err != nil {
		return nil, err
	}
	changed, err := t.remove(child, key, depth+1)
	if err != nil || changed == child {
		return n, err
	}
	// A leaf that is alone moves up, so that the shape depends on the content only.
	if len(changed.slots) == 1 && changed.slots[0].leaf != nil {
		return n.replace(i, changed.slots[0]), nil
	}
	return n.replace(i, slot{child: changed}), nil
}

func (n *node) insert(i int, nib uint, s slot) *node {
	slots := make([]slot, 0, len(n.slots)+1)
	slots = append(append(append(slots, n.slots[:i]...), s), n.slots[i:]...)
	return &node{used: n.used | 1<<nib, slots: slots}
}

func (n *node) replace(i int, s slot) *node {
	slots := append(make([]slot, 0, len(n.slots)), n.slots...)
	slots[i] = s
	return &node{used: n.used, slots: slots}
}

func (n *node) without(i int, nib uint) *node {
	slots := make([]slot, 0, len(n.slots)-1)
	slots = append(append(slots, n.slots[:i]...), n.slots[i+1:]...)
	return &node{used: n.used &^ (1 << nib), slots: slots}
}

// All gives the entries in an order that depends on the content only.
func (t Tree) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if t.root != nil {
			t.walk(t.root, yield)
		}
	}
}

func (t Tree) walk(n *node, yield func(Entry, error) bool) bool {
	if err := t.load(n); err != nil {
		yield(Entry{}, err)
		return false
	}
	for i := range n.slots {
		if l := n.slots[i].leaf; l != nil {
			if !yield(l.Entry, nil) {
				return false
			}
			continue
		}
		child, err := t.child(n, i)
		if err != nil {
			yield(Entry{}, err)
			return false
		}
		if !t.walk(child, yield) {
			return false
		}
	}
	return true
}

// Len counts the entries, reading all of them.
func (t Tree) Len() (int, error) {
	n := 0
	for _, err := range t.All() {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// Fresh gives the nodes of the tree that base has not, to be stored with it. Nodes that were never loaded are stored already.
func (t Tree) Fresh(base Tree) []Node {
	var nodes []Node
	if t.root != nil {
		fresh(t.root, base.root, &nodes)
	}
	return nodes
}

func fresh(n, base *node, nodes *[]Node) {
	if n.slots == nil || n == base || base != nil && n.sum() == base.sum() {
		return
	}
	n.sum()
	*nodes = append(*nodes, Node{n.hash, n.bytes})
	for nib := range uint(width) {
		i, ok := n.at(nib)
		if !ok || n.slots[i].child == nil {
			continue
		}
		var old *node
		if base != nil && base.slots != nil {
			if j, ok := base.at(nib); ok && base.slots[j].leaf == nil {
				if old = base.slots[j].child; old == nil {
					old = &node{hash: base.slots[j].hash}
				}
			}
		}
		fresh(n.slots[i].child, old, nodes)
	}
}
