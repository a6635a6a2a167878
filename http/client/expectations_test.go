package client_test

import (
	"net/url"
	"slices"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// These scenarios are what clients, and the public conformance suites, have come to expect where the specification leaves
// it open.

func TestOldClientsSendWithoutATransactionID(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	send := clienttest.Room(roomID, "send", "m.room.message")
	first := alice.Post(send, J{"msgtype": "m.text", "body": "twice"}).OK().Text("event_id")
	second := alice.Post(send, J{"msgtype": "m.text", "body": "twice"}).OK().Text("event_id")
	if first == second {
		t.Error("two messages without a transaction id became one")
	}
	alice.Post(clienttest.Room(roomID, "redact", first), J{}).OK()
	alice.Get(clienttest.Room(roomID, "event", first)).OK().Has("content", `{}`)
	w.Register("bob").Post(send, J{"msgtype": "m.text", "body": "intruder"}).Refused(403, "M_FORBIDDEN")
}

func TestWhatJoinsSayGoesIntoTheMemberEvent(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	bob.Put("/profile/"+bob.ID+"/displayname", J{"displayname": "Bob"}).OK()
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Post("/join/"+url.PathEscape(roomID), J{"foo": "bar", "membership": "ban", "join_authorised_via_users_server": alice.ID, "reason": "why not"}).OK()
	alice.Get(clienttest.Room(roomID, "state", "m.room.member", bob.ID)).OK().
		Has("@this", `{"displayname":"Bob","foo":"bar","membership":"join","reason":"why not"}`)
}

func TestAStrangerLearnsNothingOfMessagesFromItsParameters(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{})
	bob.Get(clienttest.Room(roomID, "messages")).Refused(403, "M_FORBIDDEN")
	alice.Get(clienttest.Room(roomID, "messages")).Refused(400, "M_MISSING_PARAM")
}

// Whoever pages back to a room's beginning can page forward from there.
func TestTheBeginningOfARoomHasAToken(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	for i := range 5 {
		alice.Say(roomID, strconv.Itoa(i))
	}
	page := func(dir, from string) *clienttest.Answer {
		return alice.Get(clienttest.Room(roomID, "messages") + "?limit=4&dir=" + dir + "&from=" + from).OK()
	}
	var back, forth []string
	from, beginning := "", ""
	for more := true; more; more = from != "" {
		a := page("b", from)
		back = append(back, a.Texts("chunk.#.event_id")...)
		if from = a.At("end").Str; from != "" {
			beginning = from
		}
	}
	for from, more := beginning, true; more; more = from != "" {
		a := page("f", from)
		forth = append(forth, a.Texts("chunk.#.event_id")...)
		from = a.At("end").Str
	}
	slices.Reverse(forth)
	if len(back) < 6 || !slices.Equal(back, forth) {
		t.Errorf("paged back %v, forth from %q %v", back, beginning, forth)
	}
}

// A room in a sync has all its parts, though nothing be in them.
func TestRoomsInASyncHaveAllTheirParts(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	for _, test := range []struct{ query, state string }{
		{"", "state"}, {"&use_state_after=true", "state_after"}, {"&org.matrix.msc4222.use_state_after=true", `org\.matrix\.msc4222\.state_after`},
	} {
		a := alice.Get("/sync?timeout=0" + test.query).OK()
		since := a.Text("next_batch")
		alice.Put(clienttest.Room(roomID, "typing", alice.ID), J{"typing": true, "timeout": 20000}).OK()
		later := alice.Get("/sync?timeout=10000&since=" + since + test.query).OK()
		for _, a := range []*clienttest.Answer{a, later} {
			room := a.At("rooms.join." + gjson.Escape(roomID))
			for _, list := range []string{"timeline.events", test.state + ".events", "ephemeral.events", "account_data.events"} {
				if !room.Get(list).IsArray() {
					t.Errorf("%s: %s is no list in %s", test.query, list, room.Raw)
				}
			}
			if room.Get("timeline.prev_batch").Str == "" || !room.Get("timeline.limited").Exists() {
				t.Errorf("%s: %s", test.query, room.Get("timeline").Raw)
			}
		}
		alice.Put(clienttest.Room(roomID, "typing", alice.ID), J{"typing": false}).OK()
	}
}

// Clients ask for the members as of the timeline's beginning, even when that is where the room begins.
func TestMembersAsOfTheBeginningOfARoom(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	at := alice.Get("/sync").OK().Text("rooms.join." + gjson.Escape(roomID) + ".timeline.prev_batch")
	bob.Join(roomID)
	got := alice.Get(clienttest.Room(roomID, "members") + "?at=" + at).OK().Texts("chunk.#.state_key")
	if !slices.Equal(got, []string{alice.ID}) {
		t.Errorf("members are %v", got)
	}
	alice.Get(clienttest.Room(roomID, "messages")+"?dir=b&from="+at).OK().Has("chunk", `[]`)
}

// Whoever comes to share a room with others sees their presence, and they see that of the newcomer.
func TestThePresenceOfThoseWhoAreMet(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	for _, u := range []*clienttest.User{alice, bob} {
		u.Put("/presence/"+u.ID+"/status", J{"presence": "unavailable", "status_msg": "of " + u.ID}).OK()
	}
	sync := func(u *clienttest.User, since string) *clienttest.Answer {
		return u.Get("/sync?set_presence=offline&timeout=0&since=" + since).OK()
	}
	since := map[string]string{alice.ID: sync(alice, "").Text("next_batch"), bob.ID: sync(bob, "").Text("next_batch")}
	bob.Join(roomID)
	for u, other := range map[*clienttest.User]*clienttest.User{alice: bob, bob: alice} {
		a := sync(u, since[u.ID])
		if got := a.At(`presence.events.#(sender=="` + other.ID + `").content.status_msg`).Str; got != "of "+other.ID {
			t.Errorf("%s sees %s", u.ID, a.At("presence").Raw)
		}
		sync(u, a.Text("next_batch")).Lacks(`presence.events.#(sender=="` + other.ID + `")`)
	}
}
