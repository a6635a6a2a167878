package room

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// A snapshot is the tip without the events: what a machine cannot learn from the newest part of the journal. Its first
// byte is the format. Integers are varints, strings have their length in front.
const snapshotFormat = 1

var errSnapshot = errors.New("room: the snapshot is damaged")

// Snapshot encodes the tip as it is after the batch.
func (b *Batch) Snapshot() []byte { return encodeSnapshot(b.head, b.version) }

// Snapshot encodes the tip. It describes the journal only when everything is durable; see Idle.
func (m *Machine) Snapshot() []byte { return encodeSnapshot(m.head, m.version) }

func encodeSnapshot(h head, v *roomversion.Version) []byte {
	if v == nil {
		return []byte{snapshotFormat, 0}
	}
	w := append(make([]byte, 0, 512), snapshotFormat, 1)
	w = appendText(w, v.ID)
	w = binary.AppendUvarint(w, h.seq)
	w = binary.AppendVarint(w, h.receivedTS)
	w = appendText(w, h.createID)
	root := h.state.Root()
	w = append(w, root[:]...)
	w = binary.AppendUvarint(w, uint64(len(h.extremities)))
	for _, x := range h.extremities {
		w = binary.AppendUvarint(w, x.Seq)
		w = appendText(w, x.EventID)
		w = binary.AppendVarint(w, x.Depth)
		w = append(w, x.State[:]...)
	}
	for _, text := range h.summary.texts() {
		w = appendText(w, *text)
	}
	for _, n := range h.summary.numbers() {
		w = binary.AppendVarint(w, *n)
	}
	published := byte(0)
	if h.summary.Published {
		published = 1
	}
	return append(w, published)
}

// texts and numbers are the summary's fields in the snapshot's order. New ones go to the end, with a new format.
func (s *Summary) texts() []*string {
	return []*string{
		&s.Version, &s.Creator, &s.Name, &s.Topic, &s.AvatarURL, &s.CanonicalAlias, &s.JoinRule, &s.GuestAccess,
		&s.HistoryVisibility, &s.RoomType, &s.Encryption, &s.UpgradedTo,
	}
}

func (s *Summary) numbers() []*int64 {
	return []*int64{&s.CreatedTS, &s.JoinedMembers, &s.InvitedMembers}
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// Restore makes a machine from a snapshot; nil is a room without one. Replay then brings it to the journal's end.
func Restore(o Options, snapshot []byte) (*Machine, error) {
	m := New(o)
	if snapshot == nil {
		return m, nil
	}
	r := reader{rest: snapshot}
	if format := r.byte(); format != snapshotFormat {
		return nil, fmt.Errorf("%w: format %d", errSnapshot, format)
	}
	if r.byte() == 0 {
		return m, r.end()
	}
	id := r.text()
	version, ok := roomversion.Get(id)
	if !ok {
		return nil, fmt.Errorf("%w: room version %q", errSnapshot, id)
	}
	m.version = version
	r.head(&m.head, m.fetch)
	m.stored = m.head.state.Root()
	return m, r.end()
}

// reader decodes a snapshot; after the first failure it reads zeros.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) head(h *head, fetch statetree.Fetcher) {
	h.seq = r.uvarint()
	h.receivedTS = r.varint()
	h.createID = r.text()
	h.state = statetree.Open(r.hash(), fetch)
	for range r.count() {
		h.extremities = append(h.extremities, Extremity{Seq: r.uvarint(), EventID: r.text(), Depth: r.varint(), State: r.hash()})
	}
	for _, text := range h.summary.texts() {
		*text = r.text()
	}
	for _, n := range h.summary.numbers() {
		*n = r.varint()
	}
	h.summary.Published = r.byte() == 1
}

func (r *reader) take(n uint64) []byte {
	if r.failed || n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is a number of things that take at least a byte each.
func (r *reader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return 0
	}
	return n
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) hash() statetree.Hash {
	var h statetree.Hash
	copy(h[:], r.take(uint64(len(h))))
	return h
}

func (r *reader) end() error {
	if r.failed || len(r.rest) > 0 {
		return errSnapshot
	}
	return nil
}
