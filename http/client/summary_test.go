package client_test

import (
	"net/url"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// stand is a room, somebody to whom it is what the name says, and whether that user, and everybody, may know of it.
type stand struct {
	name             string
	user             *clienttest.User
	roomID           string
	knows            bool
	knowsAnonymously bool
}

// stands are rooms of all kinds.
func stands(w *clienttest.World) []stand {
	alice := w.Register("alice")
	club := alice.CreateRoom(J{"preset": "public_chat"})
	rule := func(rule string) []J {
		content := J{"join_rule": rule}
		if rule == "restricted" || rule == "knock_restricted" {
			content["allow"] = []J{{"type": "m.room_membership", "room_id": club}, {"type": "org.example.other"}}
		}
		return []J{{"type": "m.room.join_rules", "content": content}, {"type": "m.room.history_visibility", "content": J{"history_visibility": "joined"}}}
	}
	n := 0
	somebody := func() *clienttest.User {
		n++
		return w.Register("user" + string(rune('a'+n)))
	}
	var all []stand
	for _, c := range []struct {
		name, version, rule string
		before              func(u *clienttest.User, roomID string)
		knows, anonymous    bool
	}{
		{"a private room", "12", "invite", nil, false, false},
		{"a public room", "12", "public", nil, true, true},
		{"a room to knock at", "12", "knock", nil, true, true},
		{"a version without knocking", "6", "knock", nil, false, false},
		{"a restricted room, not allowed", "12", "restricted", nil, false, false},
		{"a version without restricted rooms", "7", "restricted", func(u *clienttest.User, _ string) { u.Join(club) }, false, false},
		{"a restricted room, allowed", "12", "restricted", func(u *clienttest.User, _ string) { u.Join(club) }, true, false},
		{"a restricted room, no longer allowed", "12", "restricted", func(u *clienttest.User, _ string) { u.Join(club); u.Leave(club) }, false, false},
		{"restricted and to knock at", "12", "knock_restricted", nil, true, true},
		{"restricted and to knock at, too old", "9", "knock_restricted", nil, false, false},
		{"invited", "12", "invite", func(u *clienttest.User, roomID string) { alice.Invite(roomID, u) }, true, false},
		{"joined", "12", "invite", func(u *clienttest.User, roomID string) { alice.Invite(roomID, u); u.Join(roomID) }, true, false},
		{"left", "12", "invite", func(u *clienttest.User, roomID string) { alice.Invite(roomID, u); u.Join(roomID); u.Leave(roomID) }, false, false},
		{"banned", "12", "public", func(u *clienttest.User, roomID string) {
			alice.Post(clienttest.Room(roomID, "ban"), J{"user_id": u.ID}).OK()
		}, false, true},
		{"readable by all", "12", "invite", func(_ *clienttest.User, roomID string) {
			alice.SetState(roomID, "m.room.history_visibility", "", J{"history_visibility": "world_readable"})
		}, true, true},
		{"banned, but readable by all", "12", "invite", func(u *clienttest.User, roomID string) {
			alice.SetState(roomID, "m.room.history_visibility", "", J{"history_visibility": "world_readable"})
			alice.Post(clienttest.Room(roomID, "ban"), J{"user_id": u.ID}).OK()
		}, true, true},
	} {
		roomID := alice.CreateRoom(J{"name": c.name, "room_version": c.version, "initial_state": rule(c.rule)})
		u := somebody()
		if c.before != nil {
			c.before(u, roomID)
		}
		all = append(all, stand{c.name, u, roomID, c.knows, c.anonymous})
	}
	return all
}

func TestRoomSummariesAreForThoseWhoMayKnow(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	check := func(a *clienttest.Answer, s stand, knows bool) {
		t.Helper()
		if knows {
			a.OK().Has("name", `"`+s.name+`"`)
		} else {
			a.Refused(404, "M_NOT_FOUND").Lacks("name")
		}
	}
	for _, s := range stands(w) {
		path := "/_matrix/client/v1/room_summary/" + s.roomID
		check(s.user.Get(path), s, s.knows)
		check(w.Nobody().Get(path), s, s.knowsAnonymously)
	}
}

func TestRoomSummary(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	club := alice.CreateRoom(J{})
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "Name", "topic": "Topic", "room_alias_name": "room", "room_version": "11",
		"creation_content": J{"type": "m.space"},
		"initial_state": []J{
			{"type": "m.room.encryption", "content": J{"algorithm": "m.megolm.v1.aes-sha2"}},
			{"type": "m.room.avatar", "content": J{"url": "mxc://example.org/a"}},
			{"type": "m.room.history_visibility", "content": J{"history_visibility": "world_readable"}},
			{"type": "m.room.guest_access", "content": J{"guest_access": "can_join"}},
			{"type": "m.room.join_rules", "content": J{"join_rule": "restricted", "allow": []J{{"type": "m.room_membership", "room_id": club}}}},
		}})
	alias := url.PathEscape("#room:example.org")
	for _, path := range []string{"/_matrix/client/v1/room_summary/" + roomID, "/_matrix/client/v1/room_summary/" + alias + "?via=elsewhere.example",
		"/_matrix/client/unstable/im.nheko.summary/rooms/" + alias + "/summary", "/_matrix/client/unstable/im.nheko.summary/summary/" + roomID} {
		alice.Get(path).OK().Has("membership", `"join"`).
			Has("room_id", `"`+roomID+`"`).Has("name", `"Name"`).Has("topic", `"Topic"`).Has("avatar_url", `"mxc://example.org/a"`).
			Has("canonical_alias", `"#room:example.org"`).Has("num_joined_members", "1").Has("world_readable", "true").
			Has("guest_can_join", "true").Has("join_rule", `"restricted"`).Has("room_type", `"m.space"`).
			Has("allowed_room_ids", `["`+club+`"]`).Has("encryption", `"m.megolm.v1.aes-sha2"`).Has("room_version", `"11"`)
		bob.Get(path).OK().Has("membership", `"leave"`)
		w.Nobody().Get(path).OK().Lacks("membership").Has("name", `"Name"`)
	}
	plain := alice.CreateRoom(J{"preset": "public_chat"})
	alice.Get("/_matrix/client/v1/room_summary/"+plain).OK().Has("world_readable", "false").Has("guest_can_join", "false").
		Lacks("encryption").Lacks("room_type").Lacks("allowed_room_ids").Lacks("name")
	alice.Get("/_matrix/client/v1/room_summary/"+url.PathEscape("#none:example.org")).Refused(404, "M_NOT_FOUND")
	alice.Get("/_matrix/client/v1/room_summary/!none:example.org").Refused(404, "M_NOT_FOUND")
	alice.Get("/_matrix/client/v1/room_summary/nothing").Refused(400, "M_INVALID_PARAM")
}
