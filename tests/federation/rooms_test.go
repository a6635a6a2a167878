package federation

import (
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestRoomsAcrossServers goes through the lives of rooms that two servers share, in every room version.
func TestRoomsAcrossServers(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	for _, v := range roomversion.All() {
		t.Run("version "+v.ID, func(t *testing.T) {
			t.Parallel()
			alice, bob := newPerson(t, servers[0], "alice"+v.ID), newPerson(t, servers[1], "bob"+v.ID)
			t.Run("public", func(t *testing.T) { public(t, v, servers, alice, bob) })
			t.Run("invited", func(t *testing.T) { invited(t, v, alice, bob) })
			t.Run("rejected", func(t *testing.T) { rejected(t, v, alice, bob) })
			if v.Knock {
				t.Run("knocking", func(t *testing.T) { knocking(t, v, servers, alice, bob) })
			}
			if v.Restricted {
				t.Run("restricted", func(t *testing.T) { restricted(t, v, servers, alice, bob) })
			}
		})
	}
}

// public: a room is joined by a stranger, both talk, and everything that happens on one server happens on the other.
func public(t *testing.T, v *roomversion.Version, servers []*peers.Server, alice, bob *person) {
	alice.t, bob.t = t, t
	roomID := alice.create(J{"preset": "public_chat", "room_version": v.ID, "name": "Square", "topic": "of the town"})
	before := alice.say(roomID, "before bob came")
	bob.joinVia(roomID, servers[0].Name)
	if got := bob.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.name", ""), nil); got.Get("name").Str != "Square" {
		t.Fatalf("the name is %s", got)
	}
	alice.seesMember(roomID, bob.UserID, "join")
	fromAlice := alice.say(roomID, "welcome")
	bob.sees(roomID, fromAlice)
	fromBob := bob.say(roomID, "hello")
	alice.sees(roomID, fromBob)

	// State and redactions.
	alice.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.topic", ""), J{"topic": "new"})
	bob.eventually("the new topic", func() bool {
		got, err := bob.Do(t.Context(), "GET", matrixclient.Path("rooms", roomID, "state", "m.room.topic", ""), nil)
		return err == nil && got.Get("topic").Str == "new"
	})
	if _, err := alice.Redact(t.Context(), roomID, fromAlice, "r"+v.ID); err != nil {
		t.Fatal(err)
	}
	bob.eventually("the redaction", func() bool {
		got, err := bob.Do(t.Context(), "GET", matrixclient.Path("rooms", roomID, "event", fromAlice), nil)
		return err == nil && !got.Get("content.body").Exists() && got.Get("unsigned.redacted_because").Exists()
	})

	// The history from before bob came is there for him who scrolls back.
	page, err := bob.Messages(t.Context(), roomID, "", "b", 100)
	if err != nil {
		t.Fatal(err)
	}
	found := func(page gjson.Result, id string) bool {
		return slices.ContainsFunc(page.Get("chunk").Array(), func(e gjson.Result) bool { return e.Get("event_id").Str == id })
	}
	for !found(page, before) {
		end := page.Get("end").Str
		if end == "" {
			t.Fatal("the message from before bob came is not in the history")
		}
		if page, err = bob.Messages(t.Context(), roomID, end, "b", 100); err != nil {
			t.Fatal(err)
		}
	}

	// Leaving, coming back, being kicked and banned.
	bob.room(roomID, "leave", J{})
	alice.seesMember(roomID, bob.UserID, "leave")
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	alice.room(roomID, "kick", J{"user_id": bob.UserID, "reason": "enough"})
	bob.until("the kick", func(sync gjson.Result) bool {
		_, ok := sync.Get("rooms.leave").Map()[roomID]
		return ok
	})
	alice.room(roomID, "ban", J{"user_id": bob.UserID})
	bob.refused("M_FORBIDDEN", "POST", matrixclient.Path("join", roomID)+"?via="+servers[0].Name, J{})
	alice.room(roomID, "unban", J{"user_id": bob.UserID})
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	again := bob.say(roomID, "here again")
	alice.sees(roomID, again)
}

// invited: a private room takes somebody of another server on invitation only.
func invited(t *testing.T, v *roomversion.Version, alice, bob *person) {
	alice.t, bob.t = t, t
	roomID := alice.create(J{"preset": "private_chat", "room_version": v.ID, "name": "Parlour"})
	bob.refused("M_FORBIDDEN", "POST", matrixclient.Path("join", roomID)+"?via="+alice.server(), J{})
	alice.room(roomID, "invite", J{"user_id": bob.UserID, "reason": "come"})
	types := map[string]string{}
	for _, e := range bob.invited(roomID) {
		types[e.Get("type").Str] = e.Get("sender").Str
		if e.Get("type").Str == "m.room.name" && e.Get("content.name").Str != "Parlour" {
			t.Errorf("the name is %s", e)
		}
	}
	for _, typ := range []string{"m.room.create", "m.room.join_rules", "m.room.name", "m.room.member"} {
		if types[typ] != alice.UserID {
			t.Errorf("the invite shows no %s of %s", typ, alice.UserID)
		}
	}
	bob.do("POST", matrixclient.Path("join", roomID), J{})
	alice.seesMember(roomID, bob.UserID, "join")
	bob.sees(roomID, alice.say(roomID, "hello"))
	alice.sees(roomID, bob.say(roomID, "hello"))

	// An invite that comes with the room, and one by a server that already is in it.
	direct := alice.create(J{"preset": "trusted_private_chat", "room_version": v.ID, "is_direct": true, "invite": []string{bob.UserID}})
	bob.invited(direct)
	bob.do("POST", matrixclient.Path("rooms", direct, "join"), J{})
	alice.seesMember(direct, bob.UserID, "join")
}

// rejected: invites are declined, and taken back.
func rejected(t *testing.T, v *roomversion.Version, alice, bob *person) {
	alice.t, bob.t = t, t
	roomID := alice.create(J{"preset": "private_chat", "room_version": v.ID, "invite": []string{bob.UserID}})
	bob.invited(roomID)
	bob.room(roomID, "leave", J{})
	alice.seesMember(roomID, bob.UserID, "leave")
	bob.until("the leave", func(sync gjson.Result) bool { return !sync.Get("rooms.invite").Map()[roomID].Exists() })
	alice.room(roomID, "invite", J{"user_id": bob.UserID})
	bob.invited(roomID)
	alice.room(roomID, "kick", J{"user_id": bob.UserID})
	alice.seesMember(roomID, bob.UserID, "leave")
}

// knocking (HARD_PLACES.md 31): who knocks is let in, and may take the knock back.
func knocking(t *testing.T, v *roomversion.Version, servers []*peers.Server, alice, bob *person) {
	alice.t, bob.t = t, t
	roomID := alice.create(J{"preset": "private_chat", "room_version": v.ID, "name": "Door",
		"initial_state": []J{{"type": "m.room.join_rules", "state_key": "", "content": J{"join_rule": "knock"}}}})
	knock := func() {
		t.Helper()
		bob.do("POST", matrixclient.Path("knock", roomID)+"?via="+servers[0].Name, J{"reason": "may I"})
		alice.seesMember(roomID, bob.UserID, "knock")
	}
	knock()
	bob.until("the knock", func(sync gjson.Result) bool {
		room, ok := sync.Get("rooms.knock").Map()[roomID]
		return ok && slices.ContainsFunc(room.Get("knock_state.events").Array(), func(e gjson.Result) bool { return e.Get("content.name").Str == "Door" })
	})
	bob.room(roomID, "leave", J{})
	alice.seesMember(roomID, bob.UserID, "leave")
	knock()
	alice.room(roomID, "invite", J{"user_id": bob.UserID})
	bob.invited(roomID)
	bob.do("POST", matrixclient.Path("join", roomID), J{})
	alice.seesMember(roomID, bob.UserID, "join")
	bob.sees(roomID, alice.say(roomID, "come in"))
}

// restricted (HARD_PLACES.md 30): members of one room may join another, with the signature of a server that may invite.
func restricted(t *testing.T, v *roomversion.Version, servers []*peers.Server, alice, bob *person) {
	alice.t, bob.t = t, t
	club := alice.create(J{"preset": "public_chat", "room_version": v.ID})
	roomID := alice.create(J{"preset": "private_chat", "room_version": v.ID, "initial_state": []J{{"type": "m.room.join_rules", "state_key": "",
		"content": J{"join_rule": "restricted", "allow": []J{{"type": "m.room_membership", "room_id": club}}}}}})
	bob.refused("M_FORBIDDEN", "POST", matrixclient.Path("join", roomID)+"?via="+servers[0].Name, J{})
	bob.joinVia(club, servers[0].Name)
	alice.seesMember(club, bob.UserID, "join")
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	member := alice.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.member", bob.UserID), nil)
	if member.Get("join_authorised_via_users_server").Str != alice.UserID {
		t.Errorf("the join is authorised by %s", member)
	}
	bob.sees(roomID, alice.say(roomID, "hello"))
	alice.sees(roomID, bob.say(roomID, "hello"))
}
