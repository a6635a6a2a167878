package room

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/statetree"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// nodeBytes reads a node of the room's states, and has the machine learn it.
func (q *query) nodeBytes(h statetree.Hash) ([]byte, error) {
	row, ok, err := schema.StateNodes.Get(q.ctx, q.store, schema.StateNode{RoomID: q.roomID, Hash: h[:]})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("room %s: %w: state node %x is gone", q.roomID, persistence.ErrCorrupt, h)
	}
	q.found.Nodes = append(q.found.Nodes, statetree.Node{Hash: h, Bytes: row.Node})
	return row.Node, nil
}

func (q *query) node(h statetree.Hash) error {
	_, err := q.nodeBytes(h)
	return err
}

// tree reads a whole state.
func (q *query) tree(root statetree.Hash) error {
	for _, err := range statetree.Open(root, q.nodeBytes).All() {
		if err != nil {
			return err
		}
	}
	return nil
}

// chains reads the auth events of the events, of those, and so on.
func (q *query) chains(numbers []uint64) error {
	waiting := numbers
	for len(waiting) > 0 {
		number := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if _, ok := q.found.Edges[number]; ok {
			continue
		}
		row, ok, err := schema.AuthEdges.Get(q.ctx, q.store, schema.AuthEdge{RoomID: q.roomID, Number: number})
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("room %s: %w: the auth events of %d are gone", q.roomID, persistence.ErrCorrupt, number)
		}
		cites := []uint64{}
		for rest := row.Cites; len(rest) > 0; {
			cited, n := binary.Uvarint(rest)
			if n <= 0 {
				return fmt.Errorf("room %s: %w: the auth events of %d", q.roomID, persistence.ErrCorrupt, number)
			}
			cites, rest = append(cites, cited), rest[n:]
		}
		q.found.Edges[number] = cites
		waiting = append(waiting, cites...)
	}
	return nil
}

// pendingFew is how many redactions that wait in a room are read to answer for several events at once.
const pendingFew = 32

// fewPending answers for several events by reading all that waits in the room, if that is not much. It mostly is nothing.
func (q *query) fewPending(eventIDs []string) bool {
	if q.err != nil || len(eventIDs) < 2 {
		return false
	}
	var rows []schema.PendingRedaction
	rows, q.err = schema.PendingRedactions.All(q.ctx, q.store, persistence.Range[schema.PendingRedaction]{
		Prefix: schema.PendingRedaction{RoomID: q.roomID}, Keys: 1, Limit: pendingFew})
	if q.err != nil || len(rows) == pendingFew {
		return false
	}
	for _, id := range eventIDs {
		q.found.Pending[id] = nil
	}
	for _, row := range rows {
		if waiting, asked := q.found.Pending[row.TargetID]; asked {
			q.found.Pending[row.TargetID] = append(waiting, room.PendingRedaction{TargetID: row.TargetID, RedactionID: row.RedactionID, Seq: row.Seq})
		}
	}
	return true
}

func (q *query) pending(eventID string) error {
	list := persistence.Range[schema.PendingRedaction]{Prefix: schema.PendingRedaction{RoomID: q.roomID, TargetID: eventID}, Keys: 2}
	q.found.Pending[eventID] = nil
	for row, err := range schema.PendingRedactions.Scan(q.ctx, q.store, list) {
		if err != nil {
			return err
		}
		q.found.Pending[eventID] = append(q.found.Pending[eventID], room.PendingRedaction{TargetID: row.TargetID, RedactionID: row.RedactionID, Seq: row.Seq})
	}
	return nil
}

// outliers tells how many outliers have been numbered.
func (q *query) outliers() error {
	last := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: q.roomID}, Keys: 1, From: &schema.Event{Seq: schema.OutlierBase}, Reverse: true, Limit: 1}
	q.found.Outliers = 1
	for row, err := range schema.Events.Scan(q.ctx, q.store, last) {
		if err != nil {
			return err
		}
		q.found.Outliers = row.Seq - schema.OutlierBase + 1
	}
	return nil
}

// since reads the timeline from the number on.
func (q *query) since(seq uint64) error {
	timeline := schema.Timeline(q.roomID)
	timeline.From = &schema.Event{Seq: seq}
	for row, err := range schema.Events.Scan(q.ctx, q.store, timeline) {
		if err != nil {
			return err
		}
		entry, err := entryOf(row, q.version)
		if err != nil {
			return err
		}
		q.found.Since, q.found.Entries = append(q.found.Since, row.Seq), append(q.found.Entries, entry)
	}
	return nil
}

// federated gives the machine the rows that it keeps in memory: the servers in the room, the gaps of its
// history, and what it lacks while its members are not known.
func (f facts) federated(ctx context.Context, m *room.Machine) error {
	servers := persistence.Range[schema.RoomServer]{Prefix: schema.RoomServer{RoomID: f.roomID}, Keys: 1}
	for row, err := range schema.RoomServers.Scan(ctx, f.store, servers) {
		if err != nil {
			return err
		}
		m.KnowServer(row.Server, room.ServerRow{Joined: row.Joined, JoinedSeq: row.JoinedSeq, LeftSeq: row.LeftSeq})
	}
	for row, err := range schema.RoomGaps.Scan(ctx, f.store, persistence.Range[schema.RoomGap]{Prefix: schema.RoomGap{RoomID: f.roomID}, Keys: 1}) {
		if err != nil {
			return err
		}
		gap := room.Gap{Seq: row.Seq, Next: row.Next, Floor: row.Floor}
		if err := json.Unmarshal(row.Wanted, &gap.Wanted); err != nil {
			return fmt.Errorf("room %s: %w: gap %d: %w", f.roomID, persistence.ErrCorrupt, row.Seq, err)
		}
		m.KnowGap(gap)
	}
	row, ok, err := schema.PartialRooms.Get(ctx, f.store, schema.PartialRoom{RoomID: f.roomID})
	if err != nil || !ok || row.Whole {
		return err
	}
	p, err := partialOf(row)
	if err != nil {
		return fmt.Errorf("room %s: %w: what it lacks: %w", f.roomID, persistence.ErrCorrupt, err)
	}
	m.KnowPartial(p)
	return nil
}

// hadGaps reports whether the room's history has or had gaps.
func (f facts) hadGaps(ctx context.Context) (bool, error) {
	positions, err := schema.RoomPositions.All(ctx, f.store, persistence.Range[schema.RoomPosition]{Prefix: schema.RoomPosition{RoomID: f.roomID}, Keys: 1, Limit: 1})
	return len(positions) > 0, err
}
