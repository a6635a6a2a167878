package destination

import (
	"cmp"
	"time"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// queueBound is how many events a destination remembers to be waiting; beyond it they are read from the store again.
const queueBound = 2000

// place is one in outbound_events: its key.
type place struct {
	pos  uint64
	room string
	seq  uint64
}

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.pos, other.pos), cmp.Compare(p.room, other.room), cmp.Compare(p.seq, other.seq))
}

// after is the place past everything that was committed up to pos.
func after(pos uint64) place { return place{pos: pos + 1} }

func placeOf(d schema.Destination) place { return place{d.SentPos, d.SentRoom, d.SentSeq} }

// cursor is where a transaction begins: after these.
type cursor struct {
	event  place
	eduPos uint64 // 0: at the first
	eduN   uint64
	missed string // the room that was sent just now
}

// queue is what is known to wait.
type queue struct {
	// known are events after the destination's place, in order. When complete is set they are all that wait; else there are more in the
	// store, before the first of them.
	known     []place
	complete  bool
	forgotten uint64 // how often rescan was called
	edus      bool   // outbound_edus may hold some
	missed    bool   // missed_rooms may
	ephemeral ephemeral
}

// newQueue is the queue of an activation that has not looked yet.
func newQueue() queue { return queue{edus: true, missed: true} }

// waiting reports whether there is something to look for.
func (q *queue) waiting() bool {
	return !q.complete || len(q.known) > 0 || q.edus || q.missed || !q.ephemeral.empty()
}

// events takes in what was committed. Notices come in the order of positions.
func (q *queue) events(n *messages.OutboundNotice) {
	for _, seq := range n.Seqs {
		q.known = append(q.known, place{n.Pos, n.RoomId, seq})
	}
	if len(q.known) > queueBound {
		q.rescan()
	}
}

// rescan forgets what is known: the store knows better.
func (q *queue) rescan() {
	q.known, q.complete = nil, false
	q.forgotten++
}

// look has the store asked for EDUs and missed rooms.
func (q *queue) look() { q.edus, q.missed = true, true }

// taking is what one transaction is put together from.
type taking struct {
	known     []place // at most as many as fit
	scan      bool    // known is not complete: read the store
	forgotten uint64
	edus      bool
	missed    bool
	ephemeral []edu
}

// take gives the next transaction its part. What is taken of typing, receipts and presence is gone from the queue.
func (q *queue) take(from place, now time.Time) taking {
	for len(q.known) > 0 && q.known[0].compare(from) <= 0 {
		q.known = q.known[1:]
	}
	t := taking{scan: !q.complete, forgotten: q.forgotten, edus: q.edus, missed: q.missed, ephemeral: q.ephemeral.drain(now)}
	if q.complete {
		t.known = q.known[:min(len(q.known), maxPDUs)]
	}
	q.edus, q.missed = false, false
	return t
}

// settle takes in what the transaction was made of: everything up to its end is dealt with. All that was committed before a scan was seen by
// it, and all after it is told, unless it was forgotten since.
func (q *queue) settle(c composition) {
	q.complete = q.complete || c.complete && c.forgotten == q.forgotten
	for len(q.known) > 0 && q.known[0].compare(c.end) <= 0 {
		q.known = q.known[1:]
	}
	if len(q.known) == 0 {
		q.known = nil
	}
	q.edus = q.edus || c.moreEDUs
	q.missed = q.missed || c.moreMissed
	q.ephemeral.putBack(c.left)
}
