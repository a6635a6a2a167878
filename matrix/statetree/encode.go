package statetree

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/matrixon/matrixon/matrix/event"
)

// A node is stored as two bitmaps of its slots, big-endian — which are used, which of these are leaves — and then the slots in
// order: a leaf as type and state key, each after its length, and the event's number, all as varints; a child as its hash.

// sum computes the node's hash and bytes unless they are known.
func (n *node) sum() Hash {
	if n.hash != (Hash{}) {
		return n.hash
	}
	leaves := uint16(0)
	size := 4
	for nib := range uint(width) {
		if i, ok := n.at(nib); ok && n.slots[i].leaf != nil {
			leaves |= 1 << nib
			size += len(n.slots[i].leaf.Type) + len(n.slots[i].leaf.StateKey) + 12
		} else if ok {
			size += len(Hash{})
		}
	}
	b := binary.BigEndian.AppendUint16(make([]byte, 0, size), n.used)
	b = binary.BigEndian.AppendUint16(b, leaves)
	for i := range n.slots {
		s := &n.slots[i]
		if s.leaf == nil {
			if s.child != nil {
				s.hash = s.child.sum()
			}
			b = append(b, s.hash[:]...)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(s.leaf.Type)))
		b = append(b, s.leaf.Type...)
		b = binary.AppendUvarint(b, uint64(len(s.leaf.StateKey)))
		b = append(b, s.leaf.StateKey...)
		b = binary.AppendUvarint(b, s.leaf.Value)
	}
	full := sha256.Sum256(b)
	copy(n.hash[:], full[:])
	n.bytes = b
	return n.hash
}

var errNode = errors.New("statetree: not the bytes of a node")

// decode reads a stored node.
func decode(b []byte) (*node, error) {
	if len(b) < 4 {
		return nil, errNode
	}
	n := &node{used: binary.BigEndian.Uint16(b)}
	leaves := binary.BigEndian.Uint16(b[2:])
	if leaves&^n.used != 0 || n.used == 0 {
		return nil, fmt.Errorf("%w: slots %016b, leaves %016b", errNode, n.used, leaves)
	}
	n.slots = make([]slot, 0, bits.OnesCount16(n.used))
	rest := b[4:]
	for nib := range uint(width) {
		bit := uint16(1) << nib
		switch {
		case n.used&bit == 0:
		case leaves&bit == 0:
			if len(rest) < len(Hash{}) {
				return nil, errNode
			}
			n.slots = append(n.slots, slot{hash: Hash(rest)})
			rest = rest[len(Hash{}):]
		default:
			l, after, err := decodeLeaf(rest)
			if err != nil {
				return nil, err
			}
			n.slots, rest = append(n.slots, slot{leaf: l}), after
		}
	}
	if len(rest) != 0 {
		return nil, errNode
	}
	return n, nil
}

func decodeLeaf(b []byte) (*leaf, []byte, error) {
	typ, b, err := decodeString(b)
	if err != nil {
		return nil, nil, err
	}
	stateKey, b, err := decodeString(b)
	if err != nil {
		return nil, nil, err
	}
	value, n := binary.Uvarint(b)
	if n <= 0 || value == 0 {
		return nil, nil, errNode
	}
	tuple := event.Tuple{Type: typ, StateKey: stateKey}
	return &leaf{Entry{tuple, value}, keyOf(tuple)}, b[n:], nil
}

func decodeString(b []byte) (string, []byte, error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, errNode
	}
	end := n + int(size)
	return string(b[n:end]), b[end:], nil
}
