package history

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of looking for what others have changed: how long for one event, and for how many of one answer or transaction.
const (
	originalPatience = 5 * time.Second
	mostOriginals    = 10
)

// Originals puts the events as their senders' servers have them in the place of those whose content is not what was hashed and that come from
// another server (HashOK): it may have redacted them for a reason, or have changed them so that nobody here reads them. Where the sender's
// server gives nothing better, the redacted event stays (server-server API, "Checks performed on receipt of a PDU", 3).
func (h *History) Originals(ctx context.Context, roomID, origin string, events []*event.Event) error {
	asked := 0
	for i, e := range events {
		server := id.ServerOf(e.Sender())
		if e.HashOK() || server == origin || server == h.d.ServerName || asked == mostOriginals {
			continue
		}
		row, ok, err := h.d.Reader.Stored(ctx, roomID, e.ID())
		if err != nil {
			return err
		}
		if ok && row.Status != schema.Outlier {
			continue
		}
		asked++
		if events[i], err = h.original(ctx, roomID, server, e); err != nil {
			return err
		}
	}
	return nil
}

func (h *History) original(ctx context.Context, roomID, server string, e *event.Event) (*event.Event, error) {
	asking, cancel := context.WithTimeout(ctx, originalPatience)
	defer cancel()
	set := pdus.NewSet(roomID, e.Version(), h.d.Verifier)
	raws, err := h.singly(asking, server, []string{e.ID()})
	if err == nil {
		err = set.Add(asking, raws)
	}
	if err != nil {
		h.d.Log.Info("an event that was changed on its way could not be had from its sender's server", "room", roomID, "event", e.ID(), "error", err)
		return e, ctx.Err()
	}
	if whole := set.Events[e.ID()]; whole != nil && whole.HashOK() {
		return whole, nil
	}
	return e, nil
}
