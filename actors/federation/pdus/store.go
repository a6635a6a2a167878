package pdus

import (
	"context"
	"iter"
	"log/slog"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// storing is giving events to their room.
type storing struct {
	roomID, origin string
	version        *roomversion.Version
	rooms          cluster.Caller
	log            *slog.Logger
}

// all gives events to the room in batches.
func (s *storing) all(ctx context.Context, count int, pdus iter.Seq2[*messages.Pdu, error]) (map[string]bool, error) {
	taken := make(map[string]bool, count)
	var batch []*messages.Pdu
	size := 0
	for pdu, err := range pdus {
		if err != nil {
			return nil, err
		}
		if len(batch) == batchEvents || size > 0 && size+len(pdu.Json) > batchBytes {
			if err := s.batch(ctx, batch, taken); err != nil {
				return nil, err
			}
			batch, size = nil, 0
		}
		batch, size = append(batch, pdu), size+len(pdu.Json)
	}
	return taken, s.batch(ctx, batch, taken)
}

// The bounds of one message with outliers; those of messages.AddOutliers are twice as large.
const (
	batchEvents = 256
	batchBytes  = 2 << 20
)

// batch gives some events to the room, and notes what became of them.
func (s *storing) batch(ctx context.Context, pdus []*messages.Pdu, taken map[string]bool) error {
	if len(pdus) == 0 {
		return nil
	}
	answer, err := cluster.Ask[*messages.PduResults](ctx, s.rooms, cluster.Identity{Kind: cluster.KindRoom, ID: s.roomID},
		&messages.AddOutliers{Origin: s.origin, Version: s.version.ID, Pdus: pdus})
	if err != nil {
		return err
	}
	for _, result := range answer.Results {
		switch result.Status {
		case messages.PduResult_ACCEPTED, messages.PduResult_KNOWN:
			taken[result.EventId] = true
		default:
			if result.Status == messages.PduResult_REJECTED {
				taken[result.EventId] = false
			}
			s.log.Info("an event of another server's account of a room is left out", "room", s.roomID, "event", result.EventId, "server", s.origin, "status", result.Status, "reason", result.Reason)
		}
	}
	return nil
}
