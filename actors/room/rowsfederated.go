package room

import (
	"encoding/binary"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// federatedRows are the changes of tables that only rooms on several servers have, and of those that tell them apart.
func (a *actor) federatedRows(w *writes, b *room.Batch) {
	for _, e := range b.Entries {
		a.placed(w, e)
		if e.Outbound {
			w.add(schema.OutboundEvents.Put(schema.OutboundEvent{RoomID: a.roomID, Seq: e.Seq}))
		}
	}
	a.gaps = a.gaps || len(b.Gaps) > 0
	if a.gaps && len(b.Entries) > 0 {
		w.add(schema.RoomPositions.Put(schema.RoomPosition{RoomID: a.roomID, Seq: b.Seq()}))
	}
	for _, e := range b.Older {
		w.event(a.roomID, e)
		a.findable(w, e)
		a.placed(w, e)
		if e.Status == room.Accepted {
			w.add(schema.EventsByTime.Put(schema.EventByTime{RoomID: a.roomID, OriginServerTS: e.Event.OriginServerTS(), Seq: e.Seq}))
			w.searchTask(a.roomID, e)
		}
	}
	for _, e := range b.Outliers {
		w.event(a.roomID, e)
		a.findable(w, e)
	}
	for _, edge := range b.Edges {
		var cites []byte
		for _, number := range edge.Cites {
			cites = binary.AppendUvarint(cites, number)
		}
		w.add(schema.AuthEdges.Put(schema.AuthEdge{RoomID: a.roomID, Number: edge.Number, Cites: cites}))
	}
	for name, row := range b.Servers {
		w.add(schema.RoomServers.Put(schema.RoomServer{RoomID: a.roomID, Server: name, Joined: row.Joined, JoinedSeq: row.JoinedSeq, LeftSeq: row.LeftSeq}))
	}
	for seq, gap := range b.Gaps {
		if gap == nil {
			w.add(schema.RoomGaps.Delete(schema.RoomGap{RoomID: a.roomID, Seq: seq}))
			continue
		}
		wanted, err := json.Marshal(gap.Wanted)
		if err != nil {
			continue // strings are always valid: they came as JSON
		}
		w.add(schema.RoomGaps.Put(schema.RoomGap{RoomID: a.roomID, Seq: seq, Next: gap.Next, Floor: gap.Floor, Wanted: wanted}))
	}
	for _, e := range b.Amended {
		if e.Outbound {
			w.add(schema.OutboundEvents.Put(schema.OutboundEvent{RoomID: a.roomID, Seq: e.Seq}))
		}
	}
	if b.PartialChanged {
		w.add(partialRow(a.roomID, b))
	}
}

// findable has the event found by its id, in its room and in all.
func (a *actor) findable(w *writes, e *room.Entry) {
	w.add(schema.EventsByID.Put(schema.EventByID{RoomID: a.roomID, EventID: e.Event.ID(), Seq: e.Seq, Epoch: uint64(a.epoch)}))
	w.add(schema.EventRooms.Put(schema.EventRoom{EventID: e.Event.ID(), RoomID: a.roomID}))
}

// placed leads from the number of an outlier to the place that it has got.
func (a *actor) placed(w *writes, e *room.Entry) {
	if e.Number != 0 {
		w.add(schema.Events.Put(schema.Event{RoomID: a.roomID, Seq: e.Number, EventID: e.Event.ID(), Status: schema.Placed, Number: e.Seq}))
	}
}

// outboundNotice tells of events that other servers must get, nil when there is none.
func (a *actor) outboundNotice(b *room.Batch) *messages.OutboundNotice {
	var n *messages.OutboundNotice
	if len(b.Lack) > 0 {
		n = &messages.OutboundNotice{RoomId: a.roomID, Missed: b.Lack}
	}
	for _, e := range slices.Concat(b.Amended, b.Entries) {
		if !e.Outbound {
			continue
		}
		if n == nil {
			n = &messages.OutboundNotice{RoomId: a.roomID}
		}
		n.Seqs = append(n.Seqs, e.Seq)
	}
	return n
}

// outside is what users of this server hear of a membership that no event of the timeline brings.
func outside(o room.OutOfBand) *messages.RoomEvent {
	return &messages.RoomEvent{Type: "m.room.member", StateKey: &o.UserID, Sender: o.Row.Sender, EventId: o.Row.EventID, Seq: o.Row.Seq,
		Membership: o.Row.Membership, PrevMembership: o.Before}
}
