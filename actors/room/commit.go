package room

import (
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// commit is what is in flight.
type commit struct {
	batch    *room.Batch // nil for a snapshot alone
	seq      uint64      // of the stream before it
	advance  uint64
	snapshot bool
}

// submit makes the batch durable, with its notices; the rest is done when the actor hears of it.
func (a *actor) submit(b *room.Batch) {
	advance := max(b.Seq(), a.seq) - a.seq
	c := &persistence.Commit{
		Stream: a.stream(), Epoch: a.epoch, Seq: a.seq, Advance: advance,
		Write: a.rows(b), Absent: claims(b), Notices: a.notices(b),
	}
	if b.SnapshotNeeded || a.seq+advance-a.snapshotSeq >= a.deps.SnapshotEvery {
		c.Snapshot = b.Snapshot()
	}
	a.inFlight = &commit{batch: b, seq: a.seq, advance: advance, snapshot: c.Snapshot != nil}
	self := a.self
	a.deps.Store.Submit(c, func(pos persistence.Position, err error) { self.Send(committed{pos: pos, err: err}) })
}

// submitSnapshot writes a snapshot and nothing else.
func (a *actor) submitSnapshot() {
	a.inFlight = &commit{seq: a.seq, snapshot: true}
	self := a.self
	a.deps.Store.Submit(&persistence.Commit{
		Stream: a.stream(), Epoch: a.epoch, Seq: a.seq, Snapshot: a.machine.Snapshot(),
	}, func(pos persistence.Position, err error) { self.Send(committed{pos: pos, err: err}) })
}

// notices say what the batch brings, to be told when it is durable.
func (a *actor) notices(b *room.Batch) []proto.Message {
	var all []proto.Message
	if len(b.Entries) > 0 || len(b.Receipts) > 0 || len(b.Outside) > 0 || b.Whole || stickBeside(b) {
		all = append(all, a.notice(b))
	}
	if outbound := a.outboundNotice(b); outbound != nil {
		all = append(all, outbound)
	}
	for _, userID := range b.Forgotten {
		all = append(all, &messages.UserNotice{UserId: userID, ForgottenRooms: []string{a.roomID}})
	}
	return all
}

func (a *actor) notice(b *room.Batch) *messages.RoomNotice {
	n := &messages.RoomNotice{RoomId: a.roomID, LastSeq: max(a.seq, b.Seq()), Version: a.machine.Version(), Whole: b.Whole, Sticky: stickBeside(b)}
	for _, o := range b.Outside { // the state with which the room begins comes before the events that follow
		n.Events = append(n.Events, outside(o))
	}
	for _, e := range b.Entries {
		n.Events = append(n.Events, roomEvent(e))
	}
	for _, r := range b.Receipts {
		n.Receipts = append(n.Receipts, &messages.ReceiptUpdate{
			UserId: r.UserID, ReceiptType: r.Type, ThreadId: r.ThreadID, EventId: r.EventID, Ts: r.TS,
		})
	}
	return n
}

func roomEvent(e *room.Entry) *messages.RoomEvent {
	out := &messages.RoomEvent{
		Seq: e.Seq, EventId: e.Event.ID(), Type: e.Event.Type(), Sender: e.Event.Sender(),
		PrevMembership: e.PrevMembership, Status: uint64(e.Status),
	}
	if stateKey, ok := e.Event.StateKey(); ok {
		out.StateKey = &stateKey
		if e.Event.Type() == "m.room.member" {
			out.Membership = e.Event.Membership()
		}
	}
	return out
}

// claims are the rows that must not be there.
func claims(b *room.Batch) []persistence.Mutation {
	var absent []persistence.Mutation
	for _, c := range b.Aliases {
		if c.Claim {
			absent = append(absent, schema.Aliases.Put(schema.Alias{Alias: c.Alias}))
		}
	}
	return absent
}

// rows are the changes of tables that the batch means.
func (a *actor) rows(b *room.Batch) []persistence.Mutation {
	w := make(writes, 0, 4*len(b.Entries)+len(b.Nodes)+len(b.Receipts)+4)
	for _, e := range b.Entries {
		w.event(a.roomID, e)
		a.findable(&w, e)
		if e.Status == room.Accepted {
			w.add(schema.EventsByTime.Put(schema.EventByTime{RoomID: a.roomID, OriginServerTS: e.Event.OriginServerTS(), Seq: e.Seq}))
			w.searchTask(a.roomID, e)
		}
	}
	a.federatedRows(&w, b)
	for _, e := range b.Amended {
		w.event(a.roomID, e)
		w.searchTask(a.roomID, e)
	}
	for _, n := range b.Nodes {
		w.add(schema.StateNodes.Put(schema.StateNode{RoomID: a.roomID, Hash: n.Hash[:], Node: n.Bytes}))
	}
	for _, s := range b.State {
		w.state(a.roomID, s)
	}
	for _, m := range b.Members {
		w.member(a.roomID, m)
	}
	for _, r := range b.Relations {
		w.relation(a.roomID, r)
	}
	for _, r := range b.Redactions {
		w.add(schema.PendingRedactions.Put(schema.PendingRedaction{
			RoomID: a.roomID, TargetID: r.TargetID, RedactionID: r.RedactionID, Seq: r.Seq,
		}))
	}
	for _, r := range b.Receipts {
		w.add(schema.Receipts.Put(schema.Receipt{
			RoomID: a.roomID, UserID: r.UserID, Type: r.Type, ThreadID: r.ThreadID, EventID: r.EventID, Seq: r.Seq, TS: r.TS,
		}))
	}
	a.stickyRows(&w, b)
	for _, c := range b.Aliases {
		w.alias(c)
	}
	for _, t := range b.Transactions {
		w.add(schema.RoomTransactions.Put(schema.RoomTransaction{
			RoomID: a.roomID, UserID: t.UserID, DeviceID: t.DeviceID, Type: t.EventType, Redacts: t.Redacts, TxnID: t.TxnID, EventID: t.EventID, TS: t.TS,
		}))
	}
	w.pushTask(a.roomID, a.deps.ServerName, a.deps.Pushing, b)
	if b.Summary != nil {
		w.summary(a.roomID, *b.Summary, b.PublicBefore)
	}
	return w
}
