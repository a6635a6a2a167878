package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of fetching the members of rooms that were joined without them.
const (
	// wholeAtOnce is how many rooms' members this node fetches at a time: each may be a large answer.
	wholeAtOnce = 2
	// wholePatience is how long one attempt may take for a room, askedForState how many servers it asks.
	wholePatience = time.Hour
	askedForState = 5
	// The pauses between attempts double from one to the other.
	firstWholePause, longestWholePause = time.Second, 10 * time.Minute
	// wholeRounds is how often one attempt looks for what has come to be wanted meanwhile.
	wholeRounds = 10
	// toldAtOnce is how many events of a state the room is told in one message, so that it is in use meanwhile.
	toldAtOnce = 500
	// wholeEvery is how often this node looks for rooms that have become its work.
	wholeEvery = 5 * time.Second
	// firstSubstitute is the attempt from which on an event that nobody tells the state before gets that before the join instead.
	firstSubstitute = 3
)

var errNoState = errors.New("no server tells a state that holds")

// Complete has the members fetched of a room that was joined without them (table partial_rooms), soon, if that is the work of this node. Others
// find it by themselves.
func (h *History) Complete(roomID string) { h.CompleteWith(roomID, "", nil) }

// CompleteWith is like Complete when the members are here already, as outliers with these ids, since the state before the join came with it
// whole. A room with many takes them in piece by piece.
func (h *History) CompleteWith(roomID, joinID string, members []string) {
	if !h.d.Mine(roomID) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || h.completing[roomID] {
		return
	}
	h.completing[roomID] = true
	h.running.Go(func() {
		h.completeUntilWhole(roomID, here{joinID, members})
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.completing, roomID)
	})
}

// RunWhole looks for rooms whose members this node is to fetch, after a restart or when the room has come here, until the context ends.
func (h *History) RunWhole(ctx context.Context) {
	ticker := time.NewTicker(wholeEvery)
	defer ticker.Stop()
	for {
		for row, err := range schema.PartialRooms.Scan(ctx, h.d.Store, persistence.Range[schema.PartialRoom]{}) {
			if err != nil {
				if ctx.Err() == nil {
					h.d.Log.Error("the rooms whose members are not known cannot be read", "error", err)
				}
				break
			}
			if !row.Whole {
				h.Complete(row.RoomID)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// here is the state before an event that need not be fetched; none when there is no event.
type here struct {
	eventID string
	state   []string
}

// completeUntilWhole tries until the room's members are known, or are somebody else's work.
func (h *History) completeUntilWhole(roomID string, known here) {
	for attempt := 0; h.d.Mine(roomID); attempt++ {
		select {
		case h.wholeTurns <- struct{}{}:
		case <-h.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(h.ctx, wholePatience)
		err := h.complete(ctx, roomID, attempt, known)
		known = here{}
		cancel()
		<-h.wholeTurns
		if err == nil {
			h.d.Log.Info("nothing of a room's members is unknown any more", "room", roomID)
		}
		if err == nil || h.ctx.Err() != nil {
			h.wake(roomID) // what waits for the members
			return
		}
		h.d.Log.Warn("the members of a room could not be fetched; it is tried again", "room", roomID, "attempt", attempt+1, "error", err)
		pause := time.NewTimer(min(firstWholePause<<min(attempt, 20), longestWholePause))
		select {
		case <-pause.C:
		case <-h.ctx.Done():
			pause.Stop()
			return
		}
	}
}

// complete tells the room all that it wants to be told.
func (h *History) complete(ctx context.Context, roomID string, attempt int, known here) error {
	for range wholeRounds {
		row, ok, err := schema.PartialRooms.Get(ctx, h.d.Store, schema.PartialRoom{RoomID: roomID})
		if err != nil || !ok || row.Whole {
			return err
		}
		var points []struct {
			EventID string `json:"event_id"`
			Told    bool   `json:"told"`
		}
		var inRoom []string
		if err := errors.Join(json.Unmarshal(row.Points, &points), json.Unmarshal(row.Servers, &inRoom)); err != nil {
			return fmt.Errorf("%w: what the room %s lacks: %w", persistence.ErrCorrupt, roomID, err)
		}
		in, err := h.room(ctx, roomID)
		if err != nil {
			return err
		}
		servers, err := h.tellers(ctx, row, inRoom, attempt)
		if err != nil {
			return err
		}
		for i, p := range points {
			if p.Told {
				continue
			}
			if p.EventID == known.eventID {
				if err := h.tellHere(ctx, in, known); err != nil {
					return absent(err)
				}
				continue
			}
			if err := h.tellState(ctx, in, servers, p.EventID, attempt > 0); err != nil {
				if i == 0 || attempt < firstSubstitute || ctx.Err() != nil {
					return absent(err)
				}
				if _, err := ask[*messages.PduResults](ctx, h, roomID, &messages.TellState{EventId: p.EventID, First: true}); err != nil {
					return absent(err)
				}
			}
		}
		if _, err := ask[*messages.Done](ctx, h, roomID, &messages.BecomeWhole{}); err != nil {
			return absent(err)
		}
	}
	return errNoState
}

// absent is nil for a room that this server is not in any more, which needs no members.
func absent(err error) error {
	var refusal *mxerr.Error
	if errors.As(err, &refusal) && refusal.Code == "M_NOT_FOUND" {
		return nil
	}
	return err
}

// tellers are the servers to ask for a whole state: the one that the room was joined through, and then others, each time some others.
func (h *History) tellers(ctx context.Context, row schema.PartialRoom, inRoom []string, attempt int) ([]string, error) {
	known, err := h.d.Reader.Servers(ctx, row.RoomID)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, s := range slices.Concat(inRoom, known) {
		if s != h.d.ServerName && s != row.Origin && !slices.Contains(others, s) {
			others = append(others, s)
		}
	}
	if len(others) > askedForState {
		first := attempt * askedForState % len(others)
		others = slices.Concat(others[first:], others[:first])[:askedForState]
	}
	return append([]string{row.Origin}, others...), nil
}

// tellState tells the room the state before an event as one of the servers has it. Some of it may not hold, because the keys of servers that are
// gone cannot be had; with lenient the half of it is enough.
func (h *History) tellState(ctx context.Context, in room, servers []string, eventID string, lenient bool) error {
	failure := errNoState
	for _, server := range servers {
		err := h.tellStateOf(ctx, in, server, eventID, lenient)
		var refusal *mxerr.Error
		if err == nil || ctx.Err() != nil || errors.As(err, &refusal) {
			return err
		}
		h.d.Log.Info("the state of a room could not be had from a server", "room", in.id, "event", eventID, "server", server, "error", err)
		failure = err
	}
	return failure
}

func (h *History) tellStateOf(ctx context.Context, in room, server, eventID string, lenient bool) error {
	row, ok, err := h.d.Reader.Stored(ctx, in.id, eventID)
	if err != nil || !ok {
		return errors.Join(err, errNoState)
	}
	e, err := event.FromStored(row.JSON, eventID, in.version)
	if err != nil {
		return err
	}
	state, left, err := h.stateAt(ctx, server, in, e, true)
	if err != nil {
		return err
	}
	if len(state) == 0 || left > 0 && (!lenient || left > len(state)) {
		return fmt.Errorf("%w: %d of %d events could not be had", errNoState, left, left+len(state))
	}
	return h.tellHere(ctx, in, here{eventID, state})
}

// tellHere tells the room, in parts, a state whose events are here.
func (h *History) tellHere(ctx context.Context, in room, known here) error {
	state := known.state
	for i := 0; i < len(state) || i == 0; i += toldAtOnce {
		part := state[i:min(i+toldAtOnce, len(state))]
		answer, err := ask[*messages.PduResults](ctx, h, in.id, &messages.TellState{EventId: known.eventID, State: part, First: i == 0, More: i+len(part) < len(state)})
		if err != nil {
			return err
		}
		for _, r := range answer.Results {
			if r.Status != messages.PduResult_ACCEPTED && r.Status != messages.PduResult_KNOWN {
				return fmt.Errorf("%w: %v %s", errNoState, r.Status, r.Reason)
			}
		}
	}
	return nil
}
