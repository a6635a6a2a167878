package room

import (
	"encoding/hex"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/statetree"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// point is room.Point as the table has it.
type point struct {
	EventID string `json:"event_id"`
	State   string `json:"state"`
}

// partialRow writes down what the room lacks, or that its members are known; a room that nobody of this server is in lacks nothing.
func partialRow(roomID string, b *room.Batch) persistence.Mutation {
	row := schema.PartialRoom{RoomID: roomID, Whole: b.Whole}
	p := b.Partial
	if p == nil {
		if !b.Whole {
			return schema.PartialRooms.Delete(row)
		}
		return schema.PartialRooms.Put(row)
	}
	points := make([]point, len(p.Points))
	for i, one := range p.Points {
		points[i].EventID = one.EventID
		if one.State != (statetree.Hash{}) {
			points[i].State = hex.EncodeToString(one.State[:])
		}
	}
	row.Seq, row.Origin = p.Seq, p.Origin
	row.Points, _ = json.Marshal(points) // strings always are JSON
	row.Servers, _ = json.Marshal(p.Servers)
	return schema.PartialRooms.Put(row)
}

func partialOf(row schema.PartialRoom) (room.Partial, error) {
	p := room.Partial{Seq: row.Seq, Origin: row.Origin}
	var points []point
	if err := json.Unmarshal(row.Points, &points); err != nil {
		return p, err
	}
	for _, one := range points {
		root, err := hex.DecodeString(one.State)
		if err != nil {
			return p, err
		}
		state, err := statetree.HashFrom(root)
		if err != nil {
			return p, err
		}
		p.Points = append(p.Points, room.Point{EventID: one.EventID, State: state})
	}
	return p, json.Unmarshal(row.Servers, &p.Servers)
}
