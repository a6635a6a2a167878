package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/persistence"
)

// request is a commit or a claim in the queue. Rows are encoded when they are submitted, on the submitter's goroutine;
// only the position is left to be stamped.
type request struct {
	stream   persistence.Stream
	epoch    persistence.Epoch
	seq      uint64
	advance  uint64
	snapshot []byte
	claim    bool
	buf      []byte // the keys and values of ops, one after another
	ops      []op
	stamps   []int
	absent   [][]byte
	size     int
	notices  []proto.Message
	done     persistence.Done

	// The fate, set by the committer.
	position persistence.Position
	claimed  persistence.Epoch
	err      error
}

// op is a change of one row: where its key and value end in buf.
type op struct {
	key, value int
	delete     bool
}

// write is an op with its bytes.
type write struct {
	key, value []byte
	delete     bool
}

func (r *request) fenced() bool { return r.stream != persistence.Stream{} }

func (r *request) writes() iter.Seq[write] {
	return func(yield func(write) bool) {
		from := 0
		for _, o := range r.ops {
			if !yield(write{key: r.buf[from:o.key], value: r.buf[o.key:o.value], delete: o.delete}) {
				return
			}
			from = o.value
		}
	}
}

// requestOverhead is what a request takes besides its rows, roughly.
const requestOverhead = 256

// encode makes a request of the commit.
func (s *Store) encode(c *persistence.Commit) (*request, error) {
	r := &request{stream: c.Stream, epoch: c.Epoch, seq: c.Seq, advance: c.Advance, snapshot: c.Snapshot, notices: c.Notices}
	if !r.fenced() && (c.Epoch != 0 || c.Seq != 0 || c.Advance != 0 || c.Snapshot != nil) {
		return r, errors.New("persistence: a commit without a stream cannot name an epoch, a sequence number or a snapshot")
	}
	if r.fenced() {
		if err := checkStream(c.Stream); err != nil {
			return r, err
		}
	}
	if len(c.Write) > 0 {
		r.buf = takeBuffer()
		r.ops = make([]op, 0, len(c.Write))
	}
	for _, m := range c.Write {
		prefix, err := s.table(m.Schema)
		if err != nil {
			return r, err
		}
		r.buf = append(r.buf, prefix...)
		if m.Delete {
			r.buf = m.Schema.EncodeKey(r.buf, m.Row, nil)
			r.ops = append(r.ops, op{key: len(r.buf), value: len(r.buf), delete: true})
			continue
		}
		r.buf = m.Schema.EncodeKey(r.buf, m.Row, &r.stamps)
		o := op{key: len(r.buf)}
		r.buf = m.Schema.EncodeValue(r.buf, m.Row, &r.stamps)
		o.value = len(r.buf)
		r.ops = append(r.ops, o)
	}
	for _, m := range c.Absent {
		prefix, err := s.table(m.Schema)
		if err != nil {
			return r, err
		}
		key := m.Schema.EncodeKey(append(make([]byte, 0, 128), prefix...), m.Row, nil)
		r.absent = append(r.absent, key)
		r.size += len(key)
	}
	r.size += requestOverhead + len(r.buf) + len(r.snapshot)
	if r.size > maxCommitBytes {
		return r, fmt.Errorf("persistence: a commit of %d bytes is larger than %d", r.size, maxCommitBytes)
	}
	return r, nil
}

// buffers are those of requests whose rows are in a batch.
var buffers sync.Pool

const (
	newBuffer  = 4 << 10
	keptBuffer = 64 << 10 // larger ones are not used again
)

func takeBuffer() []byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, newBuffer)
}

// encoded says that the rows are in the batch, and will not be looked at again.
func (r *request) encoded() {
	if buf := r.buf; buf != nil && cap(buf) <= keptBuffer {
		buffers.Put(&buf)
	}
	r.buf, r.ops = nil, nil
}

// maxCommitBytes keeps a batch far below what Pebble can write at once, which is 4 GiB.
const maxCommitBytes = 1 << 30

// appendSnapshot is how a snapshot is kept: after the sequence number at which it was taken.
func appendSnapshot(dst []byte, seq uint64, snapshot []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return append(dst, snapshot...)
}

func decodeSnapshot(b []byte) (seq uint64, snapshot []byte, err error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("%w: a snapshot has %d bytes", persistence.ErrCorrupt, len(b))
	}
	return binary.BigEndian.Uint64(b), append([]byte{}, b[8:]...), nil
}
