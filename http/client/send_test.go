package client_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestTransactions(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	tablet := alice.With("TABLET")
	roomID := alice.CreateRoom(J{})
	other := alice.CreateRoom(J{})
	path := clienttest.Room(roomID, "send", "m.room.message", "txn/1")
	first := alice.Put(path, J{"body": "x"}).OK().Text("event_id")
	for name, again := range map[string]*clienttest.Answer{
		"again": alice.Put(path, J{"body": "x"}), "with another body": alice.Put(path, J{"body": "y"}),
		"below r0": alice.Put("/_matrix/client/r0"+path, J{"body": "x"}),
	} {
		if got := again.OK().Text("event_id"); got != first {
			t.Errorf("%s: a second event", name)
		}
	}
	for name, different := range map[string]*clienttest.Answer{
		"another device": tablet.Put(path, J{"body": "x"}),
		"another type":   alice.Put(clienttest.Room(roomID, "send", "org.example.other", "txn/1"), J{}),
		"another room":   alice.Put(clienttest.Room(other, "send", "m.room.message", "txn/1"), J{"body": "x"}),
		"a redaction":    alice.Put(clienttest.Room(roomID, "redact", first, "txn/1"), J{}),
	} {
		if got := different.OK().Text("event_id"); got == first {
			t.Errorf("%s: the same event", name)
		}
	}
	// Only the device that sent it sees the transaction id.
	second := alice.Put(clienttest.Room(roomID, "send", "m.room.message", "txn2"), J{"body": "z"}).OK().Text("event_id")
	alice.Get(clienttest.Room(roomID, "event", second)).OK().Has("unsigned.transaction_id", `"txn2"`)
	tablet.Get(clienttest.Room(roomID, "event", second)).OK().Lacks("unsigned.transaction_id")
	redaction := alice.Put(clienttest.Room(roomID, "redact", second, "r"), nil).OK().Text("event_id")
	if again := alice.Put(clienttest.Room(roomID, "redact", second, "r"), nil).OK().Text("event_id"); again != redaction {
		t.Error("a second redaction")
	}
}

// TestTransactionsOfLongAgo: the room itself remembers only the newest.
func TestTransactionsOfLongAgo(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	said := alice.Say(roomID, "x")
	old := schema.RoomTransaction{RoomID: roomID, UserID: alice.ID, DeviceID: alice.Device, Type: "m.room.message", TxnID: "old", EventID: "$sent"}
	redaction := old
	redaction.Type, redaction.Redacts, redaction.EventID = "m.room.redaction", said, "$redacted"
	w.Write(schema.RoomTransactions.Put(old), schema.RoomTransactions.Put(redaction))
	alice.Put(clienttest.Room(roomID, "send", "m.room.message", "old"), J{"body": "x"}).OK().Has("event_id", `"$sent"`)
	alice.Put(clienttest.Room(roomID, "redact", said, "old"), J{}).OK().Has("event_id", `"$redacted"`)
	for name, different := range map[string]*clienttest.Answer{
		"another device": alice.With("TABLET").Put(clienttest.Room(roomID, "send", "m.room.message", "old"), J{"body": "x"}),
		"another type":   alice.Put(clienttest.Room(roomID, "send", "org.example.other", "old"), J{}),
	} {
		if got := different.OK().Text("event_id"); got == "$sent" {
			t.Errorf("%s: the same event", name)
		}
	}
}

// TestLargeMessagesToDevices: one is as large as an event at most, and together they have a bound, counted for each device.
func TestLargeMessagesToDevices(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	path := func(txnID string) string { return clienttest.Path("sendToDevice", "org.example.thing", txnID) }
	to := func(n int) J {
		return J{"messages": J{bob.ID: J{bob.Device: J{"a": strings.Repeat("x", n)}}}}
	}
	alice.Put(path("1"), to(65_000)).OK()
	alice.Put(path("2"), to(65_536)).Refused(413, "M_TOO_LARGE")
	for n := range 520 {
		bob.With(strconv.Itoa(n))
	}
	all := J{"messages": J{bob.ID: J{"*": J{"a": strings.Repeat("x", 65_000)}}}}
	alice.Put(path("3"), all).Refused(413, "M_TOO_LARGE")
}

// TestRedactionsOfTheSuspended: whatever their power, they redact only what is their own.
func TestRedactionsOfTheSuspended(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	own, others := alice.Say(roomID, "x"), bob.Say(roomID, "y")
	row, _, err := schema.Accounts.Get(t.Context(), w.Store, schema.Account{UserID: alice.ID})
	if err != nil {
		t.Fatal(err)
	}
	row.UserID, row.Suspended = alice.ID, true
	w.Write(schema.Accounts.Put(row))
	w.Tokens.Forget(alice.ID)
	alice.Put(clienttest.Room(roomID, "redact", others, "1"), J{}).Refused(403, "M_USER_SUSPENDED")
	alice.Put(clienttest.Room(roomID, "redact", "$unknown", "2"), J{}).Refused(403, "M_USER_SUSPENDED")
	alice.Put(clienttest.Room(roomID, "redact", own, "3"), J{}).OK()
	bob.Get(clienttest.Room(roomID, "event", others)).OK().Has("content.body", `"y"`)
}

func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	said := alice.Say(roomID, "x")
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	for _, test := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"send/m.room.message/1", "", 400, "M_NOT_JSON"},
		{"send/m.room.message/1", "{", 400, "M_NOT_JSON"},
		{"send/m.room.message/1", "[]", 400, "M_BAD_JSON"},
		{"send/m.room.message/1", `{"a":1,"a":2}`, 400, "M_BAD_JSON"},
		{"send/m.room.message/1", deep, 400, "M_BAD_JSON"},
		{"send/m.room.message/1", `{"a":1.5}`, 400, "M_BAD_JSON"},
		{"send/m.room.message/1", `{"a":9007199254740993}`, 400, "M_BAD_JSON"},
		{"send/m.room.message/1", `{"a":"` + strings.Repeat("x", 70_000) + `"}`, 413, "M_TOO_LARGE"},
		{"send/m.room.message/1", `{"a":"` + strings.Repeat("x", 300_000) + `"}`, 413, "M_TOO_LARGE"},
		{"send/" + strings.Repeat("x", 256) + "/1", "{}", 413, "M_TOO_LARGE"},
		{"send/m.room.message/" + strings.Repeat("x", 256), "{}", 400, "M_INVALID_PARAM"},
		{"send/m.room.message/%00", "{}", 400, "M_INVALID_PARAM"},
		{"send/m.room.member/1", `{"membership":"leave"}`, 403, "M_FORBIDDEN"},
		{"send/m.room.redaction/1", "{}", 400, "M_BAD_JSON"},
		{"send/m.room.redaction/1", `{"redacts":"nonsense"}`, 400, "M_INVALID_PARAM"},
		{"redact/nonsense/1", "{}", 400, "M_INVALID_PARAM"},
		{"redact/" + said + "/1", `{"reason":1}`, 400, "M_BAD_JSON"},
		{"state/m.room.create", "{}", 400, "M_INVALID_PARAM"},
		{"state/m.room.name", "[]", 400, "M_BAD_JSON"},
		{"state/" + strings.Repeat("x", 256), "{}", 413, "M_TOO_LARGE"},
		{"state/x/" + strings.Repeat("x", 256), "{}", 413, "M_TOO_LARGE"},
		{"state/x/@bob:example.org", "{}", 403, "M_FORBIDDEN"},
		{"state/m.room.power_levels", `{"users":{"@bob:example.org":"100"}}`, 400, "M_BAD_JSON"},
		{"state/m.room.power_levels", `{"users":{"@alice:example.org":100}}`, 400, "M_BAD_JSON"}, // version 12
		{"state/m.room.join_rules", "{}", 400, "M_BAD_JSON"},
		{"state/m.room.history_visibility", `{"history_visibility":1}`, 400, "M_BAD_JSON"},
	} {
		var body any = test.body
		if test.body == "" {
			body = nil
		}
		if a := alice.Put("/rooms/"+roomID+"/"+test.path, body); a.Status != test.status || a.At("errcode").Str != test.code {
			t.Errorf("%.60s %.40s: %d %.200s, want %d %s", test.path, test.body, a.Status, a.Raw, test.status, test.code)
		}
	}
}

func TestRedactions(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "secret name"})
	bob.Join(roomID)
	ofAlice, ofBob := alice.Say(roomID, "by alice"), bob.Say(roomID, "by bob")
	bob.Put(clienttest.Room(roomID, "redact", ofAlice, "1"), J{}).Refused(403, "M_FORBIDDEN")
	bob.Put(clienttest.Room(roomID, "redact", ofBob, "2"), J{"reason": "typo"}).OK()
	got := alice.Get(clienttest.Room(roomID, "event", ofBob)).OK().Has("content", "{}").
		Has("unsigned.redacted_because.sender", `"@bob:example.org"`).Has("unsigned.redacted_because.content.reason", `"typo"`)
	got.Lacks("unsigned.redacted_because.unsigned.redacted_because")
	create := alice.Get(clienttest.Room(roomID, "state", "m.room.create") + "?format=event").OK().Text("event_id")
	alice.Put(clienttest.Room(roomID, "redact", create, "3"), J{}).Refused(403, "M_FORBIDDEN")
	// A redacted name is no name, in the state and in the directory.
	name := alice.Get(clienttest.Room(roomID, "state", "m.room.name") + "?format=event").OK().Text("event_id")
	alice.Put("/directory/list/room/"+roomID, nil).OK()
	bob.Get("/publicRooms").OK().Has("chunk.0.name", `"secret name"`)
	alice.Put(clienttest.Room(roomID, "redact", name, "4"), J{}).OK()
	if got := stateOf(bob, roomID, "m.room.name", "").Raw; got != "{}" {
		t.Errorf("the name is %s", got)
	}
	bob.Get("/publicRooms").OK().Lacks("chunk.0.name")
}

func TestState(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	first := alice.Put(clienttest.Room(roomID, "state", "m.room.name"), J{"name": "one"}).OK().Text("event_id")
	if again := alice.Put(clienttest.Room(roomID, "state", "m.room.name")+"/", J{"name": "one"}).OK().Text("event_id"); again != first {
		t.Error("saying the same state again made an event")
	}
	second := alice.Put(clienttest.Room(roomID, "state", "m.room.name")+"/", J{"name": "two"}).OK().Text("event_id")
	for _, path := range []string{"/rooms/", "/_matrix/client/r0/rooms/"} {
		for _, slash := range []string{"", "/"} {
			alice.Get(path+roomID+"/state/m.room.name"+slash).OK().Has("name", `"two"`)
			alice.Get(path+roomID+"/state/m.room.name"+slash+"?format=content").OK().Has("name", `"two"`)
		}
	}
	alice.Get("/rooms/"+roomID+"/state/m.room.name?format=event").OK().Has("event_id", `"`+second+`"`).
		Has("state_key", `""`).Has("type", `"m.room.name"`).Has("room_id", `"`+roomID+`"`).Has("sender", `"@alice:example.org"`).
		Has("content", `{"name":"two"}`).Has("unsigned.prev_content", `{"name":"one"}`).Has("unsigned.replaces_state", `"`+first+`"`).
		Has("unsigned.membership", `"join"`)
	alice.Get("/rooms/"+roomID+"/state/m.room.name?format=nonsense").Refused(400, "M_INVALID_PARAM")
	alice.Get("/rooms/"+roomID+"/state/m.room.name/other").Refused(404, "M_NOT_FOUND")
	alice.SetState(roomID, "org.example/slash", "a/b c", J{"x": 1})
	alice.Get(clienttest.Room(roomID, "state", "org.example/slash", "a/b c")).OK().Has("x", "1")
	types := map[string]string{}
	for _, e := range alice.Get(clienttest.Room(roomID, "state")).OK().At("@this").Array() {
		types[e.Get("type").Str] = e.Get("state_key").Str
	}
	if len(types) != 8 || types["org.example/slash"] != "a/b c" {
		t.Errorf("the state is %v", types)
	}
}

func TestCanonicalAlias(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{"room_alias_name": "main"})
	alice.CreateRoom(J{"room_alias_name": "other"})
	bob := w.Register("bob")
	alice.Post(clienttest.Room(roomID, "invite"), J{"user_id": bob.ID}).OK()
	bob.Join(roomID)
	bob.Put("/directory/room/%23alt:example.org", J{"room_id": roomID}).OK()
	put := func(content J) *clienttest.Answer {
		return alice.Put(clienttest.Room(roomID, "state", "m.room.canonical_alias"), content)
	}
	put(J{"alias": "#other:example.org"}).Refused(400, "M_BAD_ALIAS")
	put(J{"alias": "#nothing:example.org"}).Refused(400, "M_BAD_ALIAS")
	put(J{"alias": "#main:elsewhere.org"}).Refused(400, "M_BAD_ALIAS")
	put(J{"alias": "nonsense"}).Refused(400, "M_INVALID_PARAM")
	put(J{"alias": 1}).Refused(400, "M_INVALID_PARAM")
	put(J{"alt_aliases": "#alt:example.org"}).Refused(400, "M_INVALID_PARAM")
	put(J{"alt_aliases": []any{1}}).Refused(400, "M_INVALID_PARAM")
	put(J{"alias": "#main:example.org", "alt_aliases": []string{"#other:example.org"}}).Refused(400, "M_BAD_ALIAS")
	put(J{"alias": "#main:example.org", "alt_aliases": []string{"#alt:example.org"}}).OK()
	// What stands there already may stay when it no longer points here; whoever deleted it may not have been allowed to take it out.
	bob.Delete("/directory/room/%23alt:example.org").OK()
	put(J{"alias": "#main:example.org", "alt_aliases": []string{"#alt:example.org"}, "x": 1}).OK()
	put(J{}).OK()
	put(J{"alt_aliases": []string{"#alt:example.org"}}).Refused(400, "M_BAD_ALIAS")
}

// A deleted alias leaves the canonical alias event, and what else is in there stays (client-server API, DELETE /directory/room/{roomAlias}).
func TestADeletedAliasIsNoLongerCanonical(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{"room_alias_name": "main"})
	state := clienttest.Room(roomID, "state", "m.room.canonical_alias")
	for _, name := range []string{"one", "two"} {
		alice.Put("/directory/room/%23"+name+":example.org", J{"room_id": roomID}).OK()
	}
	alice.Put(state, J{"alias": "#main:example.org", "alt_aliases": []string{"#one:example.org", "#two:example.org"}, "x": 1}).OK()
	for _, step := range []struct{ deleted, left string }{
		{"one", `{"alias":"#main:example.org","alt_aliases":["#two:example.org"],"x":1}`},
		{"main", `{"alt_aliases":["#two:example.org"],"x":1}`},
		{"two", `{"x":1}`},
	} {
		alice.Delete("/directory/room/%23" + step.deleted + ":example.org").OK()
		alice.Get(state).OK().Has("@this", step.left)
	}
}
