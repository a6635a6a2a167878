package destination

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one transaction (server-server API, "Transactions"), and of the work of putting it together.
const (
	maxPDUs    = 50
	maxEDUs    = 100
	eduBytes   = 4 << 20 // of the EDUs together, unless the first is larger
	scanBound  = 5000    // events looked at that may not concern the server
	newestSeen = 500     // events of a room looked at for the newest of ours
)

// composer puts transactions together from the store.
type composer struct {
	store       persistence.Store
	destination string
	serverName  string
	now         func() time.Time
}

// composition is what a transaction was made of.
type composition struct {
	txn *transaction // nil: there is nothing to send
	// end is the place up to which events were dealt with; complete says that the store had no more after it.
	end       place
	complete  bool
	forgotten uint64
	// Whether more wait, and what did not fit.
	moreEDUs   bool
	moreMissed bool
	left       []edu
}

// content is of a transaction that is being put together.
type content struct {
	pdus []jsontext.Value
	edus []edu
	txn  transaction
}

// compose gives the next transaction after the cursor.
func (c composer) compose(ctx context.Context, from cursor, t taking) (composition, error) {
	made := composition{end: from.event, forgotten: t.forgotten}
	var all content
	if err := c.events(ctx, &all, &made, t); err != nil {
		return made, err
	}
	if t.missed {
		if err := c.missed(ctx, &all, &made, from.missed); err != nil {
			return made, err
		}
	}
	if t.edus {
		if err := c.durable(ctx, &all, &made, from); err != nil {
			return made, err
		}
	}
	fit := min(maxEDUs-len(all.edus), len(t.ephemeral))
	all.edus = append(all.edus, t.ephemeral[:fit]...)
	made.left = t.ephemeral[fit:]
	if len(all.pdus)+len(all.edus) == 0 && !all.txn.durable {
		return made, nil
	}
	txn := &all.txn
	txn.SentPos, txn.SentRoom, txn.SentSeq = made.end.pos, made.end.room, made.end.seq
	txn.PDUs, txn.EDUs = int64(len(all.pdus)), int64(len(all.edus))
	body := struct {
		Origin         string           `json:"origin"`
		OriginServerTS int64            `json:"origin_server_ts"`
		PDUs           []jsontext.Value `json:"pdus"`
		EDUs           []edu            `json:"edus,omitempty"`
	}{c.serverName, c.now().UnixMilli(), all.pdus, all.edus}
	if body.PDUs == nil {
		body.PDUs = []jsontext.Value{}
	}
	var err error
	txn.Body, err = json.Marshal(body)
	made.txn = txn
	return made, err
}

// inHand reads the transaction that was made before and is not answered, nil when there is none.
func (c composer) inHand(ctx context.Context) (*transaction, error) {
	row, ok, err := schema.DestinationTransactions.Get(ctx, c.store, schema.DestinationTransaction{Destination: c.destination})
	if err != nil || !ok {
		return nil, err
	}
	txn := &transaction{DestinationTransaction: row, durable: true}
	if row.EDUPos == 0 {
		return txn, nil
	}
	upTo := place{row.EDUPos, "", row.EDUN}
	for edu, err := range schema.OutboundEDUs.Scan(ctx, c.store, persistence.Range[schema.OutboundEDU]{
		Prefix: schema.OutboundEDU{Destination: c.destination}, Keys: 1, Limit: maxEDUs}) {
		if err != nil {
			return nil, err
		}
		if (place{edu.Pos, "", edu.N}).compare(upTo) > 0 {
			break
		}
		txn.eduRows = append(txn.eduRows, edu)
	}
	return txn, nil
}

// events adds the events that come next.
func (c composer) events(ctx context.Context, all *content, made *composition, t taking) error {
	if !t.scan {
		for _, at := range t.known {
			if err := c.event(ctx, all, at.room, at.seq); err != nil {
				return err
			}
			made.end = at
		}
		return nil
	}
	// Everything up to here is visible, and what comes later is told.
	upTo := uint64(c.store.Position())
	rooms := map[string]schema.RoomServer{}
	looked := 0
	for row, err := range schema.OutboundEvents.Scan(ctx, c.store, persistence.Range[schema.OutboundEvent]{
		Before: &schema.OutboundEvent{Pos: upTo + 1}, After: &schema.OutboundEvent{Pos: made.end.pos, RoomID: made.end.room, Seq: made.end.seq}}) {
		if err != nil {
			return err
		}
		if looked++; looked > scanBound || len(all.pdus) == maxPDUs {
			return nil
		}
		server, ok := rooms[row.RoomID]
		if !ok {
			if server, _, err = schema.RoomServers.Get(ctx, c.store, schema.RoomServer{RoomID: row.RoomID, Server: c.destination}); err != nil {
				return err
			}
			rooms[row.RoomID] = server
		}
		if Concerns(server, row.Seq) {
			if err := c.event(ctx, all, row.RoomID, row.Seq); err != nil {
				return err
			}
		}
		made.end = place{row.Pos, row.RoomID, row.Seq}
	}
	made.complete = true
	if end := after(upTo); end.compare(made.end) > 0 {
		made.end = end
	}
	return nil
}

// Concerns reports whether the server is sent the room's event with this number: it is in the room, or the event is the one with which the
// last of its users went.
func Concerns(server schema.RoomServer, seq uint64) bool {
	return server.JoinedSeq != 0 && seq >= server.JoinedSeq && (server.Joined > 0 || seq <= server.LeftSeq)
}

// event adds one event, unless it was not accepted.
func (c composer) event(ctx context.Context, all *content, roomID string, seq uint64) error {
	row, ok, err := schema.Events.Get(ctx, c.store, schema.Event{RoomID: roomID, Seq: seq})
	if err != nil || !ok || row.Status != schema.Accepted {
		return err
	}
	all.pdus = append(all.pdus, row.JSON)
	all.txn.durable = true
	return nil
}

// missed adds the newest event of ours in one of the rooms of which events were swept: with it the server sees what it lacks, and asks for it.
// What sticks there comes with it, of which a server that has just come in lacks everything.
func (c composer) missed(ctx context.Context, all *content, made *composition, sent string) error {
	for row, err := range schema.MissedRooms.Scan(ctx, c.store, persistence.Range[schema.MissedRoom]{Prefix: schema.MissedRoom{Destination: c.destination}, Keys: 1}) {
		if err != nil {
			return err
		}
		if row.RoomID == sent {
			continue
		}
		if all.txn.MissedRoom != "" || len(all.pdus) == maxPDUs {
			made.moreMissed = true
			return nil
		}
		all.txn.MissedRoom, all.txn.durable = row.RoomID, true
		seq, err := c.newest(ctx, row.RoomID)
		if err != nil {
			return err
		}
		if seq != 0 {
			if err := c.event(ctx, all, row.RoomID, seq); err != nil {
				return err
			}
		}
		if err := c.sticky(ctx, all, row.RoomID, seq); err != nil {
			return err
		}
	}
	return nil
}

// sticky adds events of ours that stick in the room, but for one that is added already: as many of the newest as fit, the oldest first.
func (c composer) sticky(ctx context.Context, all *content, roomID string, but uint64) error {
	server, _, err := schema.RoomServers.Get(ctx, c.store, schema.RoomServer{RoomID: roomID, Server: c.destination})
	if err != nil || server.Joined == 0 {
		return err
	}
	now := c.now().UnixMilli()
	var seqs []uint64
	for row, err := range schema.StickyEvents.Scan(ctx, c.store, persistence.Range[schema.StickyEvent]{Prefix: schema.StickyEvent{RoomID: roomID}, Keys: 1}) {
		if err != nil {
			return err
		}
		if row.EndsTS > now && row.Seq != but && id.ServerOf(row.Sender) == c.serverName {
			seqs = append(seqs, row.Seq)
		}
	}
	for _, seq := range seqs[max(0, len(seqs)-(maxPDUs-len(all.pdus))):] {
		if err := c.event(ctx, all, roomID, seq); err != nil {
			return err
		}
	}
	return nil
}

// newest is the number of the newest event of this server in the room that the other server is to have, 0 when there is none.
func (c composer) newest(ctx context.Context, roomID string) (uint64, error) {
	server, _, err := schema.RoomServers.Get(ctx, c.store, schema.RoomServer{RoomID: roomID, Server: c.destination})
	if err != nil {
		return 0, err
	}
	timeline := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: roomID}, Keys: 1, Before: &schema.Event{Seq: schema.OutlierBase},
		Reverse: true, Limit: newestSeen}
	for row, err := range schema.Events.Scan(ctx, c.store, timeline) {
		if err != nil {
			return 0, err
		}
		if row.Status == schema.Accepted && id.ServerOf(row.Sender) == c.serverName && Concerns(server, row.Seq) {
			return row.Seq, nil
		}
	}
	return 0, nil
}

// durable adds the EDUs that must not be lost.
func (c composer) durable(ctx context.Context, all *content, made *composition, from cursor) error {
	q := persistence.Range[schema.OutboundEDU]{Prefix: schema.OutboundEDU{Destination: c.destination}, Keys: 1}
	if from.eduPos != 0 {
		q.After = &schema.OutboundEDU{Destination: c.destination, Pos: from.eduPos, N: from.eduN}
	}
	size := 0
	for row, err := range schema.OutboundEDUs.Scan(ctx, c.store, q) {
		if err != nil {
			return err
		}
		content, err := c.fill(ctx, row)
		if err != nil {
			return err
		}
		size += len(content)
		if n := len(all.edus); n == maxEDUs || n > 0 && size > eduBytes {
			made.moreEDUs = true
			return nil
		}
		all.edus = append(all.edus, edu{row.Type, content})
		all.txn.eduRows = append(all.txn.eduRows, row)
		all.txn.EDUPos, all.txn.EDUN, all.txn.durable = row.Pos, row.N, true
	}
	return nil
}
