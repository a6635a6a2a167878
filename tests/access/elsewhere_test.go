package access

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
)

// call has the other homeserver ask; the status is that of a refusal, or 200.
func (w *world) call(t *testing.T, method, path string, q url.Values, body any) answer {
	t.Helper()
	uri := "/_matrix/federation/v1" + path
	if len(q) > 0 {
		uri += "?" + q.Encode()
	}
	request := federation.Request{Destination: w.server.Name, Method: method, URI: uri}
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		request.Body = raw
	}
	raw, err := w.other.Caller.Call(t.Context(), request)
	var refusal *federation.Error
	switch {
	case errors.As(err, &refusal):
		return answer{refusal.Status, gjson.Parse(`{"errcode":"` + refusal.Code + `"}`)}
	case err != nil:
		t.Fatal(err)
	}
	return answer{200, gjson.ParseBytes(raw)}
}

// elsewhere asks as a homeserver that is not in the room: it learns what its users could learn who have not joined.
func elsewhere(t *testing.T, w *world, r *room) {
	c := &cell{t, r, "stranger", w.askers["stranger"]}
	last, root := r.events["last"], r.events["root"]
	for what, q := range map[string]url.Values{
		"state": {"event_id": {last}}, "state_ids": {"event_id": {last}}, "backfill": {"v": {last}, "limit": {"100"}}, "event_auth/" + last: nil,
		"timestamp_to_event": {"ts": {"0"}, "dir": {"f"}},
	} {
		kind, id, _ := strings.Cut(what, "/")
		parts := []string{kind, r.id}
		if id != "" {
			parts = append(parts, id)
		}
		a := w.call(t, "GET", path(parts...), q, nil)
		c.hides("federation "+kind, a, func(string) bool { return r.visibility == "world_readable" })
		if r.visibility != "world_readable" && a.status != 403 && a.status != 404 {
			t.Errorf("another server asks for %s of a room that is %s: %d %s", kind, r, a.status, a.Raw)
		}
	}
	missing := w.call(t, "POST", path("get_missing_events", r.id), nil, J{"earliest_events": []string{root}, "latest_events": []string{last}, "limit": 20})
	c.hides("federation get_missing_events", missing, func(string) bool { return r.visibility == "world_readable" })
	for at, event := range story {
		a := w.call(t, "GET", path("event", r.events[event]), nil, nil)
		c.hides("federation event", a, func(string) bool { return r.visibility == "world_readable" })
		if r.visibility != "world_readable" && a.status != 403 && a.status != 404 {
			t.Errorf("another server asks for event %d of a room that is %s: %d %s", at, r, a.status, a.Raw)
		}
	}
	space := w.call(t, "GET", path("hierarchy", r.id), nil, nil)
	c.hides("federation hierarchy", space, c.known)
	if c.discovers("stranger") != (space.status == 200) {
		t.Errorf("another server asks for the hierarchy of a room that is %s: %d %s", r, space.status, space.Raw)
	}
	children := w.call(t, "GET", path("hierarchy", w.space), nil, nil)
	c.hides("federation hierarchy", children, c.known)
	public := w.call(t, "GET", "/publicRooms", url.Values{"limit": {"100"}}, nil)
	c.hides("federation publicRooms", public, func(event string) bool { return r.published() && (event == "name" || event == "topic") })
	if listed := slices.ContainsFunc(public.Get("chunk.#.room_id").Array(), func(id gjson.Result) bool { return id.Str == r.id }); listed != r.published() {
		t.Errorf("another server finds a room: %t", listed)
	}
	if a := w.call(t, "GET", "/query/directory", url.Values{"room_alias": {r.alias(w)}}, nil); a.Get("room_id").Str != r.id {
		t.Errorf("another server asks for an alias: %d %s", a.status, a.Raw)
	}
}
