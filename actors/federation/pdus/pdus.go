// Package pdus takes lists of events that other servers give of a room from the wire to the room: it drops those that are not what they say, and
// stores the rest as outliers, each after those that authorise it. Few are a Set; a room's state and its auth chain, which may be many,
// are an Account.
package pdus

import (
	"context"
	"iter"
	"log/slog"

	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

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

// Add checks PDUs and keeps the good ones. Bad ones, and those of other rooms, are left out, as the rules for received events want.
func (s *Set) Add(ctx context.Context, raws [][]byte) error {
	s.Dropped += len(raws)
	for e, err := range checked(ctx, raws, s.verifier, s.RoomID, s.Version) {
		if err != nil {
			return err
		}
		s.Dropped--
		if s.Events[e.ID()] == nil {
			s.Events[e.ID()] = e
		}
	}
	return nil
}

// checked gives those of the PDUs that are good events of the room, in their order. An error is the context's, and the last.
func checked(ctx context.Context, raws [][]byte, v *verify.Verifier, roomID string, version *roomversion.Version) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		for _, r := range v.PDUs(ctx, raws, version) {
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if r.Err == nil && r.Event.RoomID() == roomID && !yield(r.Event, nil) {
				return
			}
		}
	}
}

// Store gives the events to the room as outliers, and gives the ids of those that it took, or had; false for those that the room's rules do not
// allow.
func (s *Set) Store(ctx context.Context, rooms cluster.Caller, origin string, log *slog.Logger) (map[string]bool, error) {
	storing := storing{roomID: s.RoomID, version: s.Version, origin: origin, rooms: rooms, log: log}
	return storing.all(ctx, len(s.Events), func(yield func(*messages.Pdu, error) bool) {
		for _, e := range event.Ordered(s.Events, (*event.Event).Authorisers) {
			if !yield(Message(e), nil) {
				return
			}
		}
	})
}

// Message is the event as rooms take it.
func Message(e *event.Event) *messages.Pdu { return &messages.Pdu{EventId: e.ID(), Json: e.JSON()} }
