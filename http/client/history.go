package client

import (
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The sizes of pages: when the client does not say, and at most.
const (
	pageSize    = 10
	largestPage = 1000
)

func (h *rooms) history() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: aRoom + "/event/{eventId}", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.event},
		{Methods: get, Path: aRoom + "/context/{eventId}", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.context},
		{Methods: get, Path: aRoom + "/messages", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.messages},
	}
}

func (h *rooms) event(r *api.Request) (any, error) {
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	row, err := a.Event(r.Ctx, r.Vars["eventId"])
	if err != nil {
		return nil, err
	}
	shown, err := events(r, a, []schema.Event{row})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

func (h *rooms) messages(r *api.Request) (any, error) {
	a, err := h.readable(r)
	if err != nil {
		return nil, err
	}
	if _, err := r.Need("dir"); err != nil {
		return nil, err
	}
	dir, err := r.Enum("dir", "", "b", "f")
	if err != nil {
		return nil, err
	}
	f, err := filter.ParseRoomEvent(r.Param("filter"))
	if err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", pageSize, 1, largestPage)
	if err != nil {
		return nil, err
	}
	if f.Limit > 0 {
		limit = min(limit, int64(f.Limit))
	}
	p := reader.Page{Backwards: dir == "b", Limit: int(limit), Filter: f}
	if p.From, err = a.Gap(r.Ctx, r.Param("from"), p.Backwards); err != nil {
		return nil, err
	}
	if p.To, err = a.Bound(r.Ctx, r.Param("to"), p.Backwards); err != nil {
		return nil, err
	}
	page, err := h.page(r, a, p)
	if err != nil {
		return nil, err
	}
	chunk, err := events(r, a, page.Events)
	if err != nil {
		return nil, err
	}
	start := p.From
	if start == math.MaxUint64 {
		last, _, err := h.Reader.Last(r.Ctx, a.RoomID, math.MaxUint64)
		if err != nil {
			return nil, err
		}
		start = last.Seq
	}
	answer := map[string]any{"start": token.Timeline{Seq: start}.String(), "chunk": chunk}
	if given := r.Param("from"); given != "" {
		answer["start"] = given
	}
	if page.More {
		answer["end"] = token.Timeline{Seq: page.End}.String()
	}
	if f.LazyLoadMembers && len(page.Events) > 0 {
		if answer["state"], err = h.senders(r, a, page.Events); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// senders gives the member events of those who sent the events, as of the last of them.
func (h *rooms) senders(r *api.Request, a *reader.Access, rows []schema.Event) ([]jsontext.Value, error) {
	last := rows[0]
	wanted := map[string]bool{}
	for _, row := range rows {
		wanted[row.Sender] = true
		if row.Seq > last.Seq {
			last = row
		}
	}
	s, err := h.Reader.StateAt(r.Ctx, a.RoomID, last.StateAfter)
	if err != nil {
		return nil, err
	}
	var members []schema.Event
	for _, userID := range slices.Sorted(maps.Keys(wanted)) {
		row, ok, err := s.Get(r.Ctx, "m.room.member", userID)
		if err != nil {
			return nil, err
		}
		if ok {
			members = append(members, row)
		}
	}
	return events(r, a, members)
}

func (h *rooms) context(r *api.Request) (any, error) {
	limit, err := r.Int("limit", pageSize, 0, largestPage)
	if err != nil {
		return nil, err
	}
	f, err := filter.ParseRoomEvent(r.Param("filter"))
	if err != nil {
		return nil, err
	}
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	if err := h.surroundings(r, a, r.Vars["eventId"], int(limit)); err != nil {
		return nil, err
	}
	c, err := a.Context(r.Ctx, r.Vars["eventId"], int(limit), f)
	if err != nil {
		// Those who are invited may see single events; to whom there is nothing to see at all, the event is not missing.
		if refused := a.RequireRead(r.Ctx); refused != nil && mxerr.From(err).Status == http.StatusNotFound {
			err = refused
		}
		return nil, err
	}
	all := append(append([]schema.Event{c.Event}, c.Before...), c.After...)
	shown, err := events(r, a, all)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{
		"event": shown[0], "events_before": shown[1 : 1+len(c.Before)], "events_after": shown[1+len(c.Before):],
		"start": token.Timeline{Seq: c.Start}.String(), "end": token.Timeline{Seq: c.End}.String(),
	}
	answer["state"], err = h.contextState(r, a, c, f)
	return answer, err
}

// contextState is the state at the last event of a context, as far as the filter wants it. Those who are invited may see an event without
// being let see the state.
func (h *rooms) contextState(r *api.Request, a *reader.Access, c *reader.Context, f *filter.RoomEvent) ([]jsontext.Value, error) {
	if may, err := a.MayRead(r.Ctx); err != nil || !may {
		return []jsontext.Value{}, err
	}
	senders := map[string]bool{c.Event.Sender: true}
	for _, row := range slices.Concat(c.Before, c.After) {
		senders[row.Sender] = true
	}
	entries, err := c.State.Entries(func(t event.Tuple) bool {
		return f.KeepsType(t.Type) && (!f.LazyLoadMembers || t.Type != "m.room.member" || senders[t.StateKey])
	})
	if err != nil {
		return nil, err
	}
	rows, err := c.State.Events(r.Ctx, entries)
	if err != nil {
		return nil, err
	}
	if rows, err = a.Filter(r.Ctx, f, rows); err != nil {
		return nil, err
	}
	return events(r, a, rows)
}
