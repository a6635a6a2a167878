package history

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	// pageSize is how many older events are asked for at once, and mostWanted from how many ends of the graph.
	pageSize   = 100
	mostWanted = 20
	// pagePatience is how long somebody who scrolls back waits for other servers.
	pagePatience = 40 * time.Second
)

// pageRests is how long a room's other servers are left alone once they could not be asked for a page.
const pageRests = 20 * time.Second

// Backfill fetches a page of events into the gap of the room that ends before the event with this number (table room_gaps). It returns nil
// when the room has more of its history than before, or has closed the gap because nobody has what is in it; those who wait for the same
// page get it together. Errors are *mxerr.Error: 502 M_UNKNOWN when no server could be asked.
func (h *History) Backfill(ctx context.Context, roomID string, gap uint64) error {
	if err, ok := h.failed.Get(roomID); ok {
		return err
	}
	done := h.pages.DoChan(roomID, func() (any, error) {
		ctx, cancel := context.WithTimeout(h.ctx, pagePatience)
		defer cancel()
		return nil, h.backfill(ctx, roomID, gap)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *History) backfill(ctx context.Context, roomID string, gap uint64) error {
	row, ok, err := schema.RoomGaps.Get(ctx, h.d.Store, schema.RoomGap{RoomID: roomID, Seq: gap})
	if err != nil || !ok { // filled meanwhile
		return err
	}
	var wanted []string
	if err := json.Unmarshal(row.Wanted, &wanted); err != nil {
		return err
	}
	if err := reader.AwaitWhole(ctx, h.d.Store, roomID); err != nil { // the states of history are whole
		return err
	}
	in, err := h.room(ctx, roomID)
	if err != nil {
		return err
	}
	servers, err := h.servers(ctx, roomID)
	if err != nil {
		return err
	}
	answered := false
	for _, server := range servers {
		filled, err := h.backfillFrom(ctx, in, server, gap, wanted)
		if filled {
			return nil
		}
		if err != nil {
			h.d.Log.Info("older history could not be fetched from a server", "room", roomID, "server", server, "error", err)
			continue
		}
		answered = true
	}
	if !answered && len(servers) > 0 {
		err := mxerr.New(502, "M_UNKNOWN", "the servers that have the older history of this room cannot be reached")
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			h.failed.Set(roomID, err)
		}
		return err
	}
	_, err = ask[*messages.PduResults](ctx, h, roomID, &messages.Backfill{Origin: h.d.ServerName, Gap: gap, Exhausted: true})
	return gone(err)
}

// backfillFrom asks one server. filled is true when the room took something of what it gave.
func (h *History) backfillFrom(ctx context.Context, in room, server string, gap uint64, wanted []string) (filled bool, err error) {
	set, err := h.before(ctx, server, in, wanted[:min(len(wanted), mostWanted)], pageSize)
	if err != nil || len(set.Events) == 0 {
		return false, err
	}
	request := &messages.Backfill{Origin: server, Gap: gap}
	for _, e := range ordered(set.Events) {
		request.Pdus = append(request.Pdus, pdus.Message(e))
		end, err := h.endsGraph(ctx, in, e, set)
		if err != nil {
			return false, err
		}
		if !end {
			continue
		}
		state, _, err := h.stateBefore(ctx, server, in, e.ID())
		if err != nil {
			return false, err
		}
		request.States = append(request.States, &messages.StateBefore{EventId: e.ID(), State: state})
	}
	for range 2 {
		answer, err := ask[*messages.PduResults](ctx, h, in.id, request)
		if err != nil {
			return gone(err) == nil, gone(err)
		}
		var unauthorised []*messages.PduResult
		for _, r := range answer.Results {
			switch {
			case r.Status == messages.PduResult_ACCEPTED, r.Status == messages.PduResult_SOFT_FAILED:
				filled = true
			case r.Status == messages.PduResult_MISSING && len(r.MissingAuth) > 0:
				unauthorised = append(unauthorised, r)
			}
		}
		if filled || len(unauthorised) == 0 {
			break
		}
		for _, r := range unauthorised {
			if err := h.authorising(ctx, server, in, r); err != nil {
				return false, err
			}
		}
	}
	return filled, nil
}

// endsGraph reports whether an event has predecessors that are neither here nor among what was fetched with it.
func (h *History) endsGraph(ctx context.Context, in room, e *event.Event, set *pdus.Set) (bool, error) {
	missing, err := h.missingPrev(ctx, in, e, set.Events)
	return len(missing) > 0, err
}

// gone is the error, unless it says that the gap is not there any more.
func gone(err error) error {
	if err != nil && mxerr.From(err).Code == "M_NOT_FOUND" {
		return nil
	}
	return err
}
