package client_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// bodies are the bodies of the messages that the path finds.
func bodies(a *clienttest.Answer, path string) []string {
	return a.OK().Texts(path + ".#.content.body")
}

// history asks for a page of history.
func history(u *clienttest.User, roomID string, query url.Values) *clienttest.Answer {
	return u.Get(clienttest.Room(roomID, "messages") + "?" + query.Encode())
}

func TestPagingThroughHistory(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	var want []string
	for i := range 25 {
		alice.Say(roomID, fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	for _, dir := range []string{"b", "f"} {
		for _, limit := range []string{"1", "7", "100"} {
			var got []string
			q := url.Values{"dir": {dir}, "limit": {limit}}
			for pages := 0; ; pages++ {
				a := history(alice, roomID, q).OK()
				got = append(got, bodies(a, "chunk")...)
				if from := q.Get("from"); from != "" && a.Text("start") != from {
					t.Errorf("a page from %s starts at %s", from, a.Text("start"))
				}
				if !a.At("end").Exists() {
					break
				}
				if q.Set("from", a.Text("end")); pages > 50 {
					t.Fatal("the pages do not end")
				}
			}
			if dir == "b" {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("dir=%s limit=%s: %v", dir, limit, got)
			}
		}
	}
	if got := bodies(history(alice, roomID, url.Values{"dir": {"b"}}), "chunk"); len(got) != 10 || got[0] != "24" {
		t.Errorf("the default page is %v", got)
	}
	// A page that goes one way and comes back by its own tokens.
	there := history(alice, roomID, url.Values{"dir": {"b"}, "limit": {"5"}}).OK()
	back := history(alice, roomID, url.Values{"dir": {"f"}, "from": {there.Text("end")}, "to": {there.Text("start")}})
	if got := bodies(back, "chunk"); !slices.Equal(got, []string{"20", "21", "22", "23", "24"}) {
		t.Errorf("back again: %v", got)
	}
	back.Lacks("end")
	if got := bodies(history(alice, roomID, url.Values{"dir": {"b"}, "to": {there.Text("end")}}), "chunk"); len(got) != 5 {
		t.Errorf("up to a token: %v", got)
	}
	// From and to the tokens of /sync.
	since := alice.Get("/sync").OK().Text("next_batch")
	alice.Say(roomID, "after the sync")
	if got := bodies(history(alice, roomID, url.Values{"dir": {"f"}, "from": {since}}), "chunk"); !slices.Equal(got, []string{"after the sync"}) {
		t.Errorf("since a sync: %v", got)
	}
	if got := bodies(history(alice, roomID, url.Values{"dir": {"b"}, "from": {since}, "limit": {"1"}}), "chunk"); !slices.Equal(got, []string{"24"}) {
		t.Errorf("before a sync: %v", got)
	}
}

func TestPagesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	event := alice.Say(roomID, "x")
	path := clienttest.Room(roomID, "messages")
	alice.Get(path).Refused(400, "M_MISSING_PARAM")
	for _, query := range []string{"dir=x", "dir=b&limit=x", "dir=b&limit=-1", "dir=b&from=x", "dir=b&to=x", "dir=b&from=t1_x", "dir=f&from=m1_1"} {
		alice.Get(path+"?"+query).Refused(400, "M_INVALID_PARAM")
	}
	alice.Get(path+"?dir=b&filter=x").Refused(400, "M_NOT_JSON")
	alice.Get(path+"?dir=b&filter="+url.QueryEscape(`{"types":1}`)).Refused(400, "M_BAD_JSON")
	alice.Get(path+"?dir=b&filter="+url.QueryEscape(`{"senders":["x"]}`)).Refused(400, "M_INVALID_PARAM")
	alice.Get(path + "?dir=b&from=t1_18446744073709551615&limit=9999").OK()
	alice.Get(path+"?dir=f&from=t1_18446744073709551615").OK().Has("chunk", "[]").Lacks("end")
	context := clienttest.Room(roomID, "context", event)
	alice.Get(context+"?limit=x").Refused(400, "M_INVALID_PARAM")
	alice.Get(context+"?filter=x").Refused(400, "M_NOT_JSON")
	alice.Get(clienttest.Room(roomID, "context", "nonsense")).Refused(404, "M_NOT_FOUND")
	alice.Get(clienttest.Room(roomID, "event", "nonsense")).Refused(404, "M_NOT_FOUND")
}

func TestFilteredHistory(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	said := alice.Say(roomID, "one")
	bob.Say(roomID, "two")
	alice.Send(roomID, "m.room.message", J{"body": "picture", "url": "mxc://example.org/x"})
	bob.Send(roomID, "m.reaction", J{"m.relates_to": J{"rel_type": "m.annotation", "event_id": said, "key": "+"}})
	for filter, want := range map[string][]string{
		`{"types":["m.room.message"]}`:                        {"picture", "two", "one"},
		`{"types":["m.room.*"],"not_types":["m.room.[a-l]"]}`: {"picture", "two", "one"},
		`{"not_senders":["@bob:example.org"]}`:                {"picture", "one"},
		`{"senders":["@bob:example.org"]}`:                    {"two"},
		`{"contains_url":true}`:                               {"picture"},
		`{"related_by_rel_types":["m.annotation"]}`:           {"one"},
		`{"related_by_senders":["@alice:example.org"]}`:       {},
		`{"types":[]}`:                                            {},
		`{"limit":1,"types":["m.room.message"]}`:                  {"picture"},
		`{"rooms":["!elsewhere"]}`:                                {},
		`{"not_rooms":["` + roomID + `"]}`:                        {},
		`{"rooms":["` + roomID + `"],"types":["m.room.message"]}`: {"picture", "two", "one"},
	} {
		got := []string{}
		for _, e := range history(alice, roomID, url.Values{"dir": {"b"}, "limit": {"50"}, "filter": {filter}}).OK().At("chunk").Array() {
			if e.Get("type").Str == "m.room.message" {
				got = append(got, e.Get("content.body").Str)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", filter, got)
		}
	}
	// Messages of ignored users are left out, state is not.
	alice.Put("/user/"+alice.ID+"/account_data/m.ignored_user_list", J{"ignored_users": J{bob.ID: J{}}}).OK()
	a := history(alice, roomID, url.Values{"dir": {"b"}, "limit": {"50"}})
	if got := a.OK().Texts(`chunk.#(sender=="@bob:example.org")#.type`); !slices.Equal(got, []string{"m.room.member"}) {
		t.Errorf("of an ignored user: %v", got)
	}
}

func TestLazyMembers(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	carol.Join(roomID)
	alice.Say(roomID, "a")
	event := bob.Say(roomID, "b")
	lazy := `{"lazy_load_members":true}`
	history(alice, roomID, url.Values{"dir": {"b"}, "limit": {"2"}}).OK().Lacks("state")
	a := history(alice, roomID, url.Values{"dir": {"b"}, "limit": {"2"}, "filter": {lazy}}).OK()
	if got := a.Texts("state.#.state_key"); !slices.Equal(got, []string{alice.ID, bob.ID}) {
		t.Errorf("members of the page: %v", got)
	}
	context := clienttest.Room(roomID, "context", event) + "?limit=0&filter="
	if got := alice.Get(context + url.QueryEscape(lazy)).OK().Texts(`state.#(type=="m.room.member")#.state_key`); !slices.Equal(got, []string{bob.ID}) {
		t.Errorf("members of the context: %v", got)
	}
	if got := alice.Get(context).OK().Texts(`state.#(type=="m.room.member")#.state_key`); len(got) != 3 {
		t.Errorf("members of the context: %v", got)
	}
	if got := alice.Get(context + url.QueryEscape(`{"types":["m.room.create"]}`)).OK().Texts("state.#.type"); !slices.Equal(got, []string{"m.room.create"}) {
		t.Errorf("filtered state of the context: %v", got)
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	var events []string
	for i := range 9 {
		events = append(events, alice.Say(roomID, fmt.Sprint(i)))
	}
	alice.SetState(roomID, "m.room.topic", "", J{"topic": "late"})
	context := clienttest.Room(roomID, "context", events[4])
	for limit, want := range map[string][2][]string{
		"0": {{}, {}}, "1": {{}, {"5"}}, "2": {{"3"}, {"5"}}, "5": {{"3", "2"}, {"5", "6", "7"}},
	} {
		a := alice.Get(context+"?limit="+limit).OK().Has("event.content.body", `"4"`)
		if got := bodies(a, "events_before"); !slices.Equal(got, want[0]) {
			t.Errorf("limit %s: before %v", limit, got)
		}
		if got := bodies(a, "events_after"); !slices.Equal(got, want[1]) {
			t.Errorf("limit %s: after %v", limit, got)
		}
		// The state is that of the last event, and the tokens go on from both ends.
		a.Lacks(`state.#(type=="m.room.topic")`)
		before := history(alice, roomID, url.Values{"dir": {"b"}, "from": {a.Text("start")}, "limit": {"1"}})
		after := history(alice, roomID, url.Values{"dir": {"f"}, "from": {a.Text("end")}, "limit": {"1"}})
		if first, last := 4-len(want[0]), 4+len(want[1]); bodies(before, "chunk")[0] != fmt.Sprint(first-1) || bodies(after, "chunk")[0] != fmt.Sprint(last+1) {
			t.Errorf("limit %s: goes on with %s and %s", limit, before.Raw, after.Raw)
		}
	}
	alice.Get(context+"?limit=20").OK().Has(`state.#(type=="m.room.topic").content.topic`, `"late"`)
}

// TestHistoryVisibility lets bob come late, and compares what he sees.
func TestHistoryVisibility(t *testing.T) {
	t.Parallel()
	for visibility, want := range map[string][]string{
		"world_readable": {"before", "invited", "joined"},
		"shared":         {"before", "invited", "joined"},
		"invited":        {"invited", "joined"},
		"joined":         {"joined"},
	} {
		w := clienttest.New(t)
		alice, bob := w.Register("alice"), w.Register("bob")
		roomID := alice.CreateRoom(J{"initial_state": []J{{"type": "m.room.history_visibility", "content": J{"history_visibility": visibility}}}})
		ids := map[string]string{"before": alice.Say(roomID, "before")}
		alice.Invite(roomID, bob)
		ids["invited"] = alice.Say(roomID, "invited")
		bob.Join(roomID)
		ids["joined"] = alice.Say(roomID, "joined")
		bob.Leave(roomID)
		ids["left"] = alice.Say(roomID, "left")
		if visibility == "world_readable" {
			want = append(want, "left")
		}
		got := []string{}
		for _, e := range history(bob, roomID, url.Values{"dir": {"f"}, "limit": {"50"}}).OK().At("chunk").Array() {
			if e.Get("type").Str == "m.room.message" {
				got = append(got, e.Get("content.body").Str)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", visibility, got)
		}
		for body, eventID := range ids {
			a := bob.Get(clienttest.Room(roomID, "event", eventID))
			if slices.Contains(want, body) != (a.Status == 200) {
				t.Errorf("%s: %q is %d", visibility, body, a.Status)
			}
		}
	}
}

// TestStateIsThatOfTheLeave (HARD_PLACES.md 23): who has left a room sees its state as it was then, wherever it is asked for; the state around
// an event is that at the event.
func TestStateIsThatOfTheLeave(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "one"})
	bob.Join(roomID)
	early := alice.Say(roomID, "early")
	alice.SetState(roomID, "m.room.name", "", J{"name": "two"})
	late := alice.Say(roomID, "late")
	bob.Leave(roomID)
	alice.SetState(roomID, "m.room.name", "", J{"name": "three"})
	carol.Join(roomID)
	name := clienttest.Room(roomID, "state", "m.room.name")
	bob.Get(name).OK().Has("name", `"two"`)
	alice.Get(name).OK().Has("name", `"three"`)
	if got := bob.Get(clienttest.Room(roomID, "state")).OK().Texts(`#(type=="m.room.name")#.content.name`); !slices.Equal(got, []string{"two"}) {
		t.Errorf("the whole state has the names %v", got)
	}
	if got := users(bob.Get(clienttest.Room(roomID, "members"))); !slices.Equal(got, []string{alice.ID, bob.ID}) {
		t.Errorf("the members are %v", got)
	}
	bob.Get(clienttest.Room(roomID, "joined_members")).Refused(403, "M_FORBIDDEN")
	for u, names := range map[*clienttest.User][2]string{alice: {"one", "two"}, bob: {"one", "two"}} {
		for i, eventID := range []string{early, late} {
			got := u.Get(clienttest.Room(roomID, "context", eventID) + "?limit=0").OK().Texts(`state.#(type=="m.room.name")#.content.name`)
			if !slices.Equal(got, []string{names[i]}) {
				t.Errorf("%s: the names at %d are %v", u.ID, i, got)
			}
		}
	}
	bob.Get(clienttest.Room(roomID, "event", alice.Say(roomID, "after"))).Refused(404, "M_NOT_FOUND")
}

// What is in threads can be left out of a page, or be all of it (MSC3874).
func TestHistoryByRelation(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	root := alice.Say(roomID, "root")
	alice.Send(roomID, "m.room.message", J{"msgtype": "m.text", "body": "reply", "m.relates_to": J{"rel_type": "m.thread", "event_id": root}})
	alice.Say(roomID, "end")
	for filter, want := range map[string][]string{
		`{"org.matrix.msc3874.not_rel_types":["m.thread"],"types":["m.room.message"]}`: {"end", "root"},
		`{"org.matrix.msc3874.rel_types":["m.thread"]}`:                                {"reply"},
	} {
		if got := bodies(history(alice, roomID, url.Values{"dir": {"b"}, "filter": {filter}}), "chunk"); !slices.Equal(got, want) {
			t.Errorf("%s gives %v", filter, got)
		}
		sync := alice.Get("/sync?filter=" + url.QueryEscape(`{"room":{"timeline":`+filter+`}}`))
		slices.Reverse(want)
		if got := bodies(sync, "rooms.join.*.timeline.events"); !slices.Equal(got, want) {
			t.Errorf("a sync with %s gives %v", filter, got)
		}
	}
}
