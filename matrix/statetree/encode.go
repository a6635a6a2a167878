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

// sum computes the node's hash unless it is known, and keeps the bytes that it hashed for Fresh.
func (n *node) sum() Hash {
	if n.hash == (Hash{}) {
		n.bytes = n.encode()
		n.hash = hashOf(n.bytes)
	}
	return n.hash
}

// takeBytes gives the node's bytes, and keeps them no longer: a tree in memory need not hold what is stored.
func (n *node) takeBytes() []byte {
	b := n.bytes
	if b == nil {
		return n.encode()
	}
	n.bytes = nil
	return b
}

func hashOf(b []byte) Hash {
	full := sha256.Sum256(b)
	return Hash(full[:len(Hash{})])
}

func (n *node) encode() []byte {
	leaves := uint16(0)
	size := 4
	for nib := range uint(width) {
		if i, ok := n.at(nib); ok && n.slots[i].leaf != nil {
			leaves |= 1 << nib
			size += len(n.slots[i].leaf.Type) + len(n.slots[i].leaf.StateKey) + 3*binary.MaxVarintLen32
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
	return b
}

var errNode = errors.New("statetree: these are not the bytes of the node")

// decode reads a stored node. Its leaves share one copy of the bytes.
func decode(b []byte) (used uint16, slots []slot, err error) {
	if len(b) < 4 {
		return 0, nil, errNode
	}
	used = binary.BigEndian.Uint16(b)
	leaves := binary.BigEndian.Uint16(b[2:])
	if leaves&^used != 0 || used == 0 {
		return 0, nil, fmt.Errorf("%w: slots %016b, leaves %016b", errNode, used, leaves)
	}
	slots = make([]slot, bits.OnesCount16(used))
	entries := make([]Entry, bits.OnesCount16(leaves))
	r := nodeReader{rest: b[4:], text: string(b[4:])}
	i := 0
	for bit := uint16(1); bit != 0; bit <<= 1 {
		switch {
		case used&bit == 0:
			continue
		case leaves&bit == 0:
			slots[i].hash = r.hash()
		default:
			entries[0] = Entry{event.Tuple{Type: r.string(), StateKey: r.string()}, r.value()}
			slots[i].leaf, entries = &entries[0], entries[1:]
		}
		i++
	}
	if r.failed || len(r.rest) != 0 {
		return 0, nil, errNode
	}
	return used, slots, nil
}

// nodeReader reads the slots of a stored node; failed tells, at the end, that the bytes were not those of one.
type nodeReader struct {
	rest   []byte
	text   string // the same bytes, of which strings are parts
	failed bool
}

func (r *nodeReader) skip(n int) {
	r.rest, r.text = r.rest[n:], r.text[n:]
}

// uvarint reads a number in its shortest encoding, so that a node has only one.
func (r *nodeReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.failed = true
		return 0
	}
	r.skip(n)
	return v
}

func (r *nodeReader) string() string {
	size := r.uvarint()
	if r.failed || size > uint64(len(r.text)) {
		r.failed = true
		return ""
	}
	s := r.text[:size]
	r.skip(int(size))
	return s
}

func (r *nodeReader) value() uint64 {
	v := r.uvarint()
	r.failed = r.failed || v == 0
	return v
}

func (r *nodeReader) hash() Hash {
	if r.failed || len(r.rest) < len(Hash{}) {
		r.failed = true
		return Hash{}
	}
	h := Hash(r.rest[:len(Hash{})])
	r.skip(len(h))
	r.failed = h == Hash{}
	return h
}
