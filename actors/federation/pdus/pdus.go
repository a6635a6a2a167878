// Package pdus takes lists of events that other servers give of a room, such as its state and the auth chain of it, from the wire to the
// room: it reads them as they come, drops those that are not what they say, and stores the rest as outliers, each after those that
// authorise it.
package pdus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// Largest is the most events that a set holds.
const Largest = 1_000_000

// Set is events of one room, each once. It is not safe for concurrent use.
type Set struct {
	RoomID  string
	Version *roomversion.Version
	Events  map[string]*event.Event // by id
	Dropped int                     // events that were given and are no good

	verifier *verify.Verifier
}

// NewSet makes an empty set.
func NewSet(roomID string, version *roomversion.Version, verifier *verify.Verifier) *Set {
	return &Set{RoomID: roomID, Version: version, Events: map[string]*event.Event{}, verifier: verifier}
}

var errNoArray = errors.New("a list of events is expected")

// The bounds of what waits to be checked: how many events, and how many bytes. An event has 65,536 at most, which may be written with more.
const (
	chunk      = 256
	chunkBytes = 8 << 20
	largestPDU = 1 << 20
)

// Read reads a JSON array of PDUs. What waits to be checked is one chunk at most. each, if not nil, is told every good event, one that the
// set had before too; its error ends the reading.
func (s *Set) Read(ctx context.Context, d *Decoder, each func(*event.Event) error) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != '[' {
		return errNoArray
	}
	var waiting [][]byte
	size := 0
	for d.PeekKind() != ']' {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		if len(raw) > largestPDU {
			s.Dropped++
			continue
		}
		waiting, size = append(waiting, slices.Clone(raw)), size+len(raw)
		if len(waiting) == chunk || size > chunkBytes {
			if err := s.Add(ctx, waiting, each); err != nil {
				return err
			}
			waiting, size = waiting[:0], 0
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	return s.Add(ctx, waiting, each)
}

// Add checks PDUs and keeps the good ones. Bad ones, and those of other rooms, are left out, as the rules for received events want.
func (s *Set) Add(ctx context.Context, raws [][]byte, each func(*event.Event) error) error {
	for _, r := range s.verifier.PDUs(ctx, raws, s.Version) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Err != nil || r.Event.RoomID() != s.RoomID {
			s.Dropped++
			continue
		}
		id := r.Event.ID()
		if s.Events[id] == nil {
			s.Events[id] = r.Event
		}
		if each != nil {
			if err := each(r.Event); err != nil {
				return err
			}
		}
	}
	if len(s.Events) > Largest {
		return fmt.Errorf("more than %d events", Largest)
	}
	return nil
}

// Store gives the events to the room as outliers, and gives the ids of those that it took, or had; false for those that the room's rules do not
// allow.
func (s *Set) Store(ctx context.Context, rooms cluster.Caller, origin string, log *slog.Logger) (map[string]bool, error) {
	taken := make(map[string]bool, len(s.Events))
	for batch := range batches(event.Ordered(s.Events, (*event.Event).Authorisers)) {
		request := &messages.AddOutliers{Origin: origin, Version: s.Version.ID}
		for _, e := range batch {
			request.Pdus = append(request.Pdus, Message(e))
		}
		answer, err := cluster.Ask[*messages.PduResults](ctx, rooms, cluster.Identity{Kind: cluster.KindRoom, ID: s.RoomID}, request)
		if err != nil {
			return nil, err
		}
		for _, result := range answer.Results {
			switch result.Status {
			case messages.PduResult_ACCEPTED, messages.PduResult_KNOWN:
				taken[result.EventId] = true
			default:
				if result.Status == messages.PduResult_REJECTED {
					taken[result.EventId] = false
				}
				log.Info("an event of another server's account of a room is left out", "room", s.RoomID, "event", result.EventId, "server", origin, "status", result.Status, "reason", result.Reason)
			}
		}
	}
	return taken, nil
}

// Message is the event as rooms take it.
func Message(e *event.Event) *messages.Pdu { return &messages.Pdu{EventId: e.ID(), Json: e.JSON()} }

// The bounds of one message with outliers; those of messages.AddOutliers are twice as large.
const (
	batchEvents = 256
	batchBytes  = 2 << 20
)

// batches cuts the events into messages.
func batches(events []*event.Event) iter.Seq[[]*event.Event] {
	return func(yield func([]*event.Event) bool) {
		start, size := 0, 0
		for i, e := range events {
			if i-start == batchEvents || size > 0 && size+len(e.JSON()) > batchBytes {
				if !yield(events[start:i]) {
					return
				}
				start, size = i, 0
			}
			size += len(e.JSON())
		}
		if start < len(events) {
			yield(events[start:])
		}
	}
}
