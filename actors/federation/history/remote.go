package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what another server answers, in bytes, of how many events an auth chain has that is fetched at once, and of how many events are fetched one by one, and how many of those at a time,
// before the whole state is.
const (
	largestPage  = int64(20 << 20)
	largestState = int64(512 << 20)
	largestChain = 20_000
	mostSingly   = 100
	singlyAtOnce = 8
	// statePatience bounds the pauses in an answer that holds a room's state.
	statePatience = 2 * time.Minute
)

const v1 = "/_matrix/federation/v1"

// uri is a path of the server-server API with escaped segments.
func uri(endpoint string, segments ...string) string {
	path := v1 + "/" + endpoint
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path
}

// page asks for a list of events, which stands in the answer's member of this name. What there is beyond most is left out: each costs the
// checking of a signature.
func (h *History) page(ctx context.Context, server string, in room, name string, most int, q federation.Request) (*pdus.Set, error) {
	q.Destination, q.Limit, q.Eager = server, largestPage, true
	raw, err := h.d.Servers.Call(ctx, q)
	if err != nil {
		return nil, err
	}
	var answer map[string]jsontext.Value
	var list []jsontext.Value
	if err := errors.Join(json.Unmarshal(raw, &answer), json.Unmarshal(answer[name], &list)); err != nil {
		return nil, federation.Unreachable(fmt.Errorf("%s: the answer has no list of %s: %w", server, name, err))
	}
	list = list[:min(len(list), most)]
	raws := make([][]byte, len(list))
	for i, one := range list {
		raws[i] = one
	}
	set := pdus.NewSet(in.id, in.version, h.d.Verifier)
	return set, set.Add(ctx, raws)
}

// missing asks for the predecessors of the latest events, up to the earliest (POST /get_missing_events/{roomId}).
func (h *History) missing(ctx context.Context, server string, in room, earliest, latest []string, limit int) (*pdus.Set, error) {
	body, err := json.Marshal(map[string]any{"earliest_events": earliest, "latest_events": latest, "limit": limit, "min_depth": 0}, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	set, err := h.page(ctx, server, in, "events", limit, federation.Request{Method: http.MethodPost, URI: uri("get_missing_events", in.id), Body: body})
	if err != nil {
		return nil, err
	}
	events := slices.Collect(maps.Values(set.Events))
	if err := h.Originals(ctx, in.id, server, events); err != nil {
		return nil, err
	}
	for _, e := range events {
		set.Events[e.ID()] = e
	}
	return set, nil
}

// before asks for the newest events up to those with these ids (GET /backfill/{roomId}).
func (h *History) before(ctx context.Context, server string, in room, ids []string, limit int) (*pdus.Set, error) {
	query := url.Values{"v": ids, "limit": {strconv.Itoa(limit)}}
	return h.page(ctx, server, in, "pdus", limit, federation.Request{Method: http.MethodGet, URI: uri("backfill", in.id) + "?" + query.Encode()})
}

// authorising fetches the auth chain of an event (GET /event_auth/{roomId}/{eventId}) and stores it. Where a server does not tell that, the
// missing events are fetched one by one.
func (h *History) authorising(ctx context.Context, server string, in room, lacking *messages.PduResult) error {
	set, err := h.page(ctx, server, in, "auth_chain", largestChain, federation.Request{Method: http.MethodGet, URI: uri("event_auth", in.id, lacking.EventId)})
	var refused *federation.Error
	if errors.As(err, &refused) {
		set, err = h.authorisingSingly(ctx, server, in, lacking.MissingAuth)
	}
	if err != nil {
		return err
	}
	_, err = set.Store(ctx, h.d.Rooms, server, h.d.Log)
	return err
}

// authorisingSingly fetches events and those that authorise them, as far as they are not here, mostSingly at most.
func (h *History) authorisingSingly(ctx context.Context, server string, in room, ids []string) (*pdus.Set, error) {
	set := pdus.NewSet(in.id, in.version, h.d.Verifier)
	asked := map[string]bool{}
	for len(ids) > 0 && len(asked) < mostSingly {
		ids = ids[:min(len(ids), mostSingly-len(asked))]
		raws, err := h.singly(ctx, server, ids)
		if err == nil {
			err = set.Add(ctx, raws)
		}
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			asked[id] = true
		}
		got := ids
		ids = nil
		for _, id := range got {
			if set.Events[id] == nil {
				continue
			}
			for _, cited := range set.Events[id].Authorisers() {
				_, here, err := h.d.Reader.Stored(ctx, in.id, cited)
				if err != nil {
					return nil, err
				}
				if !here && !asked[cited] && !slices.Contains(ids, cited) {
					ids = append(ids, cited)
				}
			}
		}
	}
	return set, nil
}

// stateBefore fetches the state before an event, as far as it is not here, stores it and its auth chain as outliers, and gives the ids of the
// state's events; left counts those that could not be had, or whose signatures do not hold.
func (h *History) stateBefore(ctx context.Context, server string, in room, eventID string) (state []string, left int, err error) {
	at := "?event_id=" + url.QueryEscape(eventID)
	raw, err := h.d.Servers.Call(ctx, federation.Request{Destination: server, Method: http.MethodGet, URI: uri("state_ids", in.id) + at, Limit: largestPage, Eager: true})
	if err != nil {
		return nil, 0, err
	}
	var ids struct {
		State []string `json:"pdu_ids"`
		Chain []string `json:"auth_chain_ids"`
	}
	if err := json.Unmarshal(raw, &ids); err != nil || len(ids.State) == 0 {
		return nil, 0, federation.Unreachable(fmt.Errorf("%s: the answer is no state: %w", server, err))
	}
	known := map[string]bool{}
	var unknown []string
	for _, id := range append(append([]string{}, ids.State...), ids.Chain...) {
		if _, asked := known[id]; asked {
			continue
		}
		_, ok, err := schema.EventsByID.Get(ctx, h.d.Store, schema.EventByID{RoomID: in.id, EventID: id})
		if err != nil {
			return nil, 0, err
		}
		if known[id] = ok; !ok {
			unknown = append(unknown, id)
		}
	}
	taken, err := h.fetchState(ctx, server, in, at, unknown)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids.State {
		allowed, had := taken[id]
		switch {
		case known[id] || allowed:
			state = append(state, id)
		case !had:
			left++
		}
	}
	return state, left, nil
}

// stateAt is stateBefore for an event of which the other server has told what came before, as far as it goes: where that is one event, it is
// asked for the state before that, which is what most servers ask for, and there is nothing that a server which has both would not tell.
func (h *History) stateAt(ctx context.Context, server string, in room, e *event.Event, divulged bool) (state []string, left int, err error) {
	if missing, err := h.missingPrev(ctx, in, e, nil); err != nil {
		return nil, 0, err
	} else if divulged && len(missing) == 1 {
		state, left, err := h.stateAfter(ctx, server, in, missing[0])
		var refused *federation.Error
		if err == nil || !errors.As(err, &refused) && !errors.Is(err, errUnplaced) {
			return state, left, err
		}
	}
	return h.stateBefore(ctx, server, in, e.ID())
}

// stateAfter is stateBefore with the event itself in the state, which is fetched as well. errUnplaced: it cannot be had.
func (h *History) stateAfter(ctx context.Context, server string, in room, eventID string) (state []string, left int, err error) {
	if state, left, err = h.stateBefore(ctx, server, in, eventID); err != nil {
		return nil, 0, err
	}
	row, ok, err := h.d.Reader.Stored(ctx, in.id, eventID)
	if err == nil && !ok {
		if _, err = h.fetchState(ctx, server, in, "", []string{eventID}); err == nil {
			row, ok, err = h.d.Reader.Stored(ctx, in.id, eventID)
		}
	}
	switch {
	case err != nil:
		return nil, 0, err
	case !ok:
		return nil, 0, errUnplaced
	case row.StateKey == nil || row.Status == schema.Rejected:
		return state, left, nil
	}
	e, err := event.FromStored(row.JSON, row.EventID, in.version)
	if err != nil {
		return nil, 0, err
	}
	// What it takes the place of is mostly among what authorises it. Otherwise the last one counts.
	for _, id := range e.AuthEvents() {
		before, ok, err := h.d.Reader.Stored(ctx, in.id, id)
		if err != nil {
			return nil, 0, err
		}
		if ok && before.StateKey != nil && before.Type == row.Type && *before.StateKey == *row.StateKey {
			state = slices.DeleteFunc(state, func(s string) bool { return s == id })
		}
	}
	return append(state, eventID), left, nil
}

// fetchState fetches what is unknown of a state and stores it; see pdus.Account.Store.
func (h *History) fetchState(ctx context.Context, server string, in room, at string, unknown []string) (taken map[string]bool, err error) {
	if len(unknown) == 0 {
		return nil, nil
	}
	account, err := pdus.NewAccount(h.d.Folder, in.id, in.version, h.d.Verifier)
	if err != nil {
		return nil, err
	}
	defer account.Close()
	if len(unknown) > mostSingly {
		err = h.wholeState(ctx, server, in, at, account)
	} else {
		var raws [][]byte
		if raws, err = h.singly(ctx, server, unknown); err == nil {
			err = account.Add(ctx, raws, nil)
		}
	}
	if err != nil {
		return nil, err
	}
	return account.Store(ctx, h.d.Rooms, server, h.d.Log)
}

// wholeState reads the state with its events and their auth chain as it comes (GET /state/{roomId}).
func (h *History) wholeState(ctx context.Context, server string, in room, at string, account *pdus.Account) error {
	body, _, err := h.d.Servers.Open(ctx, federation.Request{Destination: server, Method: http.MethodGet, URI: uri("state", in.id) + at,
		Limit: largestState, Timeout: statePatience, Eager: true})
	if err != nil {
		return err
	}
	err = readState(ctx, body, account)
	if closeErr := body.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		err = federation.Unreachable(fmt.Errorf("%s: the answer is no state: %w", server, err))
	}
	return err
}

func readState(ctx context.Context, body io.Reader, account *pdus.Account) error {
	d := pdus.NewDecoder(body)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return errors.Join(errors.New("it is no JSON object"), err)
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if n := name.String(); n == "pdus" || n == "auth_chain" {
			err = account.Read(ctx, d, nil)
		} else {
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err := d.ReadToken() // of the end
	return err
}

// singly fetches events one by one (GET /event/{eventId}). One that the server does not give is left out.
func (h *History) singly(ctx context.Context, server string, ids []string) ([][]byte, error) {
	found := make([][]byte, len(ids))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(singlyAtOnce)
	for i, id := range ids {
		group.Go(func() error {
			raw, err := h.d.Servers.Call(asking, federation.Request{Destination: server, Method: http.MethodGet, URI: uri("event", id), Eager: true})
			var refused *federation.Error
			if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
				return nil
			}
			if err != nil {
				return err
			}
			var answer struct {
				PDUs []jsontext.Value `json:"pdus"`
			}
			if json.Unmarshal(raw, &answer) == nil && len(answer.PDUs) == 1 {
				found[i] = answer.PDUs[0]
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(raw []byte) bool { return raw == nil }), nil
}
