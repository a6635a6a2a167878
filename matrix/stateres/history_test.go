package stateres_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/stateres/naive"
)

// history is a room's graph, with the state after every event as the oracle resolves it.
type history struct {
	tb       rapid.TB
	v        *roomversion.Version
	events   map[string]*event.Event
	rejected map[string]bool
	ids      []string
	after    map[string]naive.State
}

func newHistory(tb rapid.TB, v *roomversion.Version) *history {
	tb.Helper()
	return &history{tb: tb, v: v, events: map[string]*event.Event{}, rejected: map[string]bool{}, after: map[string]naive.State{}}
}

func (h *history) Event(id string) *event.Event { return h.events[id] }

func (h *history) Rejected(id string) bool { return h.rejected[id] }

// stateView is a state as the auth rules see it.
type stateView struct {
	h     *history
	state naive.State
}

func (s stateView) Event(t event.Tuple) *event.Event {
	if id := s.state[t]; id != "" {
		return s.h.events[id]
	}
	if s.h.v.RoomIDFromCreate && t == (event.Tuple{Type: "m.room.create"}) {
		return s.h.events["$create"]
	}
	return nil
}

// draft is an event to come. Its id is freely chosen, so that histories can be read.
type draft struct {
	id, sender, typ string
	stateKey        *string
	content         string
	prev            []string
	auth            []string // nil: as selected from the state before
	ts              int64
}

// before is the state before an event on top of prev.
func (h *history) before(prev []string) naive.State {
	states := make([]naive.State, len(prev))
	for i, id := range prev {
		states[i] = h.after[id]
	}
	if len(states) == 1 {
		return states[0]
	}
	return naive.Resolve(h.v, states, h)
}

// add makes the event and says what the auth rules say to it by the state before. Only an allowed event is in the state after it.
func (h *history) add(d draft) error {
	h.tb.Helper()
	before := h.before(d.prev)
	if d.auth == nil {
		for _, t := range auth.Selection(h.v, auth.Shape{Type: d.typ, StateKey: d.stateKey, Sender: d.sender, Content: []byte(d.content)}) {
			if id := before[t]; id != "" {
				d.auth = append(d.auth, id)
			}
		}
	}
	e := h.build(d)
	h.events[d.id] = e
	h.ids = append(h.ids, d.id)
	after := maps.Clone(before)
	err := auth.Check(e, stateView{h, before})
	if err == nil && e.IsState() {
		after[e.Tuple()] = d.id
	}
	h.after[d.id] = after
	return err
}

func (h *history) build(d draft) *event.Event {
	h.tb.Helper()
	cite := func(ids []string) string {
		list := make([]string, len(ids))
		for i, id := range ids {
			list[i] = strconv.Quote(id)
			if h.v.EventIDFormat == roomversion.EventIDField {
				list[i] = "[" + list[i] + ",{}]"
			}
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	var depth int64
	for _, id := range d.prev {
		depth = max(depth, h.events[id].Depth())
	}
	raw := fmt.Sprintf(`{"auth_events":%s,"content":%s,"depth":%d,"origin_server_ts":%d,"prev_events":%s,"sender":%q,"type":%q`,
		cite(d.auth), d.content, depth+1, d.ts, cite(d.prev), d.sender, d.typ)
	if d.stateKey != nil {
		raw += fmt.Sprintf(`,"state_key":%q`, *d.stateKey)
	}
	switch {
	case !h.v.RoomIDFromCreate:
		raw += `,"room_id":"!room:test"`
	case d.typ != "m.room.create":
		raw += `,"room_id":"!create"`
	}
	canonical, err := canonicaljson.Canonicalize(nil, []byte(raw+"}"), canonicaljson.Options{})
	if err != nil {
		h.tb.Fatalf("%v: %s", err, raw)
	}
	e, err := event.FromStored(canonical, d.id, h.v)
	if err != nil {
		h.tb.Fatal(err)
	}
	return e
}
