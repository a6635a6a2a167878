package federation

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestOtherServersReadHistory (HARD_PLACES.md 33): what a server is told of a room's events and state, once one of its users is in it (server-server API,
// "Backfilling and retrieving missing events" and "Retrieving events"; client-server API, "Room history visibility").
func TestOtherServersReadHistory(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	alice := server.User(t, "alice")
	c := authority.Crafter(t)
	a := asker{t, c.Stranger, server}
	v, _ := roomversion.Get(roomversion.Default)
	roomID, err := alice.CreateRoom(t.Context(), matrixclient.J{"preset": "public_chat", "initial_state": []matrixclient.J{
		{"type": "m.room.history_visibility", "state_key": "", "content": matrixclient.J{"history_visibility": "joined"}}}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string) string {
		t.Helper()
		id, err := alice.Send(t.Context(), roomID, "m.room.message", body, matrixclient.J{"msgtype": "m.text", "body": body})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	hidden := send("hidden")
	room := url.PathEscape(roomID)
	state := func(id string) string { return query("/state/"+room, "event_id", id) }

	// Strangers are told nothing.
	a.refused(404, "M_NOT_FOUND", "GET", "/event/"+url.PathEscape(hidden), nil)
	a.refused(403, "M_FORBIDDEN", "GET", state(hidden), nil)
	a.refused(403, "M_FORBIDDEN", "GET", "/event_auth/"+room+"/"+url.PathEscape(hidden), nil)
	a.refused(403, "M_FORBIDDEN", "GET", query("/backfill/"+room, "v", hidden, "limit", "5"), nil)
	a.refused(403, "M_FORBIDDEN", "POST", "/get_missing_events/"+room, matrixclient.J{"earliest_events": []string{}, "latest_events": []string{hidden}})
	a.refused(403, "M_FORBIDDEN", "GET", query("/timestamp_to_event/"+room, "ts", "0", "dir", "f"), nil)

	join := c.Join(server, roomID, c.User("visitor"), v).Last()
	seen, last := send("seen"), send("last")
	pdu := func(id string) gjson.Result {
		t.Helper()
		return a.must("GET", "/event/"+url.PathEscape(id), nil).Get("pdus.0")
	}
	if got := pdu(seen); got.Get("content.body").Str != "seen" {
		t.Errorf("an event that the server sees: %s", got)
	}
	redacted := pdu(hidden)
	if redacted.Get("content.body").Exists() || strings.Contains(redacted.Raw, "hidden") {
		t.Errorf("an event from before the server came: %s", redacted)
	}
	if e, err := event.Parse([]byte(redacted.Raw), v); err != nil || e.ID() != hidden {
		t.Errorf("it is not the same event redacted: %v", err)
	}
	a.refused(404, "M_NOT_FOUND", "GET", "/event/$nothing", nil)

	whole := a.must("GET", state(seen), nil)
	ids := a.must("GET", query("/state_ids/"+room, "event_id", seen), nil)
	if n := len(whole.Get("pdus").Array()); n == 0 || n != len(ids.Get("pdu_ids").Array()) || len(whole.Get("auth_chain").Array()) != len(ids.Get("auth_chain_ids").Array()) {
		t.Errorf("the state has %d events, and ids %s", n, ids)
	}
	if !contains(ids.Get("pdu_ids"), join.ID()) {
		t.Error("the join is not in the state after it")
	}
	a.refused(404, "M_NOT_FOUND", "GET", state("$nothing"), nil)
	a.refused(400, "M_MISSING_PARAM", "GET", "/state/"+room, nil)
	chain := a.must("GET", "/event_auth/"+room+"/"+url.PathEscape(seen), nil).Get("auth_chain").Array()
	if !slices.ContainsFunc(chain, func(e gjson.Result) bool { return e.Get("type").Str == "m.room.create" }) {
		t.Errorf("the auth chain is %v", chain)
	}

	back := a.must("GET", query("/backfill/"+room, "v", last, "limit", "4"), nil).Get("pdus").Array()
	if len(back) != 4 || back[0].Get("content.body").Str != "last" || back[1].Get("content.body").Str != "seen" || strings.Contains(back[3].Raw, "hidden") {
		t.Errorf("backfilled: %v", back)
	}
	a.refused(400, "M_MISSING_PARAM", "GET", query("/backfill/"+room, "limit", "4"), nil)
	missing := a.must("POST", "/get_missing_events/"+room, matrixclient.J{"earliest_events": []string{join.ID()}, "latest_events": []string{last}}).Get("events").Array()
	if len(missing) != 1 || missing[0].Get("content.body").Str != "seen" {
		t.Errorf("missing: %v", missing)
	}
	a.refused(400, "M_BAD_JSON", "POST", "/get_missing_events/"+room, matrixclient.J{"latest_events": []string{last}})
	if got := a.must("GET", query("/timestamp_to_event/"+room, "ts", "9999999999999", "dir", "b"), nil); got.Get("event_id").Str != last {
		t.Errorf("the newest event is %s", got)
	}
	a.refused(404, "M_NOT_FOUND", "GET", query("/timestamp_to_event/"+room, "ts", "9999999999999", "dir", "f"), nil)

	// A server that is kept out is told nothing any more.
	if _, err := alice.SetState(t.Context(), roomID, "m.room.server_acl", "", matrixclient.J{"allow": []string{"*"}, "allow_ip_literals": false}); err != nil {
		t.Fatal(err)
	}
	a.refused(403, "M_FORBIDDEN", "GET", state(seen), nil)
	a.refused(404, "M_NOT_FOUND", "GET", "/event/"+url.PathEscape(seen), nil)
}

// TestErasedAccountsAcrossServers: a server that comes into a room after somebody has erased their account is given what they said redacted;
// one that was there before keeps it (client-server API, "POST /account/deactivate").
func TestErasedAccountsAcrossServers(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	alice, bob := newPerson(t, server, "alice"), newPerson(t, server, "bob")
	early, late := authority.Crafter(t), authority.Crafter(t)
	v, _ := roomversion.Get(roomversion.Default)
	roomID := bob.create(J{"preset": "public_chat"})
	alice.joinVia(roomID, server.Name)
	early.Join(server, roomID, early.User("early"), v)
	said := alice.say(roomID, "secret")
	alice.do("POST", "/account/deactivate", J{"erase": true, "auth": J{
		"type": "m.login.password", "identifier": J{"type": "m.id.user", "user": alice.UserID}, "password": "a password of alice"}})
	late.Join(server, roomID, late.User("late"), v)
	for _, c := range []struct {
		asks asker
		want string
	}{{asker{t, early.Stranger, server}, "secret"}, {asker{t, late.Stranger, server}, ""}} {
		pdu := c.asks.must("GET", "/event/"+url.PathEscape(said), nil).Get("pdus.0")
		if got := pdu.Get("content.body").Str; got != c.want || pdu.Get("type").Str != "m.room.message" {
			t.Errorf("%s is given %s", c.asks.from.Name, pdu)
		}
		if e, err := event.Parse([]byte(pdu.Raw), v); err != nil || e.ID() != said {
			t.Errorf("it is not the same event: %v", err)
		}
		back := c.asks.must("GET", query("/backfill/"+url.PathEscape(roomID), "v", said, "limit", "1"), nil)
		if got := back.Get("pdus.0.content.body").Str; got != c.want {
			t.Errorf("%s is given %s", c.asks.from.Name, back)
		}
	}
}

func contains(list gjson.Result, id string) bool {
	return slices.ContainsFunc(list.Array(), func(e gjson.Result) bool { return e.Str == id })
}
