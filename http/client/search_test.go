package client_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// searchFor searches for events; what more holds goes beside the term.
func searchFor(u *clienttest.User, term string, more J) *clienttest.Answer {
	criteria := J{"search_term": term}
	for k, v := range more {
		criteria[k] = v
	}
	return u.Post("/search", J{"search_categories": J{"room_events": criteria}})
}

const inResults = "search_categories.room_events."

// foundEvents are the ids of the events found, in order.
func foundEvents(u *clienttest.User, term string, more J) []string {
	return searchFor(u, term, more).OK().Texts(inResults + "results.#.result.event_id")
}

var recent = J{"order_by": "recent"}

func TestSearch(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	first := alice.CreateRoom(J{"preset": "public_chat", "name": "Garden party", "topic": "All about the fruit salad"})
	second := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(first)
	say := func(u *clienttest.User, roomID, text string) string {
		w.Clock.Advance(time.Second)
		return u.Say(roomID, text)
	}
	apple := say(alice, first, "An apple a day")
	pears := say(bob, first, "Two PEARS and an Apple")
	other := say(alice, second, "apples, apples, apples")
	kana := say(alice, first, "東京都でりんごを食べた")
	expect := func(u *clienttest.User, term string, more J, want ...string) {
		t.Helper()
		if got := foundEvents(u, term, more); !slices.Equal(got, want) {
			t.Errorf("%s searches for %q %v: %v, want %v", u.ID, term, more, got, want)
		}
	}
	expect(alice, "apple", recent, other, pears, apple)
	expect(alice, "apple pear", recent, pears)
	expect(alice, "京都", recent, kana)
	expect(alice, "りんご", nil, kana)
	expect(alice, "banana", nil)
	expect(alice, "?!", nil)
	expect(bob, "apple", recent, pears, apple)
	with := func(k string, v any) J { return J{"order_by": "recent", k: v} }
	expect(alice, "apple", with("filter", J{"rooms": []string{second}}), other)
	expect(alice, "apple", with("filter", J{"not_rooms": []string{second}}), pears, apple)
	expect(alice, "apple", with("filter", J{"senders": []string{bob.ID}}), pears)
	expect(alice, "apple", with("filter", J{"senders": []string{}}))
	expect(alice, "apple", with("filter", J{"not_senders": []string{bob.ID}}), other, apple)
	expect(alice, "apple", with("filter", J{"types": []string{"m.room.topic"}}))
	expect(alice, "apple", with("filter", J{"limit": 1}), other)
	if got := foundEvents(alice, "garden", J{"keys": []string{"content.name"}}); len(got) != 1 {
		t.Errorf("the name: %v", got)
	}
	expect(alice, "garden", J{"keys": []string{"content.body", "content.topic"}})
	if got := foundEvents(alice, "salad", J{"keys": []string{"content.topic"}}); len(got) != 1 {
		t.Errorf("the topic: %v", got)
	}
	a := searchFor(alice, "apple pear", nil).OK().Has(inResults+"count", "1").Has(inResults+"results.0.result.room_id", `"`+first+`"`).
		Lacks(inResults + "results.0.context").Lacks(inResults + "next_batch").Lacks(inResults + "groups").Lacks(inResults + "state")
	if rank := a.At(inResults + "results.0.rank").Num; rank <= 0 {
		t.Errorf("rank %v", rank)
	}
	if got := a.Texts(inResults + "highlights"); !slices.Equal(got, []string{"pears", "apple"}) {
		t.Errorf("highlights: %v", got)
	}
	// What is redacted is found no more; an edit is found beside what it edits.
	alice.Put(clienttest.Room(first, "redact", apple, "r"), J{}).OK()
	expect(bob, "apple", recent, pears)
	edit := relate(bob, first, "m.room.message", "m.replace", pears, J{"body": "* Two quinces", "m.new_content": J{"body": "Two quinces"}})
	expect(alice, "quinces", recent, edit)
	alice.Post("/search", J{"search_categories": J{}}).OK().Has("search_categories", "{}")
}

func TestSearchRefusals(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	w.Nobody().Post("/search", J{}).Refused(401, "M_MISSING_TOKEN")
	alice.Post("/search", J{}).Refused(400, "M_MISSING_PARAM")
	alice.Post("/search", J{"search_categories": J{"room_events": J{}}}).Refused(400, "M_MISSING_PARAM")
	alice.Post("/search", "x").Refused(400, "M_NOT_JSON")
	for _, more := range []J{
		{"order_by": "x"}, {"keys": []string{"x"}}, {"groupings": J{"group_by": []J{{"key": "x"}}}},
		{"event_context": J{"before_limit": -1}}, {"event_context": J{"after_limit": -1}},
	} {
		searchFor(alice, "a", more).Refused(400, "M_INVALID_PARAM")
	}
	searchFor(alice, "a", J{"filter": 1}).Refused(400, "M_BAD_JSON")
	alice.Post("/search?next_batch=x", J{"search_categories": J{"room_events": J{"search_term": "a"}}}).Refused(400, "M_INVALID_PARAM")
}

func TestSearchPagesAndGroups(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	rooms := []string{alice.CreateRoom(J{"preset": "public_chat"}), alice.CreateRoom(J{"preset": "public_chat"})}
	ofRoom := map[string][]string{}
	var all []string // newest first
	for _, roomID := range rooms {
		bob.Join(roomID)
	}
	for i := range 23 {
		roomID := rooms[i%2]
		w.Clock.Advance(time.Second)
		eventID := []*clienttest.User{alice, bob}[i%3/2].Say(roomID, fmt.Sprint("needle ", i))
		all = slices.Insert(all, 0, eventID)
		ofRoom[roomID] = slices.Insert(ofRoom[roomID], 0, eventID)
	}
	page := func(from string, more J) *clienttest.Answer {
		criteria := J{"search_term": "needle"}
		for k, v := range more {
			criteria[k] = v
		}
		return alice.Post("/search?next_batch="+url.QueryEscape(from), J{"search_categories": J{"room_events": criteria}}).OK()
	}
	through := func(from string, more J) (got []string) {
		for {
			a := page(from, more)
			got = append(got, a.Texts(inResults+"results.#.result.event_id")...)
			if n := a.At(inResults + "count").Int(); n < int64(len(got)) {
				t.Errorf("count %d after %d results", n, len(got))
			}
			next := a.At(inResults + "next_batch")
			if !next.Exists() {
				return got
			}
			from = next.Str
		}
	}
	for _, limit := range []int{1, 5, 10, 23, 100} {
		if got := through("", J{"order_by": "recent", "filter": J{"limit": limit}}); !slices.Equal(got, all) {
			t.Errorf("in pages of %d: %v, want %v", limit, got, all)
		}
		byRank := through("", J{"filter": J{"limit": limit}})
		if slices.Sort(byRank); len(slices.Compact(byRank)) != len(all) {
			t.Errorf("by rank, in pages of %d: %v", limit, byRank)
		}
	}
	page("", recent).Has(inResults+"count", "23").Has(inResults+"results.#", "10")
	grouped := J{"order_by": "recent", "groupings": J{"group_by": []J{{"key": "room_id"}, {"key": "sender"}}}}
	a := page("", grouped)
	results := a.Texts(inResults + "results.#.result.event_id")
	for _, roomID := range rooms {
		group := a.At(inResults + "groups.room_id").Map()[roomID]
		var ids []string
		for _, id := range group.Get("results").Array() {
			ids = append(ids, id.Str)
		}
		for _, id := range ids {
			if !slices.Contains(results, id) {
				t.Errorf("%s is in a group and not in the results", id)
			}
		}
		rest := through(group.Get("next_batch").Str, recent)
		if got := slices.Concat(ids, rest); !slices.Equal(got, ofRoom[roomID]) {
			t.Errorf("the group of a room: %v, want %v", got, ofRoom[roomID])
		}
	}
	senders := a.At(inResults + "groups.sender").Map()
	if len(senders) != 2 || senders[alice.ID].Get("order").Int()+senders[bob.ID].Get("order").Int() != 3 {
		t.Errorf("senders: %v", senders)
	}
	ofBob := through(senders[bob.ID].Get("next_batch").Str, recent)
	if n := len(senders[bob.ID].Get("results").Array()) + len(ofBob); n != 7 {
		t.Errorf("%d events of bob", n)
	}
}

func TestSearchContext(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := named(w, "alice", "Alice")
	roomID := alice.CreateRoom(J{})
	var said []string
	for _, text := range []string{"0", "1", "needle", "3", "4"} {
		said = append(said, alice.Say(roomID, text))
	}
	alice.Put(clienttest.Path("profile", alice.ID, "displayname"), J{"displayname": "Later"}).OK()
	at := inResults + "results.0.context."
	a := searchFor(alice, "needle", J{"event_context": J{"before_limit": 1, "after_limit": 2, "include_profile": true}, "include_state": true}).OK().
		Has(at+"events_before.#.event_id", `["`+said[1]+`"]`).Has(at+"events_after.#.event_id", `["`+said[3]+`","`+said[4]+`"]`)
	profiles := a.At(at + "profile_info").Map()
	if len(profiles) != 1 || profiles[alice.ID].Get("displayname").Str != "Alice" {
		t.Errorf("profiles: %v", profiles)
	}
	// The tokens go on from there.
	alice.Get(clienttest.Room(roomID, "messages")+"?dir=b&limit=1&from="+a.Text(at+"start")).OK().Has("chunk.0.event_id", `"`+said[0]+`"`)
	if got := alice.Get(clienttest.Room(roomID, "messages") + "?dir=f&limit=1&from=" + a.Text(at+"end")).OK(); got.At("chunk.0.type").Str != "m.room.member" {
		t.Errorf("after the end: %s", got.Raw)
	}
	state := a.At(inResults + "state").Map()[roomID]
	if !slices.ContainsFunc(state.Array(), func(e gjson.Result) bool { return e.Get("type").Str == "m.room.create" }) {
		t.Errorf("state: %s", state.Raw)
	}
	searchFor(alice, "needle", J{"event_context": J{}}).OK().Has(at+"events_after.#", "3").Lacks(at + "profile_info")
	searchFor(alice, "needle", J{"event_context": J{"before_limit": 0, "after_limit": 0}}).OK().Has(at+"events_before", "[]").Has(at+"events_after", "[]")
}

func TestSearchFindsWhatMayBeSeen(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := func(visibility string) string {
		return alice.CreateRoom(J{"preset": "public_chat", "initial_state": []J{
			{"type": "m.room.history_visibility", "content": J{"history_visibility": visibility}}}})
	}
	n := 0
	for _, c := range []struct {
		name, visibility string
		before, after    bool // whether what was said before the user came, and after the user left, is found
		during           bool
		do               func(u *clienttest.User, roomID string, say func(string))
	}{
		{"stays", "shared", true, true, true, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			u.Join(roomID)
			say("during")
			say("after")
		}},
		{"joined only", "joined", false, true, true, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			u.Join(roomID)
			say("during")
			say("after")
		}},
		{"left", "shared", true, false, true, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			u.Join(roomID)
			say("during")
			u.Leave(roomID)
			say("after")
		}},
		{"banned", "joined", false, false, true, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			u.Join(roomID)
			say("during")
			alice.Post(clienttest.Room(roomID, "ban"), J{"user_id": u.ID}).OK()
			say("after")
		}},
		{"left and forgot", "shared", false, false, false, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			u.Join(roomID)
			say("during")
			u.Leave(roomID)
			u.Post(clienttest.Room(roomID, "forget"), J{}).OK()
			say("after")
		}},
		{"invited", "shared", false, false, false, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			alice.Invite(roomID, u)
			say("during")
			say("after")
		}},
		{"never there", "world_readable", false, false, false, func(_ *clienttest.User, _ string, say func(string)) {
			say("before")
			say("during")
			say("after")
		}},
		{"encrypted", "shared", false, false, false, func(u *clienttest.User, roomID string, say func(string)) {
			say("before")
			u.Join(roomID)
			say("during")
			say("after")
			alice.SetState(roomID, "m.room.encryption", "", J{"algorithm": "m.megolm.v1.aes-sha2"})
		}},
		{"ignores", "shared", false, false, false, func(u *clienttest.User, roomID string, say func(string)) {
			u.Join(roomID)
			for _, when := range []string{"before", "during", "after"} {
				say(when)
			}
			u.Put("/user/"+u.ID+"/account_data/m.ignored_user_list", J{"ignored_users": J{alice.ID: J{}}}).OK()
		}},
	} {
		n++
		u, roomID := w.Register(fmt.Sprint("user", n)), room(c.visibility)
		c.do(u, roomID, func(text string) { alice.Say(roomID, "secret "+text) })
		a := searchFor(u, "secret", recent).OK()
		found := a.Texts(inResults + "results.#.result.content.body")
		want := 0
		for text, is := range map[string]bool{"before": c.before, "during": c.during, "after": c.after} {
			if slices.Contains(found, "secret "+text) != is {
				t.Errorf("%s: what was said %s: %v", c.name, text, !is)
			}
			if is {
				want++
			}
		}
		// Not even how many there are is told.
		a.Has(inResults+"count", fmt.Sprint(want))
	}
}
