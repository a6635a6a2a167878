package room

import (
	"errors"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// Step takes one input. It changes memory only; afterwards Ready says what is to be done.
func (m *Machine) Step(in Input) {
	switch in := in.(type) {
	case Facts:
		m.learn(in)
		m.drain()
	case TypingExpired:
		m.typing.expire(in.Now)
	default:
		m.queue = append(m.queue, m.apart(in)...)
		m.drain()
	}
}

// errMissing says that facts are missing; the draft lists them.
var errMissing = errors.New("room: facts are missing")

// drain handles the waiting inputs in order, until one needs facts.
func (m *Machine) drain() {
	for len(m.queue) > 0 && m.missing == nil {
		d := m.draft()
		err := d.handle(m.queue[0])
		if err == nil {
			err = d.fold()
		}
		if err == nil {
			err = d.restick()
		}
		if !d.need.empty() {
			m.lookAhead(&d.need)
			if v := d.ver(); v != nil {
				d.need.Version = v.ID
			}
			d.need.unique()
			m.missing = &d.need
			return
		}
		ticket := ticketOf(m.queue[0])
		if in, ok := m.queue[0].(Approved); ok {
			delete(m.approving, in.Approval.Event.ID())
		}
		m.queue[0] = nil
		m.queue = m.queue[1:]
		m.passing.end(m.queue)
		if err != nil {
			m.refuse(ticket, mxerr.From(err))
			continue
		}
		m.accept(d, ticket)
	}
	if len(m.queue) == 0 {
		m.queue = nil
	}
}

// handle works the input out in the draft. Its error is a refusal, unless facts are missing.
func (d *draft) handle(in Input) error {
	switch in := in.(type) {
	case Create:
		return d.create(in)
	case outlier:
		return d.addOutlier(in)
	case SeedRoom:
		return d.seed(in)
	case SetOutOfBand:
		return d.setOutOfBand(in)
	case ChangeMembership:
		if !d.resident() {
			return d.endOutOfBand(in)
		}
	}
	if !d.m.Exists() {
		return mxerr.NotFound("this server does not know the room %s", d.m.o.RoomID)
	}
	switch in := in.(type) {
	case Propose:
		return d.propose(in)
	case ChangeMembership:
		return d.changeMembership(in)
	case Forget:
		return d.forget(in)
	case SetTyping:
		return d.setTyping(in)
	case SendReceipt:
		return d.sendReceipt(in)
	case CreateAlias:
		return d.createAlias(in)
	case DeleteAlias:
		return d.deleteAlias(in)
	case MoveAliases:
		return d.moveAliases(in)
	case SetPublished:
		return d.setPublished(in)
	case received:
		return d.receive(in)
	case ReceivePDUAt:
		return d.receiveAt(in)
	case Backfill:
		return d.backfill(in)
	case MakeMembership:
		return d.makeMembership(in)
	case TellState:
		return d.tellState(in)
	case BecomeWhole:
		return d.becomeWhole()
	case SendMembership:
		return d.sendMembership(in)
	case BuildEvent:
		return d.buildEvent(in)
	case Approved:
		return d.approved(in)
	}
	return mxerr.Unknown("the room does not know this request")
}

// ticketOf is the ticket of a request, 0 for other inputs.
func ticketOf(in Input) uint64 {
	if r, ok := in.(interface{ ticket() uint64 }); ok {
		return r.ticket()
	}
	return 0
}

func (f From) ticket() uint64 { return f.Ticket }

// refuse answers after what is before it: a refusal may rest on what is not durable yet.
func (m *Machine) refuse(ticket uint64, err *mxerr.Error) {
	if ticket == 0 {
		return
	}
	b := m.batch(false)
	b.Replies = append(b.Replies, Reply{Ticket: ticket, Err: err})
}

// accept makes the draft the tip, and its changes part of a pending batch.
func (m *Machine) accept(d *draft, ticket uint64) {
	b := m.batch(d.alone)
	if d.approval != nil {
		m.approving[d.approval.Event.ID()] = true
	}
	d.keep()
	d.moveInto(b)
	if d.moved { // its nodes were read through the draft, which it would hold with all that it changed
		d.head.state = statetree.Open(d.head.state.Root(), m.fetch)
	}
	m.head, m.version = d.head, d.version
	b.head, b.version = d.head, d.version
	if ticket != 0 {
		b.Replies = append(b.Replies, Reply{Ticket: ticket, Entry: d.answer, Results: d.results, Built: d.built, Approval: d.approval})
	}
}

// batch is the pending batch to add to. One that must be alone is followed by a new one.
func (m *Machine) batch(alone bool) *Batch {
	if n := len(m.pending); n > 0 && !alone {
		last := m.pending[n-1]
		if !last.alone && len(last.Entries)+len(last.Older)+len(last.Outliers) < maxBatchEvents && last.bytes < maxBatchBytes {
			return last
		}
	}
	m.batches++
	b := &Batch{number: m.batches, alone: alone, head: m.head, version: m.version, PublicBefore: -1}
	m.pending = append(m.pending, b)
	return b
}
