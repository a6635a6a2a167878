package client_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func hierarchyOf(roomID, query string) string {
	return "/_matrix/client/v1/rooms/" + roomID + "/hierarchy" + query
}

func adopt(u *clienttest.User, space, child string, more J) {
	content := J{"via": []string{"example.org"}}
	for k, v := range more {
		content[k] = v
	}
	u.SetState(space, "m.space.child", child, content)
}

func makeSpace(u *clienttest.User, name string) string {
	return u.CreateRoom(J{"preset": "public_chat", "name": name, "creation_content": J{"type": "m.space"}})
}

func TestHierarchy(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	top, sub, deep := makeSpace(alice, "top"), makeSpace(alice, "sub"), makeSpace(alice, "deep")
	open := func(name string) string { return alice.CreateRoom(J{"preset": "public_chat", "name": name}) }
	// In the order in which they are shown: by order, then by time.
	late, subRoom, deepRoom, noOrder := open("late"), open("sub room"), open("deep room"), open("no order")
	secret := alice.CreateRoom(J{"name": "secret", "creation_content": J{"type": "m.space"}})
	inSecret := open("in secret")
	adopt(alice, top, noOrder, J{"order": "é is not allowed"})
	adopt(alice, top, secret, J{"order": "c"})
	adopt(alice, top, late, J{"order": "z", "suggested": true})
	adopt(alice, top, sub, J{"order": " "})
	adopt(alice, secret, inSecret, nil)
	adopt(alice, sub, subRoom, J{"suggested": true})
	adopt(alice, sub, deep, J{"order": "a"})
	for _, child := range []string{deepRoom, top, late} {
		adopt(alice, deep, child, nil)
		w.Clock.Advance(time.Second)
	}
	adopt(alice, top, "!unknown:example.org", J{"order": "d"})
	alice.SetState(top, "m.space.child", inSecret, J{"via": []string{}})
	alice.SetState(top, "m.space.child", "no room id", J{"via": []string{"example.org"}})
	alice.SetState(noOrder, "m.space.child", inSecret, J{"via": []string{"example.org"}})
	names := func(u *clienttest.User, query string) []string {
		return u.Get(hierarchyOf(top, query)).OK().Texts("rooms.#.name")
	}
	expect := func(u *clienttest.User, query string, want ...string) {
		t.Helper()
		if got := names(u, query); !slices.Equal(got, want) {
			t.Errorf("%s%s: %v, want %v", u.ID, query, got, want)
		}
	}
	whole := []string{"top", "sub", "deep", "deep room", "late", "sub room", "no order"}
	expect(bob, "", whole...)
	expect(alice, "", "top", "sub", "deep", "deep room", "late", "sub room", "secret", "in secret", "no order")
	expect(bob, "?max_depth=0", "top")
	expect(bob, "?max_depth=1", "top", "sub", "late", "no order")
	expect(bob, "?suggested_only=true", "top", "late")
	expect(bob, "?limit=2", "top", "sub")

	a := bob.Get(hierarchyOf(top, "")).OK().Lacks("next_batch").
		Has("rooms.0.room_type", `"m.space"`).Has("rooms.0.room_version", `"12"`).Has("rooms.3.children_state", "[]").Has("rooms.6.children_state", "[]").
		Has("rooms.0.children_state.0.type", `"m.space.child"`).Has("rooms.0.children_state.0.sender", `"`+alice.ID+`"`).
		Has("rooms.0.children_state.0.content.via", `["example.org"]`).
		Lacks("rooms.0.membership")
	if got := a.Texts("rooms.0.children_state.#.state_key"); !slices.Equal(got, []string{sub, secret, "!unknown:example.org", late, noOrder}) {
		t.Errorf("children: %v", got)
	}
	bob.Get(hierarchyOf(top, "?suggested_only=true")).OK().Has("rooms.0.children_state.#.state_key", `["`+late+`"]`)
	bob.Get("/_matrix/client/unstable/org.matrix.msc2946/rooms/"+top+"/hierarchy").OK().Has("rooms.#", "7")

	for limit := 1; limit <= 8; limit++ {
		var got []string
		query := fmt.Sprintf("?limit=%d", limit)
		for from := ""; ; {
			a := bob.Get(hierarchyOf(top, query+from)).OK()
			got = append(got, a.Texts("rooms.#.name")...)
			if !a.At("next_batch").Exists() {
				break
			}
			from = "&from=" + a.Text("next_batch")
		}
		if !slices.Equal(got, whole) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
	sent := "rooms.0.children_state.0.origin_server_ts"
	if got, now := a.At(sent).Int(), w.Clock.Now().UnixMilli(); got != now-3000 {
		t.Errorf("%s: %d at %d", sent, got, now)
	}
	token := bob.Get(hierarchyOf(top, "?limit=1&max_depth=2")).OK().Text("next_batch")
	for _, query := range []string{"?limit=0", "?limit=x", "?max_depth=-1", "?suggested_only=x", "?from=x",
		"?max_depth=3&from=" + token, "?max_depth=2&suggested_only=true&from=" + token} {
		bob.Get(hierarchyOf(top, query)).Refused(400, "M_INVALID_PARAM")
	}
	bob.Get(hierarchyOf(sub, "?max_depth=2&from="+token)).Refused(400, "M_INVALID_PARAM")
	bob.Get(hierarchyOf("!none:example.org", "")).Refused(403, "M_FORBIDDEN")
	bob.Get(hierarchyOf(secret, "")).Refused(403, "M_FORBIDDEN")
	w.Nobody().Get(hierarchyOf(top, "")).Refused(401, "M_MISSING_TOKEN")
	// Whoever was removed from the space is told no more than a stranger.
	alice.Invite(secret, bob)
	bob.Get(hierarchyOf(secret, "")).OK().Has("rooms.#.name", `["secret","in secret"]`)
	alice.Post(clienttest.Room(secret, "kick"), J{"user_id": bob.ID}).OK()
	bob.Get(hierarchyOf(secret, "")).Refused(403, "M_FORBIDDEN")
}

func TestHierarchyShowsWhatMayBeKnown(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	all := stands(w)
	carol := w.Register("carol")
	space := makeSpace(carol, "space")
	for _, s := range all {
		adopt(carol, space, s.roomID, nil)
	}
	for _, s := range all {
		if got := slices.Contains(s.user.Get(hierarchyOf(space, "")).OK().Texts("rooms.#.name"), s.name); got != s.knows {
			t.Errorf("%s: shown: %v", s.name, got)
		}
		alone := s.user.Get(hierarchyOf(s.roomID, ""))
		if s.knows {
			alone.OK()
		} else {
			alone.Refused(403, "M_FORBIDDEN")
		}
	}
}
