package client_test

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// Profiles come with the rooms in which their users are shown, and their changes wherever they are (MSC4262).
func TestProfilesInSlidingSyncs(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol, dave := w.Register("alice"), w.Register("bob"), w.Register("carol"), w.Register("dave")
	const status, other = "org.example.status", "org.example.other"
	set := func(u *clienttest.User, field string, value any) {
		t.Helper()
		u.Put("/profile/"+u.ID+"/"+field, J{field: value}).OK()
	}
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "a"})
	for _, u := range []*clienttest.User{bob, carol} {
		u.Join(roomID)
	}
	for _, u := range []*clienttest.User{alice, bob, carol, dave} {
		set(u, status, "hello")
		set(u, other, 1)
	}
	bob.Say(roomID, "shown")

	s := roomList(alice, 0, 1)
	ext := J{"enabled": true, "fields": []string{status}}
	s.body["extensions"] = J{"org.matrix.msc4262.profiles": ext}
	users := func(a *clienttest.Answer) map[string]gjson.Result {
		return a.At(`extensions.org\.matrix\.msc4262\.profiles.users`).Map()
	}
	is := func(what string, got map[string]gjson.Result, want map[*clienttest.User]string) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %v", what, got)
		}
		for u, raw := range want {
			if got[u.ID].Raw != raw {
				t.Errorf("%s: %s is %q, not %q", what, u.ID, got[u.ID].Raw, raw)
			}
		}
	}
	hello := `{"updated":{"` + status + `":"hello"}}`
	is("who is shown", users(s.sync()), map[*clienttest.User]string{alice: hello, bob: hello})
	is("nothing new", users(s.sync()), nil)
	before := s.pos
	set(carol, status, "back")
	bob.Delete("/profile/" + bob.ID + "/" + status).OK()
	set(dave, status, "back")
	want := map[*clienttest.User]string{carol: `{"updated":{"` + status + `":"back"}}`, bob: `{"removed":["` + status + `"]}`}
	is("changes", users(s.sync()), want)
	s.pos = before
	is("changes in an answer that was lost", users(s.sync()), want)

	carol.Say(roomID, "now shown too")
	is("a new sender", users(s.sync()), map[*clienttest.User]string{carol: want[carol]})
	ext["fields"] = []string{status, other}
	is("another field", users(s.sync()), map[*clienttest.User]string{
		alice: `{"updated":{"` + other + `":1,"` + status + `":"hello"}}`, bob: `{"updated":{"` + other + `":1}}`,
		carol: `{"updated":{"` + other + `":1,"` + status + `":"back"}}`})
	carol.Leave(roomID)
	is("who left", users(s.sync()), map[*clienttest.User]string{carol: "null"})
	delete(ext, "fields")
	if got := users(s.sync()); len(got) == 0 {
		t.Error("all fields are not told when they are asked for")
	}
	dave.Join(roomID)
	is("who came", users(s.sync()), map[*clienttest.User]string{dave: `{"updated":{"` + other + `":1,"` + status + `":"back"}}`})

	all := make([]string, 101)
	ext["fields"] = all
	s.ask().Refused(400, "M_INVALID_PARAM")
}
