package history

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what waits, and when it is tried again.
const (
	// mostStaged is how many events of one room wait for others. What is beyond is dropped: a later event that cites it brings it back.
	mostStaged = 1000
	// mostAttempts is how often an event is tried before it is given up, with pauses that double from firstPause on.
	mostAttempts = 8
	firstPause   = 30 * time.Second
	// lease is how long the node that staged an event is left alone with it; sweepEvery how often the leading node looks for what was left behind.
	lease      = 15 * time.Minute
	sweepEvery = 30 * time.Second
)

// Stage keeps events that a room could not take for want of others (messages.PduResult MISSING), or whose signatures could not be checked for
// want of keys (verify.Later), and begins to fetch those. When it
// returns nil the events are durable: their sender may be told that they have come. A room has a bounded number of them; the
// rest is dropped, and comes back with a later event.
func (h *History) Stage(ctx context.Context, roomID, origin string, events []*messages.Pdu) error {
	waiting, err := schema.StagedPDUs.All(ctx, h.d.Store, persistence.Range[schema.StagedPDU]{Prefix: schema.StagedPDU{RoomID: roomID}, Keys: 1, Limit: mostStaged})
	if err != nil {
		return err
	}
	if room := mostStaged - len(waiting); len(events) > room {
		h.d.Log.Warn("too many events of a room wait for others; some are dropped", "room", roomID, "server", origin, "dropped", len(events)-room)
		events = events[:room]
	}
	if len(events) == 0 {
		return nil
	}
	now := h.d.Now()
	commit := &persistence.Commit{}
	for _, p := range events {
		commit.Write = append(commit.Write, schema.StagedPDUs.Put(schema.StagedPDU{RoomID: roomID, EventID: p.EventId, Origin: origin, JSON: p.Json,
			ReceivedTS: now.UnixMilli(), NextTS: now.Add(lease).UnixMilli()}))
	}
	if _, err := persistence.Await(ctx, h.d.Store, commit); err != nil {
		return err
	}
	h.wake(roomID)
	return nil
}

// Run takes up what nodes that have ended left behind, and what is to be tried again, until the context ends.
func (h *History) Run(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if h.d.Leads() {
			if err := h.sweep(ctx); err != nil && ctx.Err() == nil {
				h.d.Log.Error("the events that wait for others cannot be read", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (h *History) sweep(ctx context.Context) error {
	now := h.d.Now().UnixMilli()
	due := map[string]bool{}
	for row, err := range schema.StagedPDUs.Scan(ctx, h.d.Store, persistence.Range[schema.StagedPDU]{}) {
		if err != nil {
			return err
		}
		if row.NextTS <= now {
			due[row.RoomID] = true
		}
	}
	for roomID := range due {
		h.wake(roomID)
	}
	return nil
}

// wake has the room mended, soon: by one goroutine at a time.
func (h *History) wake(roomID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	if _, running := h.busy[roomID]; running {
		h.busy[roomID] = true
		return
	}
	h.busy[roomID] = false
	h.running.Go(func() {
		for again := true; again; {
			h.turn(roomID)
			h.mu.Lock()
			if again = h.busy[roomID] && !h.ended; again {
				h.busy[roomID] = false
			} else {
				delete(h.busy, roomID)
			}
			h.mu.Unlock()
		}
	})
}

// turn mends the room when it is its turn.
func (h *History) turn(roomID string) {
	select {
	case h.turns <- struct{}{}:
	case <-h.ctx.Done():
		return
	}
	defer func() { <-h.turns }()
	ctx, cancel := context.WithTimeout(h.ctx, roomPatience)
	defer cancel()
	if err := h.mend(ctx, roomID); err != nil && h.ctx.Err() == nil {
		h.d.Log.Warn("a room could not be mended; it is tried again", "room", roomID, "error", err)
	}
}

// mend tries to place what is staged of the room.
func (h *History) mend(ctx context.Context, roomID string) error {
	rows, err := schema.StagedPDUs.All(ctx, h.d.Store, persistence.Range[schema.StagedPDU]{Prefix: schema.StagedPDU{RoomID: roomID}, Keys: 1, Limit: mostStaged})
	if err != nil || len(rows) == 0 {
		return err
	}
	in, err := h.room(ctx, roomID)
	if err != nil {
		return err
	}
	events := make(map[string]*event.Event, len(rows))
	for _, row := range rows {
		e, err := event.FromStored(row.JSON, row.EventID, in.version)
		if err != nil {
			return err
		}
		events[row.EventID] = e
	}
	now := h.d.Now().UnixMilli()
	silent := map[string]bool{}
	for _, row := range inTurns(rows, events) {
		if row.Attempts > 0 && row.NextTS > now {
			continue
		}
		// What was staged for want of keys was not checked; what was is checked again, with keys that are here.
		e, err := h.d.Verifier.PDU(ctx, row.JSON, in.version)
		switch {
		case err == nil:
			err = h.place(ctx, in, row.Origin, e, silent)
		case ctx.Err() == nil && !verify.Later(err):
			h.d.Log.Info("an event that waited is dropped", "room", row.RoomID, "event", row.EventID, "server", row.Origin, "error", err)
			err = nil
		}
		if h.ctx.Err() != nil {
			return h.ctx.Err()
		}
		if err := h.settle(ctx, row, err); err != nil {
			return err
		}
	}
	return nil
}

// inTurns orders staged events: the servers that sent them take turns, so that one with many events which cannot be placed delays no other.
// Of each server the oldest comes first, since what it lacks may be what the others lack; their depth is what the server says, so that it
// counts for its own events only.
func inTurns(rows []schema.StagedPDU, events map[string]*event.Event) []schema.StagedPDU {
	slices.SortFunc(rows, func(a, b schema.StagedPDU) int {
		return cmp.Or(cmp.Compare(events[a.EventID].Depth(), events[b.EventID].Depth()), cmp.Compare(a.ReceivedTS, b.ReceivedTS))
	})
	turn := make(map[string]int, len(rows)) // by event id
	sent := map[string]int{}
	for _, row := range rows {
		turn[row.EventID] = sent[row.Origin]
		sent[row.Origin]++
	}
	slices.SortStableFunc(rows, func(a, b schema.StagedPDU) int { return cmp.Compare(turn[a.EventID], turn[b.EventID]) })
	return rows
}

// settle notes what became of an attempt.
func (h *History) settle(ctx context.Context, row schema.StagedPDU, failure error) error {
	change := schema.StagedPDUs.Delete(row)
	switch {
	case failure == nil:
	case row.Attempts+1 >= mostAttempts:
		h.d.Log.Warn("an event is given up, since what it needs cannot be had", "room", row.RoomID, "event", row.EventID, "server", row.Origin, "error", failure)
	default:
		row.NextTS = h.d.Now().Add(firstPause << row.Attempts).UnixMilli()
		row.Attempts++
		change = schema.StagedPDUs.Put(row)
	}
	_, err := persistence.Await(ctx, h.d.Store, &persistence.Commit{Write: []persistence.Mutation{change}})
	return err
}
