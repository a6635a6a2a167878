package federation

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one page of history: how many events are given, from how many ends of the graph, and how many are looked at for each that
// is given.
const (
	largestBackfill = 100
	largestMissing  = 20
	defaultMissing  = 10
	mostEnds        = 50
	mostEarliest    = 1000
	lookedAt        = 4
)

// History are the endpoints that tell other servers of the events and the state of rooms that they are in: the server-server API,
// "Retrieving event authorisation information", "Backfilling and retrieving missing events" and "Retrieving events".
func History(d Deps) []api.Endpoint {
	h := &history{d}
	read := func(path string, handler api.Handler) api.Endpoint {
		return api.Endpoint{Methods: get, Path: v1 + path, Auth: api.Signed, Limit: api.LimitFederation, Handler: handler}
	}
	return []api.Endpoint{
		read("/event/{eventId}", h.event),
		read("/state/{roomId}", func(r *api.Request) (any, error) { return h.state(r, false) }),
		read("/state_ids/{roomId}", func(r *api.Request) (any, error) { return h.state(r, true) }),
		read("/event_auth/{roomId}/{eventId}", h.eventAuth),
		read("/backfill/{roomId}", h.backfill),
		read("/timestamp_to_event/{roomId}", h.timestampToEvent),
		{Methods: post, Path: v1 + "/get_missing_events/{roomId}", Auth: api.Signed, Limit: api.LimitFederation, Handler: h.missing},
	}
}

type history struct{ Deps }

// served is the room of the path as the asking server may see it.
func (h *history) served(r *api.Request) (*reader.Served, error) {
	roomID := r.Vars["roomId"]
	if !id.ValidRoomID(roomID) {
		return nil, mxerr.InvalidParam("%.255q is no room id", roomID)
	}
	if err := Admitted(r.Ctx, h.Deps, roomID, r.Origin); err != nil {
		return nil, err
	}
	return h.Reader.Served(r.Ctx, roomID, r.Origin)
}

// event gives one event, of whatever room. What the server may not have it cannot tell from what is not there.
func (h *history) event(r *api.Request) (any, error) {
	eventID := r.Vars["eventId"]
	unknown := mxerr.NotFound("the event %.255s is not known, or not for %s", eventID, r.Origin)
	rooms, err := h.Reader.RoomsOf(r.Ctx, eventID)
	if err != nil {
		return nil, err
	}
	for _, roomID := range rooms {
		pdu, err := h.eventIn(r, roomID, eventID)
		if err == nil {
			return h.transaction([]jsontext.Value{pdu}), nil
		}
		if status := mxerr.From(err).Status; status != 403 && status != 404 {
			return nil, err
		}
	}
	return nil, unknown
}

func (h *history) eventIn(r *api.Request, roomID, eventID string) (jsontext.Value, error) {
	if err := Admitted(r.Ctx, h.Deps, roomID, r.Origin); err != nil {
		return nil, err
	}
	s, err := h.Reader.Served(r.Ctx, roomID, r.Origin)
	if err != nil {
		return nil, err
	}
	row, err := s.Event(r.Ctx, eventID)
	if err != nil {
		return nil, err
	}
	return s.Shown(r.Ctx, &row)
}

// transaction is the form in which PDUs are given.
func (h *history) transaction(pdus []jsontext.Value) any {
	if pdus == nil {
		pdus = []jsontext.Value{}
	}
	return map[string]any{"origin": h.ServerName, "origin_server_ts": h.Now().UnixMilli(), "pdus": pdus}
}

// state gives the state before an event and its auth chain, in full or by ids. At an event that the server sees it is given whole; of
// an earlier state, what the server did not see is redacted.
func (h *history) state(r *api.Request, ids bool) (any, error) {
	eventID, err := r.Need("event_id")
	if err != nil {
		return nil, err
	}
	s, err := h.served(r)
	if err != nil {
		return nil, err
	}
	at, err := s.Placed(r.Ctx, eventID)
	if err != nil {
		return nil, err
	}
	state, err := h.Reader.StateAt(r.Ctx, s.RoomID, at.StateBefore)
	if err != nil {
		return nil, err
	}
	entries, err := state.Entries(nil)
	if err != nil {
		return nil, err
	}
	whole, err := s.Sees(r.Ctx, &at)
	if err != nil {
		return nil, err
	}
	a := stateAnswer{h: h, served: s, entries: entries, ids: ids, whole: whole}
	return h.stream(r, a.write), nil
}

type stateAnswer struct {
	h          *history
	served     *reader.Served
	entries    []reader.Entry
	ids, whole bool
}

func (a *stateAnswer) write(ctx context.Context, w *writer) error {
	chain, err := a.h.Reader.AuthChain(ctx, a.served.RoomID)
	if err != nil {
		return err
	}
	pdus, authChain, item := "pdus", "auth_chain", pduJSON
	if a.ids {
		pdus, authChain, item = "pdu_ids", "auth_chain_ids", idJSON
	}
	w.begin(pdus)
	for _, entry := range a.entries {
		row, err := a.h.Reader.EventAt(ctx, a.served.RoomID, entry.Seq)
		if err != nil {
			return err
		}
		if err := chain.Add(&row); err != nil {
			return err
		}
		if !a.ids && !a.whole {
			if row.JSON, err = a.served.Shown(ctx, &row); err != nil {
				return err
			}
		}
		if w.item(item(&row)); w.err != nil {
			return w.err
		}
	}
	w.end()
	return w.chain(ctx, authChain, chain, item)
}

// eventAuth gives the auth chain of an event.
func (h *history) eventAuth(r *api.Request) (any, error) {
	s, err := h.served(r)
	if err != nil {
		return nil, err
	}
	row, err := s.Event(r.Ctx, r.Vars["eventId"])
	if err != nil {
		return nil, err
	}
	return h.stream(r, func(ctx context.Context, w *writer) error {
		chain, err := h.Reader.AuthChain(ctx, s.RoomID)
		if err == nil {
			err = chain.Add(&row)
		}
		if err != nil {
			return err
		}
		return w.chain(ctx, "auth_chain", chain, pduJSON)
	}), nil
}

// backfill gives the newest events up to the given ones.
func (h *history) backfill(r *api.Request) (any, error) {
	from := r.Query()["v"]
	switch {
	case len(from) == 0:
		return nil, mxerr.MissingParam("the query parameter %q is required", "v")
	case len(from) > mostEnds:
		return nil, mxerr.InvalidParam("at most %d events can be backfilled from at once", mostEnds)
	}
	if _, err := r.Need("limit"); err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", 0, 0, largestBackfill)
	if err != nil {
		return nil, err
	}
	s, err := h.served(r)
	if err != nil {
		return nil, err
	}
	w := walk{served: s, seen: map[string]bool{}}
	if err := w.add(r.Ctx, from); err != nil {
		return nil, err
	}
	rows, err := w.take(r.Ctx, int(limit), 0)
	if err != nil {
		return nil, err
	}
	pdus, err := shown(r.Ctx, s, rows)
	return h.transaction(pdus), err
}

// missing gives the events between those that the other server has and those that it has been sent.
func (h *history) missing(r *api.Request) (any, error) {
	var body struct {
		Limit    *int64   `json:"limit"`
		MinDepth int64    `json:"min_depth"`
		Earliest []string `json:"earliest_events"`
		Latest   []string `json:"latest_events"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	switch {
	case body.Earliest == nil || body.Latest == nil:
		return nil, mxerr.BadJSON("earliest_events and latest_events are required")
	case len(body.Latest) > mostEnds || len(body.Earliest) > mostEarliest:
		return nil, mxerr.InvalidParam("at most %d latest_events and %d earliest_events are looked at", mostEnds, mostEarliest)
	}
	limit := int64(defaultMissing)
	if body.Limit != nil {
		limit = min(max(*body.Limit, 0), largestMissing)
	}
	s, err := h.served(r)
	if err != nil {
		return nil, err
	}
	w := walk{served: s, seen: map[string]bool{}}
	for _, list := range [][]string{body.Earliest, body.Latest} {
		for _, eventID := range list {
			w.seen[eventID] = true
		}
	}
	for _, eventID := range body.Latest {
		row, ok, err := h.Reader.Stored(r.Ctx, s.RoomID, eventID)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if err := w.before(r.Ctx, &row); err != nil {
			return nil, err
		}
	}
	rows, err := w.take(r.Ctx, int(limit), body.MinDepth)
	if err != nil {
		return nil, err
	}
	slices.Reverse(rows) // what follows others after them, as it is to be taken in
	events, err := shown(r.Ctx, s, rows)
	if events == nil {
		events = []jsontext.Value{}
	}
	return map[string]any{"events": events}, err
}

func shown(ctx context.Context, s *reader.Served, rows []schema.Event) ([]jsontext.Value, error) {
	var pdus []jsontext.Value
	for i := range rows {
		pdu, err := s.Shown(ctx, &rows[i])
		if err != nil {
			return nil, err
		}
		pdus = append(pdus, pdu)
	}
	return pdus, nil
}

// timestampToEvent finds the event closest to a time.
func (h *history) timestampToEvent(r *api.Request) (any, error) {
	raw, err := r.Need("ts")
	if err != nil {
		return nil, err
	}
	ts, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return nil, mxerr.InvalidParam("ts must be a time in milliseconds")
	}
	if _, err := r.Need("dir"); err != nil {
		return nil, err
	}
	dir, err := r.Enum("dir", "", "f", "b")
	if err != nil {
		return nil, err
	}
	s, err := h.served(r)
	if err != nil {
		return nil, err
	}
	row, err := s.NearTimestamp(r.Ctx, ts, dir == "b")
	if err != nil {
		return nil, err
	}
	return map[string]any{"event_id": row.EventID, "origin_server_ts": row.OriginServerTS}, nil
}

// walk goes back through a room's graph, the deepest events first.
type walk struct {
	served *reader.Served
	seen   map[string]bool
	ahead  rowHeap
}

// add has the walk go through these events too, as far as they are here.
func (w *walk) add(ctx context.Context, ids []string) error {
	for _, eventID := range ids {
		if w.seen[eventID] {
			continue
		}
		w.seen[eventID] = true
		row, err := w.served.Walked(ctx, eventID)
		if err != nil {
			return err
		}
		if row != nil {
			heap.Push(&w.ahead, *row)
		}
	}
	return nil
}

func (w *walk) before(ctx context.Context, row *schema.Event) error {
	prevs, err := w.served.Prevs(ctx, row)
	if err != nil {
		return err
	}
	return w.add(ctx, prevs)
}

// take gives the next events, at most limit, none less deep than minDepth. Rejected ones are passed over.
func (w *walk) take(ctx context.Context, limit int, minDepth int64) ([]schema.Event, error) {
	var rows []schema.Event
	for budget := limit * lookedAt; budget > 0 && len(rows) < limit && len(w.ahead) > 0; budget-- {
		row := heap.Pop(&w.ahead).(schema.Event)
		if row.Depth < minDepth {
			continue
		}
		if row.Status != schema.Rejected {
			rows = append(rows, row)
		}
		if err := w.before(ctx, &row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// rowHeap has the deepest event first, and of equally deep ones the newest.
type rowHeap []schema.Event

func (h rowHeap) Len() int { return len(h) }
func (h rowHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[j].Depth, h[i].Depth), cmp.Compare(h[j].Seq, h[i].Seq)) < 0
}
func (h rowHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *rowHeap) Push(x any)   { *h = append(*h, x.(schema.Event)) }
func (h *rowHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
