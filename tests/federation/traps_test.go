package federation

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// HARD_PLACES.md 30: a member of a space joins a room that is restricted to it through servers of which not every one can let anybody in.
func TestRestrictedJoinsThroughThreeServers(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 3)
	t.Cleanup(func() { explain(t, servers) })
	for _, v := range []string{"8", "12"} {
		alice, bob, carol := newPerson(t, servers[0], "alice"+v), newPerson(t, servers[1], "bob"+v), newPerson(t, servers[2], "carol"+v)
		space := alice.create(J{"preset": "public_chat", "room_version": v, "creation_content": J{"type": "m.space"}})
		roomID := alice.create(J{"preset": "private_chat", "room_version": v, "invite": []string{bob.UserID}, "initial_state": []J{{"type": "m.room.join_rules", "state_key": "",
			"content": J{"join_rule": "restricted", "allow": []J{{"type": "m.room_membership", "room_id": space}}}}}})
		bob.joinVia(roomID, alice.server())
		alice.seesMember(roomID, bob.UserID, "join")
		join := func(via ...string) string {
			return matrixclient.Path("join", roomID) + "?" + url.Values{"via": via}.Encode()
		}
		// Who is not in the space is not let in by anybody.
		carol.refused("M_FORBIDDEN", "POST", join(alice.server()), J{})
		carol.joinVia(space, alice.server())
		alice.seesMember(space, carol.UserID, "join")
		// Bob's server is in the room and not in the space: it cannot tell. The next one can.
		refusedWith(t, carol.Client, 400, "M_UNABLE_TO_AUTHORISE_JOIN", "POST", join(bob.server()), J{})
		// Now it can tell, and nobody of it may invite.
		bob.joinVia(space, alice.server())
		alice.seesMember(space, bob.UserID, "join")
		bob.seesMember(space, carol.UserID, "join")
		levels := alice.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.power_levels", ""), nil).Value().(map[string]any)
		levels["invite"] = 50
		changed, err := alice.SetState(t.Context(), roomID, "m.room.power_levels", "", levels)
		if err != nil {
			t.Fatal(err)
		}
		bob.has(roomID, changed)
		refusedWith(t, carol.Client, 400, "M_UNABLE_TO_GRANT_JOIN", "POST", join(bob.server()), J{})
		carol.do("POST", join(bob.server(), alice.server()), J{})
		alice.seesState(roomID, "m.room.member", carol.UserID, "join_authorised_via_users_server", alice.UserID)
		bob.seesMember(roomID, carol.UserID, "join")
		bob.has(roomID, carol.say(roomID, "here I am"))
		// Who is in the room or invited needs nobody's authority.
		carol.do("PUT", matrixclient.Path("profile", carol.UserID, "displayname"), J{"displayname": "Carol"})
		alice.seesState(roomID, "m.room.member", carol.UserID, "displayname", "Carol")
	}
}

// HARD_PLACES.md 34: a server that the room keeps out is refused on all endpoints that concern the room, and its events and notes are passed
// over, one by one.
func TestServersThatARoomKeepsOut(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "11")
	seen := s.alice.say(s.room.ID, "seen")
	s.c.Got(seen)
	open := s.c.Join(server, s.alice.create(J{"preset": "public_chat"}), s.mallory, versionOf(t, "12"))
	if _, err := s.alice.SetState(t.Context(), s.room.ID, "m.room.server_acl", "", J{"allow": []string{"*"}, "deny": []string{"EVIL.example"}, "allow_ip_literals": false}); err != nil {
		t.Fatal(err)
	}
	room, user := escaped(s.room.ID), escaped(s.mallory)
	e := s.c.Make(s.room, s.message())
	for uri, body := range map[string]any{
		"GET v1/make_join/" + room + "/" + user + "?ver=11":       nil,
		"GET v1/make_leave/" + room + "/" + user:                  nil,
		"GET v1/make_knock/" + room + "/" + user + "?ver=11":      nil,
		"PUT v2/send_join/" + room + "/x":                         peers.PDUs(e)[0],
		"PUT v2/send_leave/" + room + "/x":                        peers.PDUs(e)[0],
		"PUT v1/send_knock/" + room + "/x":                        peers.PDUs(e)[0],
		"PUT v2/invite/" + room + "/x":                            J{"room_version": "11", "event": peers.PDUs(e)[0], "invite_room_state": []J{}},
		"PUT v1/invite/" + room + "/x":                            peers.PDUs(e)[0],
		"GET v1/state/" + room + "?event_id=" + escaped(seen):     nil,
		"GET v1/state_ids/" + room + "?event_id=" + escaped(seen): nil,
		"GET v1/backfill/" + room + "?limit=5&v=" + escaped(seen): nil,
		"GET v1/event_auth/" + room + "/" + escaped(seen):         nil,
		"GET v1/timestamp_to_event/" + room + "?ts=0&dir=f":       nil,
		"POST v1/get_missing_events/" + room:                      J{"earliest_events": []string{}, "latest_events": []string{seen}},
		"PUT v1/exchange_third_party_invite/" + room:              J{"type": "m.room.member", "room_id": s.room.ID, "sender": s.alice.UserID, "state_key": s.mallory, "content": J{"membership": "invite", "third_party_invite": J{}}},
	} {
		method, path, _ := strings.Cut(uri, " ")
		_, err := s.c.Ask(server, method, "/_matrix/federation/"+path, body)
		if err == nil || !strings.Contains(err.Error(), "403 M_FORBIDDEN") {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := s.c.Ask(server, "GET", "/_matrix/federation/v1/event/"+escaped(seen), nil); err == nil || !strings.Contains(err.Error(), "404 M_NOT_FOUND") {
		t.Errorf("an event: %v", err)
	}
	welcome := s.c.Put(open, open.Draft(s.mallory, "m.room.message", `{"body":"elsewhere"}`))
	fates, err := s.transact(J{"pdus": peers.PDUs(e, welcome), "edus": []J{
		{"edu_type": "m.typing", "content": J{"room_id": s.room.ID, "user_id": s.mallory, "typing": true}},
		{"edu_type": "m.receipt", "content": J{s.room.ID: J{"m.read": J{s.mallory: J{"data": J{"ts": 1}, "event_ids": []string{seen}}}}}},
		{"edu_type": "m.typing", "content": J{"room_id": open.ID, "user_id": s.mallory, "typing": true}},
	}})
	if err != nil || fates[e.ID()] == "" || fates[welcome.ID()] != "" {
		t.Errorf("the fates are %v %v", fates, err)
	}
	s.alice.until("typing in the other room", func(sync gjson.Result) bool {
		if len(ephemeral(sync, s.room.ID, "m.typing"))+len(ephemeral(sync, s.room.ID, "m.receipt")) > 0 && strings.Contains(sync.Get("rooms.join").Map()[s.room.ID].Get("ephemeral").Raw, s.mallory) {
			t.Errorf("a note of a server that is kept out: %s", sync.Get("rooms.join").Map()[s.room.ID].Get("ephemeral"))
		}
		return strings.Contains(sync.Get("rooms.join").Map()[open.ID].Get("ephemeral").Raw, s.mallory)
	})
	if s.readable(e.ID()) {
		t.Error("an event of a server that is kept out can be read")
	}
}

// HARD_PLACES.md 32: an invite can be declined though its server is gone; nobody is shown those of people whom they ignore; and
// a server that knows the first version of the endpoint only can be invited.
func TestInvitesThatAreDifficult(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	alice := newPerson(t, server, "alice")
	c := authority.Crafter(t)
	mallory := c.User("mallory")
	offer := func(v string) *peers.Room {
		room := c.Room(mallory, versionOf(t, v))
		invite := room.Draft(mallory, "m.room.member", `{"membership":"invite"}`, alice.UserID)
		if _, err := c.Ask(server, "PUT", "/_matrix/federation/v2/invite/"+escaped(room.ID)+"/"+escaped(c.Put(room, invite).ID()),
			J{"room_version": v, "event": peers.PDUs(room.Last())[0], "invite_room_state": []any{}}); err != nil {
			t.Fatal(err)
		}
		return room
	}
	for name, gone := range map[string]http.HandlerFunc{"fails": text(""), "never answers": hang, "knows nothing": nil} {
		room := offer("11")
		alice.invited(room.ID)
		c.Answer("make_leave", gone)
		alice.room(room.ID, "leave", J{})
		alice.seesEnd(room.ID)
		if got := alice.do("GET", "/sync", nil).Get("rooms.invite").Map()[room.ID]; got.Exists() {
			t.Errorf("a server that %s: the invite is still there", name)
		}
	}

	alice.do("PUT", matrixclient.Path("user", alice.UserID, "account_data", "m.ignored_user_list"), J{"ignored_users": J{mallory: J{}}})
	alice.sync(0)
	ignored := offer("10")
	friend := c.User("friend")
	room := c.Room(friend, versionOf(t, "10"))
	c.Put(room, room.Draft(friend, "m.room.member", `{"membership":"invite"}`, alice.UserID))
	if _, err := c.Ask(server, "PUT", "/_matrix/federation/v2/invite/"+escaped(room.ID)+"/"+escaped(room.Last().ID()),
		J{"room_version": "10", "event": peers.PDUs(room.Last())[0], "invite_room_state": []any{}}); err != nil {
		t.Fatal(err)
	}
	alice.until("the invite of a friend", func(sync gjson.Result) bool {
		if sync.Get("rooms.invite").Map()[ignored.ID].Exists() {
			t.Error("alice is told of an invite of somebody whom she ignores")
		}
		return sync.Get("rooms.invite").Map()[room.ID].Exists()
	})

	// The old endpoint is for room versions 1 and 2, and answers a pair.
	s := besiege(t, authority, server, "2")
	old := authority.Crafter(t)
	old.Answer("invite", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/v1/") {
			peers.JSON(w, http.StatusNotFound, J{"errcode": "M_UNRECOGNIZED"})
			return
		}
		raw := body(t, r)
		e, err := event.Parse(raw, s.room.Version)
		if err == nil {
			e, err = e.Sign(old.Name, old.Key)
		}
		if err != nil || !gjson.GetBytes(raw, "unsigned.invite_room_state").IsArray() {
			t.Errorf("the invite is %s: %v", raw, err)
			peers.JSON(w, http.StatusBadRequest, J{"errcode": "M_BAD_JSON"})
			return
		}
		peers.JSON(w, http.StatusOK, []any{200, J{"event": peers.PDUs(e)[0]}})
	})
	s.alice.room(s.room.ID, "invite", J{"user_id": old.User("bob")})
	s.alice.seesMember(s.room.ID, old.User("bob"), "invite")
}

// A server that is in a room, and has somebody let into it by another that is ahead, finds out where the join belongs.
func TestJoiningThroughAServerThatIsAhead(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	alice, bob, carol := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob"), newPerson(t, servers[1], "carol")
	club := alice.create(J{"preset": "public_chat"})
	roomID := alice.create(J{"preset": "private_chat", "initial_state": []J{{"type": "m.room.join_rules", "state_key": "",
		"content": J{"join_rule": "restricted", "allow": []J{{"type": "m.room_membership", "room_id": club}}}}},
		"power_level_content_override": J{"invite": 50}})
	for _, p := range []*person{bob, carol} {
		p.joinVia(club, servers[0].Name)
		alice.seesMember(club, p.UserID, "join")
	}
	bob.joinVia(roomID, servers[0].Name)
	bob.sees(roomID, alice.say(roomID, "hello"))
	destinations(t, servers[0], "pause", servers[1].Name)
	missed := alice.say(roomID, "what the other server does not hear of")
	carol.joinVia(roomID, servers[0].Name)
	for _, p := range []*person{bob, carol} {
		p.eventually("what was missed", func() bool {
			page, err := p.Messages(t.Context(), roomID, "", "b", 50)
			return err == nil && has(page.Get("chunk"), "event_id", missed)
		})
	}
	destinations(t, servers[0], "retry", servers[1].Name)
	bob.sees(roomID, alice.say(roomID, "and on"))
	alice.sees(roomID, carol.say(roomID, "here I am"))
}
