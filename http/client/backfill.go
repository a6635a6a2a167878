package client

import (
	"context"
	"math"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence/schema"
)

// History fetches history that this server does not have.
type History interface {
	// Backfill fetches a page of events into the gap of the room that ends before the event with this number (table room_gaps). Errors are
	// *mxerr.Error.
	Backfill(ctx context.Context, roomID string, gap uint64) error
}

// mostBackfills is how often other servers are asked for one page.
const mostBackfills = 3

// page reads a page of the timeline. Where somebody who is in the room comes to history that is not here, it is fetched. Such a page ends at
// the gap with something more to come. One that goes forward passes over a gap that it begins with and that could not be filled as a whole:
// clients take a page that leads nowhere for the end.
func (h *rooms) page(r *api.Request, a *reader.Access, p reader.Page) (reader.Stretch, error) {
	if h.Past == nil || !a.Joined() {
		return a.Read(r.Ctx, p)
	}
	all := reader.Stretch{End: p.From}
	for asked := 0; ; asked++ {
		gap, stretch, stops, err := h.gap(r.Ctx, a.RoomID, p)
		if err != nil {
			return all, err
		}
		page, err := a.Read(r.Ctx, stretch)
		if err != nil {
			return all, err
		}
		all.Events, all.End, all.More = append(all.Events, page.Events...), page.End, page.More || stops
		p.From, p.Limit = page.End, p.Limit-len(page.Events)
		if !stops || page.More || p.Limit <= 0 || asked > mostBackfills {
			return all, nil
		}
		if asked < mostBackfills {
			err = h.Past.Backfill(r.Ctx, a.RoomID, gap.Seq)
			if err == nil {
				continue
			}
			h.Log.Info("older history could not be fetched", "room", a.RoomID, "error", err)
		}
		if p.Backwards || len(all.Events) > 0 {
			if len(all.Events) > 0 {
				err = nil
			}
			return all, err
		}
		p.From, asked = max(p.From, gap.Next), mostBackfills
	}
}

// gap finds the gap to which the page comes, if any, and the stretch of the page up to it. Gaps are filled from their newer end on, so
// that one which goes back reads what is filled already, and one which goes forward does not.
func (h *rooms) gap(ctx context.Context, roomID string, p reader.Page) (gap schema.RoomGap, stretch reader.Page, stops bool, err error) {
	stretch = p
	if p.Backwards {
		gap, stops, err = h.Reader.GapBelow(ctx, roomID, p.From)
		if stops = stops && gap.Next > p.To; stops {
			stretch.To = gap.Next
		}
		return gap, stretch, stops, err
	}
	gap, stops, err = h.Reader.GapAbove(ctx, roomID, p.From)
	if stops = stops && gap.Floor < p.To; stops {
		stretch.To = max(gap.Floor, p.From)
	}
	return gap, stretch, stops, err
}

// later fetches what is missing of the history after an event, as much of it as one request may, so that what relates to the event is found.
func (h *rooms) later(r *api.Request, a *reader.Access, eventID string) error {
	if h.Past == nil || !a.Joined() {
		return nil
	}
	row, err := a.Event(r.Ctx, eventID)
	if err != nil {
		return err
	}
	for range mostBackfills {
		gap, ok, err := h.Reader.GapAbove(r.Ctx, a.RoomID, row.Seq)
		if err != nil || !ok {
			return err
		}
		if err := h.Past.Backfill(r.Ctx, a.RoomID, gap.Seq); err != nil {
			h.Log.Info("what relates to an event could not be fetched", "room", a.RoomID, "error", err)
			return nil
		}
	}
	return nil
}

// surroundings fetches what is missing of the history around an event, as far as it is within the reach of a context of this size: a context
// that left something out could not be told from one that is whole.
func (h *rooms) surroundings(r *api.Request, a *reader.Access, eventID string, limit int) error {
	if h.Past == nil || limit == 0 || !a.Joined() {
		return nil
	}
	row, err := a.Event(r.Ctx, eventID)
	if err != nil {
		return err
	}
	for _, p := range []reader.Page{{From: row.Seq - 1, Backwards: true, Limit: limit / 2}, {From: row.Seq, To: math.MaxUint64, Limit: limit - limit/2}} {
		if p.Limit == 0 {
			continue
		}
		if _, err := h.page(r, a, p); err != nil {
			h.Log.Info("the history around an event could not be fetched", "room", a.RoomID, "error", err)
		}
	}
	return nil
}
