package federation

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// state is a room's state as somebody knows it: event ids by place.
type state map[event.Tuple]string

func stateOf(events []gjson.Result) state {
	s := state{}
	s.take(events)
	return s
}

// take takes in state events, and passes over others.
func (s state) take(events []gjson.Result) {
	for _, e := range events {
		if key := e.Get("state_key"); key.Exists() {
			s[event.Tuple{Type: e.Get("type").Str, StateKey: key.Str}] = e.Get("event_id").Str
		}
	}
}

// state asks for the room's state.
func (p *person) state(roomID string) state {
	p.t.Helper()
	return stateOf(p.do("GET", matrixclient.Path("rooms", roomID, "state"), nil).Array())
}

// compare tells in what two states differ. What has no event any more after a resolution no client is told of; allowed are such places.
func compare(t *testing.T, what string, got, want state, allowGone bool) {
	t.Helper()
	places := maps.Clone(want)
	maps.Copy(places, got)
	for place := range places {
		if g, w := got[place], want[place]; g != w && !(allowGone && w == "") {
			t.Errorf("%s: %s %q is %q, not %q", what, place.Type, place.StateKey, g, w)
		}
	}
}

// view is what a client makes of the syncs that it gets in one of the ways there are.
type view struct {
	*person
	name  string
	next  string
	rooms map[string]state
	shown map[string]map[string]int // by room and event, how often it was in the timeline
	ask   func() (next string, rooms map[string]told)
}

// told is what one answer tells of a room.
type told struct {
	fresh    bool // it is all of the state
	state    []gjson.Result
	timeline []gjson.Result
}

// views are all the ways in which a client can follow its rooms. The timelines are short, so that there are gaps.
func views(p *person) []*view {
	classic := &view{person: p, name: "v3 sync"}
	classic.ask = func() (string, map[string]told) { return classic.sync(false) }
	after := &view{person: p, name: "v3 sync with state_after"}
	after.ask = func() (string, map[string]told) { return after.sync(true) }
	sliding := &view{person: p, name: "sliding sync"}
	sliding.ask = sliding.slide
	all := []*view{classic, after, sliding}
	for _, v := range all {
		v.rooms, v.shown = map[string]state{}, map[string]map[string]int{}
	}
	return all
}

func (v *view) sync(stateAfter bool) (string, map[string]told) {
	v.t.Helper()
	q := url.Values{"timeout": {"0"}, "filter": {`{"room":{"timeline":{"limit":5}}}`}}
	if v.next != "" {
		q.Set("since", v.next)
	}
	field := "state"
	if stateAfter {
		field = "state_after"
		q.Set("use_state_after", "true")
	}
	answer := v.do("GET", "/sync?"+q.Encode(), nil)
	rooms := map[string]told{}
	for roomID, room := range answer.Get("rooms.join").Map() {
		r := told{fresh: v.next == "", state: room.Get(field + ".events").Array(), timeline: room.Get("timeline.events").Array()}
		if !stateAfter {
			r.state = append(r.state, r.timeline...)
		}
		rooms[roomID] = r
	}
	return answer.Get("next_batch").Str, rooms
}

func (v *view) slide() (string, map[string]told) {
	v.t.Helper()
	q := url.Values{"timeout": {"0"}}
	if v.next != "" {
		q.Set("pos", v.next)
	}
	raw, err := json.Marshal(J{"conn_id": "views", "lists": J{"all": J{"ranges": [][2]int{{0, 99}}, "timeline_limit": 5, "required_state": [][2]string{{"*", "*"}}}}})
	if err != nil {
		v.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(v.t.Context(), "POST", v.URL+"/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?"+q.Encode(), bytes.NewReader(raw))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+v.Token)
	resp, err := v.HTTP.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(resp.Body)
	if err == nil && v.next != "" && gjson.GetBytes(raw, "errcode").Str == "M_UNKNOWN_POS" { // the server was killed: the client begins anew
		v.next, v.rooms, v.shown = "", map[string]state{}, map[string]map[string]int{}
		return v.slide()
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: sliding sync: %v %s %s", v.UserID, err, resp.Status, raw)
	}
	answer := gjson.ParseBytes(raw)
	rooms := map[string]told{}
	for roomID, room := range answer.Get("rooms").Map() {
		rooms[roomID] = told{room.Get("initial").Bool(), room.Get("required_state").Array(), room.Get("timeline").Array()}
	}
	return answer.Get("pos").Str, rooms
}

// update syncs once.
func (v *view) update() {
	v.t.Helper()
	next, rooms := v.ask()
	v.next = next
	for roomID, r := range rooms {
		if r.fresh || v.rooms[roomID] == nil {
			v.rooms[roomID] = state{}
		}
		v.rooms[roomID].take(r.state)
		if v.shown[roomID] == nil {
			v.shown[roomID] = map[string]int{}
		}
		for _, e := range r.timeline {
			v.shown[roomID][e.Get("event_id").Str]++
		}
	}
}

// check wants the client to know the state of a room, and no event to have been in the timeline twice.
func (v *view) check(t *testing.T, roomID string, want state) {
	t.Helper()
	compare(t, v.UserID+" in "+v.name, v.rooms[roomID], want, true)
	for _, id := range slices.Sorted(maps.Keys(v.shown[roomID])) {
		if n := v.shown[roomID][id]; n > 1 {
			t.Errorf("%s in %s: the event %s was shown %d times", v.UserID, v.name, id, n)
		}
	}
}
