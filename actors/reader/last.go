package reader

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Last reads the newest event of the room's timeline at or below the position; ok is false when there is none.
func (r *Reader) Last(ctx context.Context, roomID string, pos uint64) (row schema.Event, ok bool, err error) {
	newest := schema.Timeline(roomID)
	newest.Reverse, newest.Limit = true, 1
	rows, err := schema.Events.All(ctx, r.store, newest)
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	if rows[0].Pos <= pos { // history that is fetched later gets its place below it
		return rows[0], true, nil
	}
	before := rows[0].Seq
	positions := persistence.Range[schema.RoomPosition]{Prefix: schema.RoomPosition{RoomID: roomID}, Keys: 1, Limit: 1}
	at := positions
	at.Before, at.Reverse = &schema.RoomPosition{Pos: pos + 1}, true
	known, err := schema.RoomPositions.All(ctx, r.store, at)
	if err != nil {
		return row, false, err
	}
	if len(known) > 0 {
		row, err = r.EventAt(ctx, roomID, known[0].Seq)
		return row, err == nil, err
	}
	first, err := schema.RoomPositions.All(ctx, r.store, positions)
	if err != nil {
		return row, false, err
	}
	if len(first) > 0 {
		before = min(before, first[0].Seq)
	}
	return r.lastBefore(ctx, roomID, before, pos)
}

// lastBefore searches the events with lower numbers, among which those at or below the position come first.
func (r *Reader) lastBefore(ctx context.Context, roomID string, before, pos uint64) (found schema.Event, ok bool, err error) {
	low := uint64(0) // all that is sought is at or above it, and below before
	for step := uint64(1); low < before; {
		// From the newest on in growing steps, then by halves: what is asked for is mostly new.
		middle := before - min(step, (before-low+1)/2)
		at := schema.Timeline(roomID)
		at.From, at.Before, at.Limit = &schema.Event{Seq: middle}, &schema.Event{Seq: before}, 1
		rows, err := schema.Events.All(ctx, r.store, at)
		if err != nil {
			return found, false, err
		}
		if len(rows) == 0 || rows[0].Pos > pos {
			before, step = middle, min(2*step, before) // it must not overflow: rooms that are joined elsewhere begin with high numbers
			continue
		}
		found, ok = rows[0], true
		low = found.Seq + 1
	}
	return found, ok, nil
}
