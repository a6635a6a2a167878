package client_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// filtered syncs with a filter, from a token or from the beginning.
func filtered(u *clienttest.User, filter, since string) *clienttest.Answer {
	q := url.Values{"filter": {filter}}
	if since != "" {
		q.Set("since", since)
	}
	return u.Get("/sync?" + q.Encode()).OK()
}

// joined is a room of the answer that the user is in.
func joined(a *clienttest.Answer, roomID string) gjson.Result {
	return a.At("rooms.join").Map()[roomID]
}

// texts are the strings that the path finds, in order.
func texts(r gjson.Result, path string) []string {
	found := []string{}
	for _, v := range r.Get(path).Array() {
		found = append(found, v.Str)
	}
	return found
}

// The lists of rooms of a filter, and of each of its parts, choose what an answer holds of which room.
func TestSyncFiltersRooms(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	rooms := map[string]string{"A": alice.CreateRoom(J{"preset": "public_chat"}), "B": alice.CreateRoom(J{"preset": "public_chat"})}
	for _, roomID := range rooms {
		alice.SetState(roomID, "m.room.name", "", J{"name": "x"})
		alice.Put("/user/"+alice.ID+"/rooms/"+url.PathEscape(roomID)+"/account_data/org.example", J{"a": 1}).OK()
		event := alice.Say(roomID, "hello")
		alice.Post("/rooms/"+url.PathEscape(roomID)+"/receipt/m.read/"+url.PathEscape(event), J{}).OK()
	}
	const whole = "account_data ephemeral state timeline"
	for filter, want := range map[string]string{
		`{"room":{"timeline":{"limit":1}}}`:                                               "A: " + whole + "; B: " + whole,
		`{"room":{"rooms":["A"],"timeline":{"limit":1}}}`:                                 "A: " + whole,
		`{"room":{"not_rooms":["A"],"timeline":{"limit":1}}}`:                             "B: " + whole,
		`{"room":{"rooms":["A","B"],"not_rooms":["A"],"timeline":{"limit":1}}}`:           "B: " + whole,
		`{"room":{"rooms":[]}}`:                                                           "",
		`{"room":{"timeline":{"limit":1,"rooms":["B"]}}}`:                                 "A: account_data ephemeral state; B: " + whole,
		`{"room":{"timeline":{"limit":1,"not_rooms":["B"]}}}`:                             "A: " + whole + "; B: account_data ephemeral state",
		`{"room":{"timeline":{"limit":1},"state":{"rooms":["B"]}}}`:                       "A: account_data ephemeral timeline; B: " + whole,
		`{"room":{"timeline":{"limit":1},"state":{"not_rooms":["B"]}}}`:                   "A: " + whole + "; B: account_data ephemeral timeline",
		`{"room":{"timeline":{"limit":1},"ephemeral":{"rooms":["B"]}}}`:                   "A: account_data state timeline; B: " + whole,
		`{"room":{"timeline":{"limit":1},"ephemeral":{"not_rooms":["A","B"]}}}`:           "A: account_data state timeline; B: account_data state timeline",
		`{"room":{"timeline":{"limit":1},"account_data":{"rooms":["B"]}}}`:                "A: ephemeral state timeline; B: " + whole,
		`{"room":{"timeline":{"limit":1},"account_data":{"not_rooms":["B"]}}}`:            "A: " + whole + "; B: ephemeral state timeline",
		`{"room":{"rooms":["A"],"timeline":{"limit":1,"rooms":["B"]}}}`:                   "A: account_data ephemeral state",
		`{"room":{"timeline":{"limit":1},"account_data":{"not_types":["org.*"]}}}`:        "A: ephemeral state timeline; B: ephemeral state timeline",
		`{"room":{"timeline":{"limit":1},"ephemeral":{"types":["m.typing"]}}}`:            "A: account_data state timeline; B: account_data state timeline",
		`{"room":{"timeline":{"limit":1,"types":[]},"state":{"not_types":["m.room.*"]}}}`: "A: account_data ephemeral; B: account_data ephemeral",
	} {
		a := filtered(alice, strings.NewReplacer(`"A"`, `"`+rooms["A"]+`"`, `"B"`, `"`+rooms["B"]+`"`).Replace(filter), "")
		var got []string
		for _, name := range []string{"A", "B"} {
			if _, ok := a.At("rooms.join").Map()[rooms[name]]; !ok {
				continue
			}
			var parts []string
			for _, part := range strings.Fields(whole) {
				if len(joined(a, rooms[name]).Get(part+".events").Array()) > 0 {
					parts = append(parts, part)
				}
			}
			got = append(got, name+": "+strings.Join(parts, " "))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s gives %q, want %q", filter, strings.Join(got, "; "), want)
		}
	}
}

func TestSyncFiltersEvents(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	since := alice.Get("/sync").OK().Text("next_batch")
	alice.Say(roomID, "one")
	bob.Say(roomID, "two")
	alice.Send(roomID, "m.room.message", J{"body": "picture", "url": "mxc://example.org/x"})
	alice.SetState(roomID, "m.room.topic", "", J{"topic": "t"})
	for filter, want := range map[string][]string{
		`{}`:                               {"one", "two", "picture", ""},
		`{"types":["m.room.message"]}`:     {"one", "two", "picture"},
		`{"types":["*.top*","nothing"]}`:   {""},
		`{"not_types":["m.room.me*"]}`:     {""},
		`{"senders":["@bob:example.org"]}`: {"two"},
		`{"senders":[]}`:                   {},
		`{"senders":["@bob:example.org"],"not_senders":["@bob:example.org"]}`: {},
		`{"contains_url":true}`:                  {"picture"},
		`{"contains_url":false}`:                 {"one", "two", ""},
		`{"limit":1,"contains_url":false}`:       {""},
		`{"limit":2,"types":["m.room.message"]}`: {"two", "picture"},
	} {
		a := filtered(alice, `{"room":{"timeline":`+filter+`}}`, since)
		got := []string{}
		for _, e := range joined(a, roomID).Get("timeline.events").Array() {
			got = append(got, e.Get("content.body").Str)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
		// State that the filter hides from the timeline is told all the same.
		state := texts(joined(a, roomID), "state.events.#.type")
		if hidden := !slices.Contains(want, ""); hidden != slices.Contains(state, "m.room.topic") {
			t.Errorf("%s: the state is %v", filter, state)
		}
	}
}

// A client that loads members lazily gets those that it needs once, unless it wants them again.
func TestSyncLoadsMembersLazily(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	others := make([]*clienttest.User, 9)
	for i := range others {
		others[i] = w.Register(fmt.Sprintf("user%d", i))
		others[i].Join(roomID)
	}
	speaker, later := others[7], others[8]
	speaker.Say(roomID, "hello")
	const lazy, redundant = `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`, `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true,"include_redundant_members":true}}}`
	members := func(a *clienttest.Answer) []string {
		return texts(joined(a, roomID), `state.events.#(type=="m.room.member")#.state_key`)
	}
	if all := members(filtered(alice, `{"room":{"timeline":{"limit":1}}}`, "")); len(all) != 10 {
		t.Errorf("without laziness: %v", all)
	}
	first := filtered(alice, lazy, "")
	got := members(first)
	if !slices.Contains(got, alice.ID) || !slices.Contains(got, speaker.ID) || slices.Contains(got, later.ID) || len(got) > 7 {
		t.Errorf("at first: %v", got) // the user, the speaker and up to five heroes
	}
	later.Say(roomID, "me too")
	second := filtered(alice, lazy, first.Text("next_batch"))
	if got := members(second); !slices.Equal(got, []string{later.ID}) {
		t.Errorf("of a new speaker: %v", got)
	}
	later.Say(roomID, "again")
	third := filtered(alice, lazy, second.Text("next_batch"))
	if got := members(third); len(got) != 0 {
		t.Errorf("of a known speaker: %v", got)
	}
	speaker.Say(roomID, "again")
	fourth := filtered(alice, redundant, third.Text("next_batch"))
	if got := members(fourth); !slices.Equal(got, []string{speaker.ID}) {
		t.Errorf("of a known speaker, redundantly: %v", got)
	}
	// A membership that the filter kept from the client has not been sent.
	fresh := alice.With("SECOND")
	start := filtered(fresh, `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true,"not_types":["m.room.member"]}}}`, "")
	speaker.Say(roomID, "and again")
	if got := members(filtered(fresh, lazy, start.Text("next_batch"))); !slices.Equal(got, []string{speaker.ID}) {
		t.Errorf("after a filter that hid members: %v", got)
	}
}

func TestSyncCountsThreadsApart(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	root := bob.Say(roomID, "root")
	bob.Send(roomID, "m.room.message", J{"msgtype": "m.text", "body": "in the thread", "m.relates_to": J{"rel_type": "m.thread", "event_id": root}})
	apart := joined(filtered(alice, `{"room":{"timeline":{"unread_thread_notifications":true}}}`, ""), roomID)
	thread := apart.Get("unread_thread_notifications").Map()[root]
	if apart.Get("unread_notifications.notification_count").Int() != 1 || thread.Get("notification_count").Int() != 1 {
		t.Errorf("apart: %s and %s", apart.Get("unread_notifications"), apart.Get("unread_thread_notifications"))
	}
	together := joined(filtered(alice, `{}`, ""), roomID)
	if together.Get("unread_notifications.notification_count").Int() != 2 || together.Get("unread_thread_notifications").Exists() {
		t.Errorf("together: %s and %s", together.Get("unread_notifications"), together.Get("unread_thread_notifications"))
	}
}
