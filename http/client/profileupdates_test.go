package client_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// following is what a sync tells of profiles to whoever follows these fields.
func following(u *clienttest.User, since string, fields ...string) *clienttest.Answer {
	filter := `{"org.matrix.msc4429.profile_fields":{"ids":["` + strings.Join(fields, `","`) + `"]}}`
	return u.Get("/sync?filter=" + url.QueryEscape(filter) + "&since=" + since).OK()
}

// Who asks for fields of profiles is told of their changes by users who share a room (MSC4429).
func TestProfilesInSyncs(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	const status, users = "org.example.status", `org\.matrix\.msc4429\.users`
	of := func(u *clienttest.User) string { return users + "." + gjson.Escape(u.ID) + ".profile_updates" }
	set := func(u *clienttest.User, field string, value any) {
		t.Helper()
		u.Put("/profile/"+u.ID+"/"+field, J{field: value}).OK()
	}
	room := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(room)
	set(bob, status, J{"text": "away"})
	set(bob, "displayname", "Bob")
	set(carol, status, "nobody sees")
	set(alice, status, "mine")

	first := following(alice, "", status)
	first.Has(of(bob), `{"`+status+`":{"text":"away"}}`).Has(of(alice), `{"`+status+`":"mine"}`).Lacks(of(carol))
	since := first.Text("next_batch")
	alice.Get("/sync").OK().Lacks(users)
	following(alice, since, status).Lacks(users)

	set(bob, status, "back")
	set(bob, "org.example.other", 1)
	second := following(alice, since, status)
	second.Has(of(bob), `{"`+status+`":"back"}`).Lacks(of(alice))
	following(alice, since, status, "org.example.other").Has(of(bob)+`.org\.example\.other`, "1")
	since = second.Text("next_batch")
	bob.Delete("/profile/" + bob.ID + "/" + status).OK()
	third := following(alice, since, status)
	third.Has(of(bob), `{"`+status+`":null}`)
	following(alice, "", status).Lacks(of(bob))
	since = third.Text("next_batch")

	carol.Join(room)
	fourth := following(alice, since, status)
	fourth.Has(of(carol), `{"`+status+`":"nobody sees"}`)
	since = fourth.Text("next_batch")
	carol.Leave(room)
	fifth := following(alice, since, status)
	fifth.Has(of(carol), "null")
	set(carol, status, "alone")
	following(alice, fifth.Text("next_batch"), status).Lacks(users)

	stable := `{"profile_fields":{"ids":["` + status + `"]}}`
	alice.Get("/sync?filter="+url.QueryEscape(stable)).OK().Has("users.@keys.#", "1").Lacks(users)
	many := `{"profile_fields":{"ids":["` + strings.Repeat(`a","`, 1000) + `"]}}`
	alice.Post("/user/"+alice.ID+"/filter", many).Refused(400, "M_INVALID_PARAM")
}

// A changed profile ends the wait of those who follow it.
func TestAProfileEndsTheWait(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(room)
	since := following(alice, "", "m.tz").Text("next_batch")
	filter := url.QueryEscape(`{"presence":{"types":[]},"org.matrix.msc4429.profile_fields":{"ids":["m.tz"]}}`)
	answers := make(chan *clienttest.Answer)
	go func() { answers <- alice.Get("/sync?timeout=60000&filter=" + filter + "&since=" + since) }()
	bob.Put("/profile/"+bob.ID+"/m.tz", J{"m.tz": "Europe/Paris"}).OK()
	(<-answers).OK().Has(`org\.matrix\.msc4429\.users.`+gjson.Escape(bob.ID)+`.profile_updates.m\.tz`, `"Europe/Paris"`)
}
