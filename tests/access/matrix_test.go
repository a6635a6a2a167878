package access

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// cell is one asker of one room.
type cell struct {
	*testing.T
	*room
	asker string
	who   *person
}

// hides fails if a word of an event that is not allowed stands anywhere in the answer.
func (c *cell) hides(what string, a answer, allowed func(event string) bool) {
	c.Helper()
	for _, event := range append(slices.Clone(story), "name", "before") {
		if !allowed(event) && strings.Contains(a.Raw, c.mark(event)) {
			c.Errorf("%s: %s shows %q of a room that is %s: %s", c.asker, what, event, c.room, a.Raw)
		}
	}
}

// seen says whether an event of the story may be seen by itself, or a piece of state that was there from the beginning.
func (c *cell) seen(event string) bool {
	if at := slices.Index(story, event); at >= 0 {
		return c.sees(c.asker, at) || event == "topic" && c.asker == "joined"
	}
	return c.enters(c.asker)
}

// byItself says the same of an event that is asked for by its id.
func (c *cell) byItself(event string) bool {
	at := slices.Index(story, event)
	return c.seen(event) || at >= 0 && c.visible(c.asker, at)
}

// known is what may be told of the room to who may know of it.
func (c *cell) known(event string) bool {
	return c.discovers(c.asker) && (event == "name" || event == "topic")
}

// stripped is what an invite, a knock, and a look at one's rooms may show.
func (c *cell) stripped(event string) bool {
	return c.seen(event) || (event == "name" || event == "before") && slices.Contains([]string{"invite", "knock"}, c.membership(c.asker, len(story)-1))
}

// get asks below /v3, and holds the answer to what may be seen of the room's history.
func (c *cell) get(parts string) answer {
	c.Helper()
	a := c.who.ask(c.T, "GET", path("v3", "rooms", c.id)+parts, nil)
	c.hides(parts, a, c.seen)
	return a
}

// refused wants an answer 403 or 404, or 401 of those who have not logged in.
func (c *cell) refused(what string, a answer) {
	c.Helper()
	if a.status != 403 && a.status != 404 && (a.status != 401 || c.asker != "anonymous") {
		c.Errorf("%s: %s of a room that is %s: %d %s", c.asker, what, c.room, a.status, a.Raw)
	}
}

// shows wants that exactly the events that may be seen are among those of the answer.
func (c *cell) shows(what string, ids []gjson.Result, events ...string) {
	c.Helper()
	for _, event := range events {
		found := slices.ContainsFunc(ids, func(id gjson.Result) bool { return id.Str == c.events[event] })
		if want := c.sees(c.asker, slices.Index(story, event)); found != want {
			c.Errorf("%s: %s of a room that is %s shows %q: %t, want %t", c.asker, what, c.room, event, found, want)
		}
	}
}

// Nobody sees in any answer what they may not see, and everybody sees what they may.
func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, r := range w.rooms {
		for _, asker := range askers {
			c := &cell{t, r, asker, w.askers[asker]}
			c.history()
			c.relations()
			c.state()
			c.what(w)
			c.people(w)
		}
	}
	for _, r := range w.rooms {
		elsewhere(t, w, r)
	}
	for _, asker := range askers {
		overall(t, w, asker)
	}
}

// history asks for what was said.
func (c *cell) history() {
	logged := c.asker != "anonymous"
	page := c.get("/messages?dir=b&limit=100")
	forwards := c.get("/messages?dir=f&limit=100")
	initial := c.get("/initialSync?limit=100")
	if !logged || !c.enters(c.asker) {
		for what, a := range map[string]answer{"/messages": page, "/messages forwards": forwards, "/initialSync": initial} {
			c.refused(what, a)
		}
	} else {
		c.shows("/messages", page.Get("chunk.#.event_id").Array(), story...)
		c.shows("/messages forwards", forwards.Get("chunk.#.event_id").Array(), story...)
	}
	for at, event := range story {
		one, around := c.who.ask(c.T, "GET", path("v3", "rooms", c.id, "event", c.events[event]), nil), c.who.ask(c.T, "GET", path("v3", "rooms", c.id, "context", c.events[event])+"?limit=50", nil)
		c.hides("/event", one, c.byItself)
		c.hides("/context", around, c.byItself)
		if logged && c.visible(c.asker, at) {
			if one.Get("event_id").Str != c.events[event] || around.Get("event.event_id").Str != c.events[event] {
				c.Errorf("%s may see %q of a room that is %s: %d %s, context %d", c.asker, event, c.room, one.status, one.Raw, around.status)
			}
		} else {
			c.refused("/event of "+event, one)
			c.refused("/context of "+event, around)
		}
	}
	for _, q := range []string{"?ts=0&dir=f", "?ts=99999999999999&dir=b"} {
		a := c.who.ask(c.T, "GET", path("v1", "rooms", c.id, "timestamp_to_event")+q, nil)
		if !logged || !c.enters(c.asker) {
			c.refused("/timestamp_to_event", a)
		}
		for at, event := range story {
			if a.Get("event_id").Str == c.events[event] && !c.sees(c.asker, at) {
				c.Errorf("%s: /timestamp_to_event%s of a room that is %s gives %q", c.asker, q, c.room, event)
			}
		}
	}
	if !logged {
		return
	}
	found := c.who.must(c.T, "POST", "/v3/search", J{"search_categories": J{"room_events": J{"search_term": "common", "include_state": true,
		"filter": J{"rooms": []string{c.id}, "limit": 100}, "event_context": J{"before_limit": 50, "after_limit": 50}}}})
	c.hides("/search", found, c.seen)
	if c.asker == "joined" || slices.Contains(presence[c.asker], "join") && c.asker != "forgot" {
		c.shows("/search", found.Get("search_categories.room_events.results.#.result.event_id").Array(), "m0", "root", "reply", "last")
	} else if n := found.Get("search_categories.room_events.count").Int(); n != 0 {
		c.Errorf("%s finds %d events of a room that is %s and not theirs", c.asker, n, c.room)
	}
}

// relations asks for what belongs to a message.
func (c *cell) relations() {
	root := c.events["root"]
	threads := c.who.ask(c.T, "GET", path("v1", "rooms", c.id, "threads"), nil)
	c.hides("/threads", threads, c.seen)
	all := c.who.ask(c.T, "GET", path("v1", "rooms", c.id, "relations", root)+"?limit=50", nil)
	c.hides("/relations", all, c.seen)
	for _, typ := range []string{"m.thread", "m.replace", "m.annotation"} {
		c.hides("/relations/"+typ, c.who.ask(c.T, "GET", path("v1", "rooms", c.id, "relations", root, typ)+"?recurse=true&dir=f", nil), c.seen)
	}
	switch {
	case c.asker == "anonymous" || !c.enters(c.asker):
		c.refused("/threads", threads)
		c.refused("/relations", all)
	case c.sees(c.asker, slices.Index(story, "root")):
		c.shows("/relations", all.Get("chunk.#.event_id").Array(), "reply", "edit", "reaction")
		// Whoever sees nothing of the thread but its root sees no thread.
		if n := len(threads.Get("chunk").Array()); n > 1 || n == 0 && c.sees(c.asker, slices.Index(story, "reply")) {
			c.Errorf("%s: %d threads of a room that is %s: %s", c.asker, n, c.room, threads.Raw)
		}
	default:
		c.refused("/relations", all)
		if n := len(threads.Get("chunk").Array()); n != 0 {
			c.Errorf("%s: %d threads of a room that is %s: %s", c.asker, n, c.room, threads.Raw)
		}
	}
}

// state asks for the room's state and members.
func (c *cell) state() {
	may := c.asker != "anonymous" && c.enters(c.asker)
	was, is := slices.Contains(presence[c.asker], "join") && c.asker != "forgot", c.asker == "joined"
	for parts, may := range map[string]bool{"/state": may, "/state/m.room.name": may, "/state/m.room.topic/": may, "/members": was,
		"/joined_members": is, "/aliases": is || c.asker != "anonymous" && c.visibility == "world_readable"} {
		a := c.get(parts)
		if ok := a.status == 200; ok != may {
			c.Errorf("%s: %s of a room that is %s: %d %s", c.asker, parts, c.room, a.status, a.Raw)
		}
		// The last to come has come after all who have gone.
		if gone := c.asker != "joined" && c.visibility != "world_readable"; gone && strings.Contains(a.Raw, c.who.w.askers["joined"].id) {
			c.Errorf("%s: %s of a room that is %s tells of who came later: %s", c.asker, parts, c.room, a.Raw)
		}
	}
}

// what asks what the room is.
func (c *cell) what(w *world) {
	for _, given := range []string{c.id, c.alias(w)} {
		a := c.who.ask(c.T, "GET", path("v1", "room_summary", given), nil)
		c.hides("/room_summary", a, c.known)
		if want := c.discovers(c.asker); want != (a.status == 200) || !want && a.Get("errcode").Str != "M_NOT_FOUND" {
			c.Errorf("%s: the summary of %s, which is %s: %d %s", c.asker, given, c.room, a.status, a.Raw)
		}
	}
	if c.asker == "anonymous" {
		return
	}
	for from := ""; ; {
		a := c.who.must(c.T, "GET", path("v1", "rooms", w.space, "hierarchy")+"?limit=50&from="+from, nil)
		c.hides("/hierarchy", a, c.known)
		if from = a.Get("next_batch").Str; from == "" {
			listed := slices.ContainsFunc(a.Get("rooms.#.room_id").Array(), func(id gjson.Result) bool { return id.Str == c.id })
			if listed != c.discovers(c.asker) {
				c.Errorf("%s: the hierarchy has a room that is %s: %t", c.asker, c.room, listed)
			}
			break
		}
	}
	if of := c.who.ask(c.T, "GET", path("v1", "rooms", c.id, "hierarchy"), nil); !c.discovers(c.asker) {
		c.refused("/hierarchy", of)
	}
}

// people asks for others.
func (c *cell) people(w *world) {
	if c.asker == "anonymous" {
		return
	}
	found := c.who.must(c.T, "POST", "/v3/user_directory/search", J{"search_term": c.hermit.id})
	finds := slices.ContainsFunc(found.Get("results.#.user_id").Array(), func(id gjson.Result) bool { return id.Str == c.hermit.id })
	if want := c.asker == "joined" || c.rule == "public" || c.visibility == "world_readable"; finds != want {
		c.Errorf("%s: finds who is only in a room that is %s: %t, want %t", c.asker, c.room, finds, want)
	}
	shared := c.who.must(c.T, "GET", "/v1/mutual_rooms?user_id="+url.QueryEscape(c.hermit.id), nil)
	if is := len(shared.Get("joined").Array()) == 1; is != (c.asker == "joined") {
		c.Errorf("%s: shares a room that is %s: %s", c.asker, c.room, shared.Raw)
	}
}

// overall asks for all of the asker's rooms, and of those that the server publishes.
func overall(t *testing.T, w *world, asker string) {
	who := w.askers[asker]
	public := who.must(t, "GET", "/v3/publicRooms?limit=1000", nil)
	answers := map[string]answer{}
	if asker != "anonymous" {
		answers["/sync"] = who.must(t, "GET", "/v3/sync?timeout=0&filter="+url.QueryEscape(`{"room":{"include_leave":true,"timeline":{"limit":100}}}`), nil)
		answers["/notifications"] = who.must(t, "GET", "/v3/notifications?limit=1000", nil)
		answers["/initialSync"] = who.must(t, "GET", "/v3/initialSync?limit=100", nil)
		answers["/search"] = who.must(t, "POST", "/v3/search", J{"search_categories": J{"room_events": J{"search_term": "common", "filter": J{"limit": 100},
			"groupings": J{"group_by": []J{{"key": "room_id"}}}}}})
		subscriptions := J{}
		for _, r := range w.rooms {
			subscriptions[r.id] = J{"timeline_limit": 50, "required_state": [][]string{{"*", "*"}}}
		}
		answers["sliding sync"] = who.must(t, "POST", "/unstable/org.matrix.simplified_msc3575/sync?timeout=0", J{"room_subscriptions": subscriptions,
			"lists": J{"all": J{"ranges": [][]int{{0, 99}}, "timeline_limit": 50, "required_state": [][]string{{"*", "*"}}}}})
	}
	for _, r := range w.rooms {
		c := &cell{t, r, asker, who}
		listed := slices.ContainsFunc(public.Get("chunk.#.room_id").Array(), func(id gjson.Result) bool { return id.Str == r.id })
		if listed != r.published() {
			t.Errorf("%s: the list of public rooms has a room: %t", asker, listed)
		}
		c.hides("/publicRooms", public, func(event string) bool { return r.published() && (event == "name" || event == "topic") })
		for what, a := range answers {
			c.hides(what, a, c.stripped)
		}
	}
}
