// Package statetree is a room's state as a persistent map from (type, state key) to the number of an event in the room's
// journal. A change copies the path to it and shares the rest, so that the state after every event costs O(log n); nodes are
// named by their content, so that two states are compared by skipping what they share, and stored once.
//
// The shape is a hash trie: a key's SHA-256 is read four bits at a time, and a leaf stands at the first node where it is
// alone. The shape depends on the content only, never on the order of changes, so equal states have equal roots.
//
// What a Fetcher gives is checked against the hash that was asked for, so that damaged storage is an error and never another state.
package statetree

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"

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
	slots []slot // nil until loaded
	hash  Hash   // zero until computed
	bytes []byte // the encoding, from when the hash is computed until Fresh hands it over
}

// slot holds a leaf, or a child: loaded, or known by its hash only.
type slot struct {
	leaf  *Entry
	child *node
	hash  Hash
}

// path is where a key leads through the trie: its SHA-256.
type path [sha256.Size]byte

const (
	nibbles = sha256.Size * 2
	width   = 16
)

var errTooDeep = errors.New("statetree: two keys have the same SHA-256")

// pathOf hashes the type behind its length, so that no two keys are the same bytes.
func pathOf(t event.Tuple) path {
	b := binary.AppendUvarint(make([]byte, 0, 128), uint64(len(t.Type)))
	b = append(b, t.Type...)
	b = append(b, t.StateKey...)
	return sha256.Sum256(b)
}

func (p *path) nibble(depth int) uint {
	b := p[depth/2]
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
	if t.fetch == nil {
		return fmt.Errorf("statetree: nothing to fetch the node %x from", n.hash)
	}
	b, err := t.fetch(n.hash)
	if err != nil {
		return err
	}
	if hashOf(b) != n.hash {
		return fmt.Errorf("%w %x", errNode, n.hash)
	}
	n.used, n.slots, err = decode(b)
	return err
}

// childAt gives a child, which may not be loaded.
func (n *node) childAt(i int) *node {
	s := &n.slots[i]
	if s.child == nil {
		s.child = &node{hash: s.hash}
	}
	return s.child
}

func (t Tree) child(n *node, i int) (*node, error) {
	child := n.childAt(i)
	return child, t.load(child)
}

// Get gives the number of the event in the place; ok is false when it is empty.
func (t Tree) Get(tuple event.Tuple) (value uint64, ok bool, err error) {
	if t.root == nil {
		return 0, false, nil
	}
	p := pathOf(tuple)
	n := t.root
	if err := t.load(n); err != nil {
		return 0, false, err
	}
	for depth := range nibbles {
		i, ok := n.at(p.nibble(depth))
		if !ok {
			return 0, false, nil
		}
		if l := n.slots[i].leaf; l != nil {
			if l.Tuple != tuple {
				return 0, false, nil
			}
			return l.Value, true, nil
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
	root := &node{slots: []slot{}}
	if t.root != nil {
		if err := t.load(t.root); err != nil {
			return t, err
		}
		root = t.root
	}
	p := pathOf(tuple)
	root, err := t.set(root, &Entry{tuple, value}, &p, 0)
	if err != nil {
		return t, err
	}
	return Tree{root, t.fetch}, nil
}

func (t Tree) set(n *node, l *Entry, p *path, depth int) (*node, error) {
	if depth >= nibbles {
		return nil, errTooDeep
	}
	nib := p.nibble(depth)
	i, ok := n.at(nib)
	if !ok {
		return n.insert(i, nib, slot{leaf: l.owned()}), nil
	}
	switch old := n.slots[i].leaf; {
	case old != nil && old.Tuple == l.Tuple:
		if old.Value == l.Value {
			return n, nil
		}
		return n.replace(i, slot{leaf: &Entry{old.Tuple, l.Value}}), nil
	case old != nil:
		oldPath := pathOf(old.Tuple)
		child, err := pair(old, &oldPath, l.owned(), p, depth+1)
		if err != nil {
			return nil, err
		}
		return n.replace(i, slot{child: child}), nil
	}
	child, err := t.child(n, i)
	if err != nil {
		return nil, err
	}
	changed, err := t.set(child, l, p, depth+1)
	if err != nil || changed == child {
		return n, err
	}
	return n.replace(i, slot{child: changed}), nil
}

// owned is the entry with texts of its own: the tree may live for longer than the event, whose memory they would hold.
func (l *Entry) owned() *Entry {
	return &Entry{event.Tuple{Type: strings.Clone(l.Type), StateKey: strings.Clone(l.StateKey)}, l.Value}
}

// pair makes the node that holds two leaves whose paths are the same above it.
func pair(a *Entry, pathA *path, b *Entry, pathB *path, depth int) (*node, error) {
	if depth >= nibbles {
		return nil, errTooDeep
	}
	nibA, nibB := pathA.nibble(depth), pathB.nibble(depth)
	n := &node{used: 1<<nibA | 1<<nibB}
	switch {
	case nibA < nibB:
		n.slots = []slot{{leaf: a}, {leaf: b}}
	case nibA > nibB:
		n.slots = []slot{{leaf: b}, {leaf: a}}
	default:
		child, err := pair(a, pathA, b, pathB, depth+1)
		if err != nil {
			return nil, err
		}
		n.slots = []slot{{child: child}}
	}
	return n, nil
}

// Delete gives the tree with the place empty.
func (t Tree) Delete(tuple event.Tuple) (Tree, error) {
	if t.root == nil {
		return t, nil
	}
	if err := t.load(t.root); err != nil {
		return t, err
	}
	p := pathOf(tuple)
	root, err := t.remove(t.root, tuple, &p, 0)
	if err != nil {
		return t, err
	}
	if root.used == 0 {
		root = nil
	}
	return Tree{root, t.fetch}, nil
}

func (t Tree) remove(n *node, tuple event.Tuple, p *path, depth int) (*node, error) {
	if depth >= nibbles {
		return nil, errTooDeep
	}
	nib := p.nibble(depth)
	i, ok := n.at(nib)
	if !ok {
		return n, nil
	}
	if l := n.slots[i].leaf; l != nil {
		if l.Tuple != tuple {
			return n, nil
		}
		return n.without(i, nib), nil
	}
	child, err := t.child(n, i)
	if err != nil {
		return nil, err
	}
	changed, err := t.remove(child, tuple, p, depth+1)
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
	slots := make([]slot, len(n.slots)+1)
	copy(slots, n.slots[:i])
	slots[i] = s
	copy(slots[i+1:], n.slots[i:])
	return &node{used: n.used | 1<<nib, slots: slots}
}

func (n *node) replace(i int, s slot) *node {
	slots := slices.Clone(n.slots)
	slots[i] = s
	return &node{used: n.used, slots: slots}
}

func (n *node) without(i int, nib uint) *node {
	return &node{used: n.used &^ (1 << nib), slots: slices.Delete(slices.Clone(n.slots), i, i+1)}
}

// All gives the entries in an order that depends on the content only.
func (t Tree) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if t.root != nil {
			t.walk(t.root, 0, yield)
		}
	}
}

func (t Tree) walk(n *node, depth int, yield func(Entry, error) bool) bool {
	err := t.load(n)
	if depth >= nibbles {
		err = errTooDeep
	}
	if err != nil {
		yield(Entry{}, err)
		return false
	}
	for i := range n.slots {
		if l := n.slots[i].leaf; l != nil {
			if !yield(*l, nil) {
				return false
			}
			continue
		}
		if !t.walk(n.childAt(i), depth+1, yield) {
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
	*nodes = append(*nodes, Node{n.sum(), n.takeBytes()})
	for nib := range uint(width) {
		i, ok := n.at(nib)
		if !ok || n.slots[i].child == nil {
			continue
		}
		var old *node
		if base != nil && base.slots != nil {
			if j, ok := base.at(nib); ok && base.slots[j].leaf == nil {
				old = base.childAt(j)
			}
		}
		fresh(n.slots[i].child, old, nodes)
	}
}
