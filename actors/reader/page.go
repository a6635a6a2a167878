package reader

import (
	"context"
	"math"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// scanBound is how many rows one page may look at for each event it may hold, plus a constant; a filter that matches
// little then gives a short page with a token to go on from, instead of a long wait.
const scanBound, scanExtra = 20, 1000

// lookBeyond is how many events a full page looks at to find out whether there is anything more for this user.
const lookBeyond = 50

// Page asks for a stretch of a room's timeline.
type Page struct {
	From      uint64 // the gap (token.Timeline) to start from
	To        uint64 // the gap not to pass; 0 when going back, math.MaxUint64 when going forward: none
	Backwards bool
	Limit     int
	Filter    *filter.RoomEvent // nil keeps all
}

// Stretch is what a Page found, in the direction of the page.
type Stretch struct {
	Events []schema.Event
	// End is the gap to go on from; More is false when there is nothing beyond it for this user. It may be true in vain.
	End  uint64
	More bool
}

// Read reads a page as far as the user may see it.
func (a *Access) Read(ctx context.Context, p Page) (Stretch, error) {
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return Stretch{}, err
	}
	q := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: a.RoomID}, Keys: 1, Reverse: p.Backwards}
	if p.Backwards {
		q.From = &schema.Event{Seq: p.To + 1}
		q.Before = &schema.Event{Seq: next(p.From)}
	} else {
		q.From = &schema.Event{Seq: next(p.From)}
		q.Before = &schema.Event{Seq: next(p.To)}
	}
	s := Stretch{End: p.From}
	budget := p.Limit*scanBound + scanExtra
	for row, err := range schema.Events.Scan(ctx, a.r.store, q) {
		if err != nil {
			return s, err
		}
		if budget == 0 {
			s.More = true
			break
		}
		budget--
		shown, err := a.shows(ctx, p.Filter, ignored, &row)
		if err != nil {
			return s, err
		}
		if shown && len(s.Events) >= p.Limit {
			s.More = true
			break
		}
		if s.End = row.Seq; p.Backwards {
			s.End = row.Seq - 1
		}
		if !shown {
			continue
		}
		if s.Events = append(s.Events, row); len(s.Events) == p.Limit {
			budget = min(budget, lookBeyond)
		}
	}
	return s, nil
}

// shows reports whether a page with this filter has the event.
func (a *Access) shows(ctx context.Context, f *filter.RoomEvent, ignored map[string]bool, row *schema.Event) (bool, error) {
	if row.Status != schema.Accepted || row.StateKey == nil && ignored[row.Sender] {
		return false, nil
	}
	keeps, err := a.keeps(ctx, f, row)
	if err != nil || !keeps {
		return false, err
	}
	return a.Sees(ctx, row)
}

// Filter gives those of the events that the filter lets through, in the same array.
func (a *Access) Filter(ctx context.Context, f *filter.RoomEvent, rows []schema.Event) ([]schema.Event, error) {
	kept := rows[:0]
	for i := range rows {
		keeps, err := a.keeps(ctx, f, &rows[i])
		if err != nil {
			return nil, err
		}
		if keeps {
			kept = append(kept, rows[i])
		}
	}
	return kept, nil
}

// keeps reports whether the filter lets the event through.
func (a *Access) keeps(ctx context.Context, f *filter.RoomEvent, row *schema.Event) (bool, error) {
	if f != nil && !f.KeepsRoom(a.RoomID) {
		return false, nil
	}
	if f == nil || f.KeepsAll() {
		return true, nil
	}
	if !f.Keeps(row.Sender, row.Type) || f.AsksContent() && !f.KeepsContent([]byte(gjson.GetBytes(row.JSON, "content").Raw)) {
		return false, nil
	}
	if len(f.RelatedByRelTypes) == 0 && len(f.RelatedBySenders) == 0 {
		return true, nil
	}
	n := 0
	for c, err := range schema.Relations.Scan(ctx, a.r.store, persistence.Range[schema.Relation]{
		Prefix: schema.Relation{RoomID: a.RoomID, ParentID: row.EventID}, Keys: 2}) {
		if err != nil {
			return false, err
		}
		if (len(f.RelatedByRelTypes) == 0 || slices.Contains(f.RelatedByRelTypes, c.RelType)) &&
			(len(f.RelatedBySenders) == 0 || slices.Contains(f.RelatedBySenders, c.Sender)) {
			return true, nil
		}
		if n++; n > relationScan {
			break
		}
	}
	return false, nil
}

// next is the number after this one, within the timeline.
func next(seq uint64) uint64 { return min(seq, schema.OutlierBase-1) + 1 }

// Gap resolves a token that a client pages from: a timeline token, or a sync token, which stands for the end of what that
// sync covered. An empty token is the end of the timeline when going back, and its beginning when going forward.
func (a *Access) Gap(ctx context.Context, tok string, backwards bool) (uint64, error) {
	switch {
	case tok == "" && backwards:
		return math.MaxUint64, nil
	case tok == "":
		return 0, nil
	case token.IsSync(tok):
		pos, err := token.Position(tok)
		if err != nil {
			return 0, err
		}
		last, _, err := a.r.Last(ctx, a.RoomID, pos)
		return last.Seq, err
	}
	t, err := token.ParseTimeline(tok)
	return t.Seq, err
}

// Bound resolves a token that a page must not pass; an empty one is the end of the direction.
func (a *Access) Bound(ctx context.Context, tok string, backwards bool) (uint64, error) {
	return a.Gap(ctx, tok, !backwards)
}

// Context is an event with its neighbours.
type Context struct {
	Event         schema.Event
	Before, After []schema.Event // nearest first
	Start, End    uint64         // gaps
	State         *State         // at the last event
}

// Context reads an event, and up to limit others around it, half on each side.
func (a *Access) Context(ctx context.Context, eventID string, limit int, f *filter.RoomEvent) (*Context, error) {
	row, err := a.Event(ctx, eventID)
	if err != nil {
		return nil, err
	}
	c := &Context{Event: row, Start: row.Seq - 1, End: row.Seq}
	last := row
	if half := limit / 2; half > 0 || limit > 0 {
		before, err := a.Read(ctx, Page{From: row.Seq - 1, Backwards: true, Limit: half, Filter: f})
		if err != nil {
			return nil, err
		}
		after, err := a.Read(ctx, Page{From: row.Seq, To: math.MaxUint64, Limit: limit - half, Filter: f})
		if err != nil {
			return nil, err
		}
		c.Before, c.Start = before.Events, before.End
		c.After, c.End = after.Events, after.End
		if n := len(after.Events); n > 0 {
			last = after.Events[n-1]
		}
	}
	c.State, err = a.r.StateAt(ctx, a.RoomID, last.StateAfter)
	return c, err
}

// StateAtToken is the room's state at a token, for GET /members?at=. It refuses points that the user could not see.
func (a *Access) StateAtToken(ctx context.Context, tok string) (*State, error) {
	gap, err := a.Gap(ctx, tok, true)
	if err != nil {
		return nil, err
	}
	if t, err := token.ParseTimeline(tok); err == nil {
		gap = max(gap, t.Until)
	}
	gap = min(gap, a.until())
	row, err := a.lastUpTo(ctx, gap)
	if err != nil {
		return nil, err
	}
	sees, err := a.Sees(ctx, &row)
	if err != nil {
		return nil, err
	}
	if !sees {
		return nil, mxerr.Forbidden("you may not see the room at that point")
	}
	return a.r.StateAt(ctx, a.RoomID, row.RoomStateRoot())
}

// lastUpTo reads the newest event at or before the gap.
func (a *Access) lastUpTo(ctx context.Context, gap uint64) (schema.Event, error) {
	rows, err := schema.Events.All(ctx, a.r.store, persistence.Range[schema.Event]{
		Prefix: schema.Event{RoomID: a.RoomID}, Keys: 1, Before: &schema.Event{Seq: next(gap)}, Reverse: true, Limit: 1})
	if err != nil {
		return schema.Event{}, err
	}
	if len(rows) == 0 {
		return schema.Event{}, mxerr.NotFound("there is nothing in the room %s at that point", a.RoomID)
	}
	return rows[0], nil
}
