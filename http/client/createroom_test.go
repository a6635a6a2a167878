package client_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// stateOf gives the content of a state event as the user sees it.
func stateOf(u *clienttest.User, roomID, typ, stateKey string) gjson.Result {
	return gjson.Parse(u.Get(clienttest.Room(roomID, "state", typ, stateKey)).OK().Raw)
}

func TestPresets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body                                    J
		joinRule, visibility, guests, published string
		power                                   string // of an invitee, in room version 11
	}{
		{J{}, "invite", "shared", "can_join", "private", ""},
		{J{"visibility": "private"}, "invite", "shared", "can_join", "private", ""},
		{J{"visibility": "public"}, "public", "shared", "forbidden", "public", ""},
		{J{"visibility": "public", "preset": "private_chat"}, "invite", "shared", "can_join", "public", ""},
		{J{"preset": "public_chat"}, "public", "shared", "forbidden", "private", ""},
		{J{"preset": "trusted_private_chat"}, "invite", "shared", "can_join", "private", "100"},
	} {
		w := clienttest.New(t)
		alice, bob := w.Register("alice"), w.Register("bob")
		test.body["invite"], test.body["room_version"] = []string{bob.ID}, "11"
		roomID := alice.CreateRoom(test.body)
		for typ, want := range map[string]string{
			"m.room.join_rules": `{"join_rule":"` + test.joinRule + `"}`, "m.room.history_visibility": `{"history_visibility":"` + test.visibility + `"}`,
			"m.room.guest_access": `{"guest_access":"` + test.guests + `"}`,
		} {
			if got := stateOf(alice, roomID, typ, "").Raw; got != want {
				t.Errorf("%v: %s is %s", test.body, typ, got)
			}
		}
		alice.Get("/directory/list/room/"+roomID).OK().Has("visibility", `"`+test.published+`"`)
		levels := stateOf(alice, roomID, "m.room.power_levels", "").Get("users")
		if got := levels.Get(gjson.Escape(bob.ID)).Raw; got != test.power || levels.Get(gjson.Escape(alice.ID)).Raw != "100" {
			t.Errorf("%v: power levels %s", test.body, levels.Raw)
		}
	}
}

// TestOrderOfFirstEvents compares with the order that POST /createRoom promises.
func TestOrderOfFirstEvents(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	alice.Put("/profile/"+alice.ID+"/displayname", J{"displayname": "Alice"}).OK()
	bob.Put("/profile/"+bob.ID+"/displayname", J{"displayname": "Bob"}).OK()
	roomID := alice.CreateRoom(J{
		"room_alias_name": "pub", "name": "The Pub", "topic": "Beer", "invite": []string{bob.ID}, "is_direct": true,
		"creation_content": J{"m.federate": false, "type": "m.space", "creator": "@eve:example.org", "room_version": "1"},
		"initial_state": []J{
			{"type": "m.room.history_visibility", "content": J{"history_visibility": "joined"}},
			{"type": "org.example.x", "state_key": "k", "content": J{"a": 1}},
			{"type": "m.room.name", "content": J{"name": "overwritten"}},
		},
		"power_level_content_override": J{"invite": 75},
	})
	got := alice.Get(clienttest.Room(roomID, "messages") + "?dir=f&limit=50").OK()
	want := []string{
		"m.room.create", "m.room.member", "m.room.power_levels", "m.room.canonical_alias", "m.room.join_rules", "m.room.guest_access",
		"m.room.history_visibility", "org.example.x", "m.room.name", "m.room.name", "m.room.topic", "m.room.member",
	}
	if types := got.Texts("chunk.#.type"); !slices.Equal(types, want) {
		t.Errorf("%v", types)
	}
	got.Has("chunk.0.content", `{"m.federate":false,"room_version":"12","type":"m.space"}`).
		Has("chunk.1.content", `{"displayname":"Alice","membership":"join"}`).
		Has("chunk.2.content.invite", "75").Has("chunk.2.content.users", "{}").
		Has("chunk.3.content", `{"alias":"#pub:example.org"}`).
		Has("chunk.11.content", `{"displayname":"Bob","is_direct":true,"membership":"invite"}`)
	if name := stateOf(alice, roomID, "m.room.name", "").Get("name").Str; name != "The Pub" {
		t.Errorf("the room's name is %q", name)
	}
	if topic := stateOf(alice, roomID, "m.room.topic", "").Raw; topic != `{"m.topic":{"m.text":[{"body":"Beer"}]},"topic":"Beer"}` {
		t.Errorf("the topic is %s", topic)
	}
	bob.Get("/directory/room/%23pub:example.org").OK().Has("room_id", `"`+roomID+`"`).Has("servers", `["example.org"]`)
	if strings.Contains(roomID, ":") {
		t.Errorf("a room of version 12 is named by its create event: %s", roomID)
	}
}

func TestEveryRoomVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} {
		w := clienttest.New(t)
		alice, bob := w.Register("alice"), w.Register("bob")
		roomID := alice.CreateRoom(J{"room_version": version, "invite": []string{bob.ID}, "name": version})
		if got := stateOf(alice, roomID, "m.room.create", "").Get("room_version").Str; got != version {
			t.Errorf("version %s: %s", version, got)
		}
		bob.Join(roomID)
		said := bob.Say(roomID, "hello")
		redaction := alice.Put(clienttest.Room(roomID, "redact", said, "1"), J{"reason": "spam"}).OK().Text("event_id")
		alice.Get(clienttest.Room(roomID, "event", said)).OK().Has("content", "{}").
			Has("unsigned.redacted_because.event_id", `"`+redaction+`"`)
		alice.Get(clienttest.Room(roomID, "event", redaction)).OK().Has("redacts", `"`+said+`"`).
			Has("content.redacts", `"`+said+`"`).Has("content.reason", `"spam"`)
		// The same by /send, which works in all versions.
		said = bob.Say(roomID, "again")
		redaction = bob.Send(roomID, "m.room.redaction", J{"redacts": said})
		alice.Get(clienttest.Room(roomID, "event", said)).OK().Has("content", "{}")
		alice.Get(clienttest.Room(roomID, "event", redaction)).OK().Has("redacts", `"`+said+`"`).Has("content.redacts", `"`+said+`"`)
	}
}

func TestRoomsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	alice.CreateRoom(J{"room_alias_name": "taken"})
	bob.Put("/user/"+bob.ID+"/account_data/m.invite_permission_config", J{"default_action": "block"}).OK()
	for _, test := range []struct {
		body   any
		status int
		code   string
	}{
		{J{"room_version": "99"}, 400, "M_UNSUPPORTED_ROOM_VERSION"},
		{J{"room_alias_name": "taken"}, 400, "M_ROOM_IN_USE"},
		{J{"room_alias_name": "a:b\x00"}, 400, "M_INVALID_PARAM"},
		{J{"room_alias_name": strings.Repeat("x", 300)}, 400, "M_INVALID_PARAM"},
		{J{"preset": "nonsense"}, 400, "M_INVALID_PARAM"},
		{J{"visibility": "nonsense"}, 400, "M_INVALID_PARAM"},
		{J{"visibility": 7}, 400, "M_BAD_JSON"},
		{J{"invite": []string{"bob"}}, 400, "M_INVALID_PARAM"},
		{J{"invite": []string{"@nobody:example.org"}}, 404, "M_NOT_FOUND"},
		{J{"invite": []string{"@x:elsewhere.org"}}, 403, "M_FORBIDDEN"},
		{J{"invite": []string{bob.ID}}, 403, "M_INVITE_BLOCKED"},
		{J{"invite_3pid": []J{{"medium": "email", "address": "a@b.c", "id_server": "x", "id_access_token": "y"}}}, 400, "M_INVALID_PARAM"},
		{J{"power_level_content_override": J{"users": J{alice.ID: 0}}, "room_version": "11", "name": "x"}, 400, "M_INVALID_ROOM_STATE"},
		{J{"power_level_content_override": J{"users": J{alice.ID: 100}}}, 400, "M_INVALID_ROOM_STATE"},
		{J{"power_level_content_override": J{"users_default": "x"}}, 400, "M_BAD_JSON"},
		{J{"initial_state": []J{{"type": "m.room.name"}}}, 400, "M_BAD_JSON"},
		{J{"initial_state": []J{{"content": J{}}}}, 400, "M_BAD_JSON"},
		{J{"initial_state": []J{{"type": "m.room.create", "content": J{}}}}, 400, "M_INVALID_ROOM_STATE"},
		{J{"initial_state": []J{{"type": "x", "content": J{"big": strings.Repeat("x", 70_000)}}}}, 413, "M_TOO_LARGE"},
		{J{"initial_state": []J{{"type": "x", "content": J{"float": 1.5}}}}, 400, "M_BAD_JSON"},
		{J{"creation_content": J{"additional_creators": "bob"}}, 400, "M_BAD_JSON"},
		{J{"creation_content": J{"additional_creators": []string{"bob"}}}, 400, "M_INVALID_PARAM"},
		{"[]", 400, "M_BAD_JSON"},
		{"{", 400, "M_NOT_JSON"},
		{`{"name":"a","name":"b"}`, 400, "M_BAD_JSON"},
	} {
		if a := alice.Post("/createRoom", test.body); a.Status != test.status || a.At("errcode").Str != test.code {
			t.Errorf("%v: %d %s, want %d %s", test.body, a.Status, a.Raw, test.status, test.code)
		}
	}
	if got := len(alice.Get("/joined_rooms").OK().At("joined_rooms").Array()); got != 1 {
		t.Errorf("alice is in %d rooms", got)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	old := alice.CreateRoom(J{"room_version": "11", "name": "Old", "room_alias_name": "lounge", "visibility": "public", "invite": []string{bob.ID}})
	bob.Join(old)
	upgrade := clienttest.Room(old, "upgrade")
	alice.Post(upgrade, J{}).Refused(400, "M_MISSING_PARAM")
	alice.Post(upgrade, J{"new_version": "nonsense"}).Refused(400, "M_UNSUPPORTED_ROOM_VERSION")
	alice.Post(upgrade, J{"new_version": "12", "additional_creators": []string{"bob"}}).Refused(400, "M_INVALID_PARAM")
	bob.Post(upgrade, J{"new_version": "12"}).Refused(403, "M_FORBIDDEN")
	replacement := alice.Post(upgrade, J{"new_version": "12", "additional_creators": []string{bob.ID}}).OK().Text("replacement_room")
	if got := stateOf(alice, old, "m.room.tombstone", "").Get("replacement_room").Str; got != replacement {
		t.Errorf("the tombstone points to %s", got)
	}
	create := stateOf(alice, replacement, "m.room.create", "")
	if create.Get("predecessor.room_id").Str != old || create.Get("additional_creators").Raw != `["`+bob.ID+`"]` {
		t.Errorf("%s", create.Raw)
	}
	if got := stateOf(alice, replacement, "m.room.name", "").Get("name").Str; got != "Old" {
		t.Errorf("the new room is called %q", got)
	}
	bob.Get("/directory/room/%23lounge:example.org").OK().Has("room_id", `"`+replacement+`"`)
	bob.Get("/directory/list/room/"+replacement).OK().Has("visibility", `"public"`)
	bob.Get("/directory/list/room/"+old).OK().Has("visibility", `"private"`)
	bob.Put(clienttest.Room(old, "send", "m.room.message", "1"), J{"body": "still here?"}).Refused(403, "M_FORBIDDEN")
	bob.Join(replacement)
}
