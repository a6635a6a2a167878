package client_test

import (
	"slices"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// membership is how a room's state has somebody.
func membership(u *clienttest.User, roomID string, other *clienttest.User) string {
	return stateOf(u, roomID, "m.room.member", other.ID).Get("membership").Str
}

func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	bob.Put("/profile/"+bob.ID+"/displayname", J{"displayname": "Bob"}).OK()
	bob.Put("/profile/"+bob.ID+"/avatar_url", J{"avatar_url": "mxc://example.org/bob"}).OK()
	roomID := alice.CreateRoom(J{"room_alias_name": "lounge"})
	invite, join, leave := clienttest.Room(roomID, "invite"), clienttest.Room(roomID, "join"), clienttest.Room(roomID, "leave")
	bob.Post(join, J{}).Refused(403, "M_FORBIDDEN")
	alice.Post(invite, J{"user_id": bob.ID, "reason": "come in"}).OK()
	alice.Post(invite, J{"user_id": bob.ID, "reason": "come in"}).OK() // again says the same
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Raw; got !=
		`{"avatar_url":"mxc://example.org/bob","displayname":"Bob","membership":"invite","reason":"come in"}` {
		t.Errorf("the invite says %s", got)
	}
	bob.Post(leave, J{"reason": "no time"}).OK()
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Raw; got != `{"membership":"leave","reason":"no time"}` {
		t.Errorf("the rejected invite says %s", got)
	}
	bob.Post(leave, J{}).OK() // once more changes nothing
	alice.Invite(roomID, bob)
	if got := bob.Post("/join/%23lounge:example.org?via=example.org&server_name=example.org", J{"reason": "hello"}).OK().Text("room_id"); got != roomID {
		t.Errorf("joined %s", got)
	}
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Raw; got !=
		`{"avatar_url":"mxc://example.org/bob","displayname":"Bob","membership":"join","reason":"hello"}` {
		t.Errorf("the join says %s", got)
	}
	bob.Post(join, nil).OK().Has("room_id", `"`+roomID+`"`) // once more, and without a body
	alice.Post(invite, J{"user_id": bob.ID}).Refused(403, "M_FORBIDDEN")
	if got := bob.Get("/joined_rooms").OK().Raw; got != `{"joined_rooms":["`+roomID+`"]}` {
		t.Errorf("bob is in %s", got)
	}
	forget := clienttest.Room(roomID, "forget")
	bob.Post(forget, J{}).Refused(400, "M_UNKNOWN")
	said := bob.Say(roomID, "I was here")
	bob.Post(leave, nil).OK()
	if got := bob.Get("/joined_rooms").OK().Raw; got != `{"joined_rooms":[]}` {
		t.Errorf("bob is in %s", got)
	}
	bob.Get(clienttest.Room(roomID, "event", said)).OK()
	bob.Post(forget, J{}).OK()
	bob.Post(forget, J{}).OK()
	bob.Get(clienttest.Room(roomID, "event", said)).Refused(404, "M_NOT_FOUND")
	bob.Get(clienttest.Room(roomID, "messages")+"?dir=b").Refused(403, "M_FORBIDDEN")
	bob.Get(clienttest.Room(roomID, "state")).Refused(403, "M_FORBIDDEN")
	// Whoever comes back remembers.
	alice.Invite(roomID, bob)
	bob.Join(roomID)
	bob.Get(clienttest.Room(roomID, "event", said)).OK()
}

func TestKickingAndBanning(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	kick, ban, unban := clienttest.Room(roomID, "kick"), clienttest.Room(roomID, "ban"), clienttest.Room(roomID, "unban")
	for _, path := range []string{kick, ban, unban, clienttest.Room(roomID, "invite")} {
		alice.Post(path, J{}).Refused(400, "M_MISSING_PARAM")
		alice.Post(path, J{"user_id": "bob"}).Refused(400, "M_INVALID_PARAM")
		alice.Post(path, J{"user_id": 3}).Refused(400, "M_BAD_JSON")
		alice.Post(path, nil).Refused(400, "M_NOT_JSON")
		bob.Post(path, J{"user_id": alice.ID}).Refused(403, "M_FORBIDDEN")
	}
	alice.Post(kick, J{"user_id": carol.ID}).Refused(403, "M_FORBIDDEN") // she is not there
	alice.Post(unban, J{"user_id": bob.ID}).Refused(403, "M_FORBIDDEN")  // he is not banned
	alice.Post(kick, J{"user_id": bob.ID, "reason": "spam"}).OK()
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Raw; got != `{"membership":"leave","reason":"spam"}` {
		t.Errorf("the kick says %s", got)
	}
	bob.Join(roomID)
	alice.Post(ban, J{"user_id": bob.ID, "reason": "more spam"}).OK()
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Raw; got != `{"membership":"ban","reason":"more spam"}` {
		t.Errorf("the ban says %s", got)
	}
	bob.Post(clienttest.Room(roomID, "join"), J{}).Refused(403, "M_FORBIDDEN")
	bob.Post(clienttest.Room(roomID, "leave"), J{}).Refused(403, "M_FORBIDDEN")
	alice.Post(clienttest.Room(roomID, "invite"), J{"user_id": bob.ID}).Refused(403, "M_FORBIDDEN")
	alice.Post(kick, J{"user_id": bob.ID}).Refused(403, "M_FORBIDDEN")
	alice.Post(unban, J{"user_id": bob.ID}).OK()
	bob.Join(roomID)
	alice.Post(ban, J{"user_id": carol.ID}).OK() // who never was there
	if got := membership(alice, roomID, carol); got != "ban" {
		t.Errorf("carol is %s", got)
	}
}

func TestKnocking(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"room_alias_name": "door", "initial_state": []J{{"type": "m.room.join_rules", "content": J{"join_rule": "knock"}}}})
	bob.Post("/knock/%23door:example.org", J{"reason": "let me in"}).OK().Has("room_id", `"`+roomID+`"`)
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Raw; got != `{"membership":"knock","reason":"let me in"}` {
		t.Errorf("the knock says %s", got)
	}
	bob.Post("/join/"+roomID, J{}).Refused(403, "M_FORBIDDEN")
	bob.Get(clienttest.Room(roomID, "state")).Refused(403, "M_FORBIDDEN")
	alice.Invite(roomID, bob)
	bob.Post("/knock/"+roomID, J{}).Refused(403, "M_FORBIDDEN") // an invite is better
	bob.Join(roomID)
	bob.Post("/knock/"+roomID, J{}).Refused(403, "M_FORBIDDEN")
	bob.Post("/knock/nonsense", J{}).Refused(400, "M_INVALID_PARAM")
	bob.Post("/knock/%23nothing:example.org", J{}).Refused(404, "M_NOT_FOUND")
}

func TestRestrictedRooms(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	space := alice.CreateRoom(J{"preset": "public_chat", "creation_content": J{"type": "m.space"}})
	roomID := alice.CreateRoom(J{"initial_state": []J{{"type": "m.room.join_rules", "content": J{
		"join_rule": "restricted", "allow": []J{{"type": "m.room_membership", "room_id": space}}}}}})
	bob.Post("/join/"+roomID, J{}).Refused(403, "M_FORBIDDEN")
	bob.Join(space)
	bob.Join(roomID)
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Get("join_authorised_via_users_server").Str; got != alice.ID {
		t.Errorf("%q vouches for bob", got)
	}
	alice.Invite(roomID, carol)
	carol.Join(roomID)
}

// TestMembershipsAsState does through PUT /state what has endpoints of its own; the same rules hold.
func TestMembershipsAsState(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol, dave := w.Register("alice"), w.Register("bob"), w.Register("carol"), w.Register("dave")
	dave.Put("/user/"+dave.ID+"/account_data/m.invite_permission_config", J{"default_action": "block"}).OK()
	roomID := alice.CreateRoom(J{})
	put := func(u *clienttest.User, target, membership string) *clienttest.Answer {
		return u.Put(clienttest.Room(roomID, "state", "m.room.member", target), J{"membership": membership})
	}
	put(alice, bob.ID, "invite").OK()
	put(alice, dave.ID, "invite").Refused(403, "M_INVITE_BLOCKED")
	alice.Post(clienttest.Room(roomID, "invite"), J{"user_id": dave.ID}).Refused(403, "M_INVITE_BLOCKED")
	dave.Put("/user/"+dave.ID+"/account_data/m.invite_permission_config", J{}).OK()
	put(alice, dave.ID, "invite").OK()
	put(alice, "@nobody:example.org", "invite").Refused(404, "M_NOT_FOUND")
	put(alice, "@x:elsewhere.org", "invite").Refused(403, "M_FORBIDDEN")
	put(alice, "nonsense", "invite").Refused(400, "M_INVALID_PARAM")
	put(alice, carol.ID, "join").Refused(403, "M_FORBIDDEN")
	put(bob, bob.ID, "join").OK()
	put(bob, alice.ID, "leave").Refused(403, "M_FORBIDDEN")
	put(bob, bob.ID, "nonsense").Refused(400, "M_BAD_JSON")
	put(bob, bob.ID, "knock").Refused(403, "M_FORBIDDEN")
	bob.Put(clienttest.Room(roomID, "state", "m.room.member", bob.ID), J{}).Refused(400, "M_BAD_JSON")
	bob.Put(clienttest.Room(roomID, "state", "m.room.member"), J{"membership": "join"}).Refused(400, "M_INVALID_PARAM")
	bob.SetState(roomID, "m.room.member", bob.ID, J{"membership": "join", "displayname": "Bob here"})
	if got := stateOf(alice, roomID, "m.room.member", bob.ID).Get("displayname").Str; got != "Bob here" {
		t.Errorf("bob is called %q", got)
	}
	put(alice, bob.ID, "ban").OK()
	put(bob, bob.ID, "leave").Refused(403, "M_FORBIDDEN")
	put(alice, bob.ID, "leave").OK()
	if got := membership(alice, roomID, bob); got != "leave" {
		t.Errorf("bob is %s", got)
	}
}

func TestThirdPartyInvites(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(J{})
	alice.Post(clienttest.Room(roomID, "invite"), J{"medium": "email", "address": "a@b.c", "id_server": "x", "id_access_token": "y"}).
		Refused(400, "M_INVALID_PARAM")
	alice.Post(clienttest.Room(roomID, "join"), J{"third_party_signed": J{"sender": "@a:b", "mxid": "@c:d", "token": "t", "signatures": J{}}}).
		Refused(400, "M_INVALID_PARAM")
}

// users are the state keys of the member events in the answer.
func users(a *clienttest.Answer) []string {
	names := a.OK().Texts("chunk.#.state_key")
	slices.Sort(names)
	return names
}

func TestMembers(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol, dave := w.Register("alice"), w.Register("bob"), w.Register("carol"), w.Register("dave")
	bob.Put("/profile/"+bob.ID+"/displayname", J{"displayname": "Bob"}).OK()
	bob.Put("/profile/"+bob.ID+"/avatar_url", J{"avatar_url": "mxc://example.org/bob"}).OK()
	roomID := alice.CreateRoom(J{"invite": []string{bob.ID, carol.ID, dave.ID}})
	bob.Join(roomID)
	early := alice.Get("/sync").OK().Text("next_batch")
	dave.Join(roomID)
	dave.Leave(roomID)
	alice.Get(clienttest.Room(roomID, "joined_members")).OK().
		Has("joined", `{"@alice:example.org":{"avatar_url":"","display_name":""},"@bob:example.org":{"avatar_url":"mxc://example.org/bob","display_name":"Bob"}}`)
	members := clienttest.Room(roomID, "members")
	for query, want := range map[string][]string{
		"":                                      {alice.ID, bob.ID, carol.ID, dave.ID},
		"?membership=join":                      {alice.ID, bob.ID},
		"?not_membership=leave":                 {alice.ID, bob.ID, carol.ID},
		"?membership=leave&not_membership=join": {carol.ID, dave.ID},
		"?membership=ban":                       {},
		"?at=" + early + "&membership=invite":   {carol.ID, dave.ID},
		"?at=" + early + "&not_membership=join": {carol.ID, dave.ID},
	} {
		if got := users(alice.Get(members + query)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	alice.Get(members+"?membership=nonsense").Refused(400, "M_INVALID_PARAM")
	alice.Get(members+"?at=nonsense").Refused(400, "M_INVALID_PARAM")
	// For dave, time stands still.
	bob.Leave(roomID)
	if got := users(dave.Get(members + "?membership=join")); !slices.Equal(got, []string{alice.ID, bob.ID}) {
		t.Errorf("dave sees %v", got)
	}
	late := alice.Get("/sync").OK().Text("next_batch")
	if got := users(dave.Get(members + "?membership=join&at=" + late)); !slices.Equal(got, []string{alice.ID, bob.ID}) {
		t.Errorf("dave sees %v at a later point", got)
	}
}
