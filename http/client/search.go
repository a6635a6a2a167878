package client

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/search"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// The bounds of a search.
const (
	searchSize, searchMost   = 10, 100 // results
	contextSize, contextMost = 5, 50   // events on each side of a result
	highlightMost            = 100
	// searchPrefix is how many characters a word must have to stand for longer ones too: shorter ones begin too many.
	searchPrefix = 3
	// refreshTimeout is how long a search waits for the index to take in what is new.
	refreshTimeout = time.Second
)

func (h *rooms) searching() []api.Endpoint {
	return []api.Endpoint{{Methods: post, Path: v3 + "/search", R0: true, Auth: api.User, Limit: api.LimitSearch, WhileSuspended: true, Handler: h.search}}
}

// eventSearch is what is searched for in events.
type eventSearch struct {
	Term      *string        `json:"search_term"`
	Keys      []string       `json:"keys"`
	Filter    jsontext.Value `json:"filter"`
	OrderBy   string         `json:"order_by"`
	Context   *eventContext  `json:"event_context"`
	State     bool           `json:"include_state"`
	Groupings struct {
		GroupBy []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

// eventContext asks for the events around each result.
type eventContext struct {
	Before  *int64 `json:"before_limit"`
	After   *int64 `json:"after_limit"`
	Profile bool   `json:"include_profile"`
}

// searchCursor is where a page ended, of all results or of those of a group.
type searchCursor struct {
	RoomID string  `json:"r"`
	Seq    uint64  `json:"s"`
	TS     int64   `json:"t"`
	Rank   float64 `json:"k"`
	Since  int64   `json:"o,omitempty"`
	Count  int     `json:"n"`           // of the results before
	Group  string  `json:"g,omitempty"` // room_id or sender
	Value  string  `json:"v,omitempty"`
}

func (c searchCursor) String() string {
	raw, _ := json.Marshal(c) // numbers and ids
	return base64.RawURLEncoding.EncodeToString(raw)
}

func cursorAfter(hit persistence.TextHit, count int) searchCursor {
	return searchCursor{RoomID: hit.RoomID, Seq: hit.Seq, TS: hit.TS, Rank: hit.Rank, Since: hit.Since, Count: count}
}

func (h *rooms) search(r *api.Request) (any, error) {
	var body struct {
		Categories *struct {
			RoomEvents *eventSearch `json:"room_events"`
		} `json:"search_categories"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Categories == nil {
		return nil, mxerr.MissingParam("search_categories is required")
	}
	categories := map[string]any{}
	if body.Categories.RoomEvents != nil {
		found, err := h.searchEvents(r, body.Categories.RoomEvents)
		if err != nil {
			return nil, err
		}
		categories["room_events"] = found
	}
	return map[string]any{"search_categories": categories}, nil
}

// checkedSearch is a search that has been understood.
type checkedSearch struct {
	search.Query
	before, after int // events around each result; negative: no context
	groups        []string
	count         int // of the results on earlier pages
}

func (h *rooms) checkSearch(r *api.Request, s *eventSearch) (c checkedSearch, err error) {
	if s.Term == nil {
		return c, mxerr.MissingParam("search_term is required")
	}
	c.Query = search.Query{UserID: r.User(), Tokens: words.Query(*s.Term, searchPrefix), Keys: s.Keys, Recent: s.OrderBy == "recent", Limit: searchSize}
	if s.OrderBy != "" && s.OrderBy != "recent" && s.OrderBy != "rank" {
		return c, mxerr.InvalidParam("order_by must be recent or rank, not %.64q", s.OrderBy)
	}
	for _, key := range s.Keys {
		if !slices.Contains(search.Keys, key) {
			return c, mxerr.InvalidParam("keys may hold %s, not %.64q", strings.Join(search.Keys, ", "), key)
		}
	}
	if c.Filters, err = filter.ParseRoomEvent(string(s.Filter)); err != nil {
		return c, err
	}
	if c.Filters.Limit > 0 {
		c.Limit = min(c.Filters.Limit, searchMost)
	}
	for _, group := range s.Groupings.GroupBy {
		if group.Key != "room_id" && group.Key != "sender" {
			return c, mxerr.InvalidParam("results can be grouped by room_id and sender, not by %.64q", group.Key)
		}
		if !slices.Contains(c.groups, group.Key) {
			c.groups = append(c.groups, group.Key)
		}
	}
	c.before, c.after = -1, -1
	if s.Context != nil {
		if c.before, err = contextLimit(s.Context.Before); err != nil {
			return c, err
		}
		if c.after, err = contextLimit(s.Context.After); err != nil {
			return c, err
		}
	}
	if from := r.Param("next_batch"); from != "" {
		err = c.goOn(from)
	}
	return c, err
}

func contextLimit(limit *int64) (int, error) {
	switch {
	case limit == nil:
		return contextSize, nil
	case *limit < 0:
		return 0, mxerr.InvalidParam("before_limit and after_limit must not be negative")
	}
	return int(min(*limit, contextMost)), nil
}

// goOn continues where an earlier page ended.
func (c *checkedSearch) goOn(from string) error {
	var at searchCursor
	raw, err := base64.RawURLEncoding.DecodeString(from)
	if err != nil || json.Unmarshal(raw, &at) != nil {
		return mxerr.InvalidParam("the token %.64q was not given out by this server", from)
	}
	c.After = &persistence.TextHit{TextRef: persistence.TextRef{RoomID: at.RoomID, Seq: at.Seq}, TS: at.TS, Rank: at.Rank, Since: at.Since}
	c.count = max(at.Count, 0)
	switch at.Group {
	case "room_id":
		c.RoomID = at.Value
	case "sender":
		c.Sender = at.Value
	}
	return nil
}

// searchResult is an event that was found.
type searchResult struct {
	Rank    float64        `json:"rank"`
	Result  jsontext.Value `json:"result"`
	Context any            `json:"context,omitzero"`
}

// searchGroup are those of the results that have something in common.
type searchGroup struct {
	Results   []string `json:"results"`
	Order     int      `json:"order"`
	NextBatch string   `json:"next_batch,omitempty"`
}

// searchAnswer is the category room_events of the answer.
type searchAnswer struct {
	Count      int                                `json:"count"`
	Highlights []string                           `json:"highlights"`
	Results    []searchResult                     `json:"results"`
	State      map[string][]jsontext.Value        `json:"state,omitzero"`
	Groups     map[string]map[string]*searchGroup `json:"groups,omitzero"`
	NextBatch  string                             `json:"next_batch,omitempty"`
}

func (h *rooms) searchEvents(r *api.Request, s *eventSearch) (*searchAnswer, error) {
	c, err := h.checkSearch(r, s)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(r.Ctx, refreshTimeout)
	defer cancel()
	// An index that is behind finds what it has.
	_ = h.Search.Refresh(wait)
	results, err := search.Find(r.Ctx, h.Search.Searcher(), h.Reader, c.Query)
	if err != nil {
		return nil, err
	}
	answer := &searchAnswer{Count: c.count + results.Count, Highlights: highlights(&c, results.Found), Results: make([]searchResult, len(results.Found))}
	for i, found := range results.Found {
		if answer.Results[i], err = h.searchResult(r, &c, s.Context, found); err != nil {
			return nil, err
		}
	}
	if results.Next != nil {
		at := cursorAfter(*results.Next, c.count+len(results.Found))
		if c.RoomID != "" {
			at.Group, at.Value = "room_id", c.RoomID
		} else if c.Sender != "" {
			at.Group, at.Value = "sender", c.Sender
		}
		answer.NextBatch = at.String()
	}
	answer.Groups = c.grouped(results)
	if s.State {
		answer.State, err = h.searchState(r, results.Found)
	}
	return answer, err
}

// highlights are the words because of which the events were found.
func highlights(c *checkedSearch, found []search.Found) []string {
	all := []string{}
	for _, f := range found {
		_, text := search.Text(&f.Event)
		for _, word := range words.Highlights(text, c.Tokens) {
			if word = strings.ToLower(word); !slices.Contains(all, word) && len(all) < highlightMost {
				all = append(all, word)
			}
		}
	}
	return all
}

func (h *rooms) searchResult(r *api.Request, c *checkedSearch, wanted *eventContext, found search.Found) (searchResult, error) {
	shown, err := found.Access.Client(r.Ctx, view(r), found.Event)
	if err != nil {
		return searchResult{}, err
	}
	result := searchResult{Rank: found.Hit.Rank, Result: shown[0]}
	if wanted != nil {
		result.Context, err = h.searchContext(r, c, found, wanted.Profile)
	}
	return result, err
}

// grouped sorts the results into groups. A group goes on as long as the whole does.
func (c *checkedSearch) grouped(results search.Results) map[string]map[string]*searchGroup {
	if len(c.groups) == 0 {
		return nil
	}
	groups := map[string]map[string]*searchGroup{}
	for _, key := range c.groups {
		of := map[string]*searchGroup{}
		for _, found := range results.Found {
			value := found.Event.RoomID
			if key == "sender" {
				value = found.Event.Sender
			}
			g := of[value]
			if g == nil {
				g = &searchGroup{Order: len(of) + 1}
				of[value] = g
			}
			g.Results = append(g.Results, found.Event.EventID)
			if results.Next != nil {
				at := cursorAfter(found.Hit, len(g.Results))
				at.Group, at.Value = key, value
				g.NextBatch = at.String()
			}
		}
		groups[key] = of
	}
	return groups
}

// searchState is the state of the rooms of the results, as the user may see it.
func (h *rooms) searchState(r *api.Request, found []search.Found) (map[string][]jsontext.Value, error) {
	state := map[string][]jsontext.Value{}
	for _, f := range found {
		if _, done := state[f.Event.RoomID]; done {
			continue
		}
		s, err := f.Access.State(r.Ctx)
		if err != nil {
			return nil, err
		}
		entries, err := s.Entries(nil)
		if err != nil {
			return nil, err
		}
		rows, err := s.Events(r.Ctx, entries)
		if err != nil {
			return nil, err
		}
		if state[f.Event.RoomID], err = events(r, f.Access, rows); err != nil {
			return nil, err
		}
	}
	return state, nil
}
