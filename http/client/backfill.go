package client

import (
	"context"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
)

// History fetches history that this server does not have.
type History interface {
	// Backfill fetches a page of events into the gap of the room that ends before the event with this number (table room_gaps). Errors are
	// *mxerr.Error.
	Backfill(ctx context.Context, roomID string, gap uint64) error
}

// mostBackfills is how often other servers are asked for one page.
const mostBackfills = 3

// page reads a page of the timeline. Where somebody who is in the room scrolls back to history that is not here, it is fetched. A page never
// passes over a gap: it ends there with something more to come.
func (h *rooms) page(r *api.Request, a *reader.Access, p reader.Page) (reader.Stretch, error) {
	if !p.Backwards || h.Past == nil || !a.Joined() {
		return a.Read(r.Ctx, p)
	}
	all := reader.Stretch{End: p.From}
	for asked := 0; ; asked++ {
		gap, ok, err := h.Reader.GapBelow(r.Ctx, a.RoomID, p.From)
		if err != nil {
			return all, err
		}
		stretch, stops := p, ok && gap.Next > p.To
		if stops {
			stretch.To = gap.Next
		}
		page, err := a.Read(r.Ctx, stretch)
		if err != nil {
			return all, err
		}
		all.Events, all.End, all.More = append(all.Events, page.Events...), page.End, page.More || stops
		p.From, p.Limit = page.End, p.Limit-len(page.Events)
		if !stops || page.More || p.Limit <= 0 || asked == mostBackfills {
			return all, nil
		}
		if err := h.Past.Backfill(r.Ctx, a.RoomID, gap.Seq); err != nil {
			if len(all.Events) == 0 {
				return all, err
			}
			h.Log.Info("older history could not be fetched", "room", a.RoomID, "error", err)
			return all, nil
		}
	}
}
