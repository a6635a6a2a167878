package client_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func TestNotifications(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	first, second := bob.CreateRoom(J{"preset": "public_chat"}), bob.CreateRoom(J{"preset": "public_chat"})
	bob.Say(first, "before alice")
	alice.Join(first)
	alice.Join(second)
	left := bob.CreateRoom(J{"preset": "public_chat"})
	alice.Join(left)
	bob.Say(left, "in a room that alice left")
	alice.Leave(left)
	var all []string // newest first
	say := func(roomID, text string) string {
		eventID := bob.Say(roomID, text)
		all = slices.Insert(all, 0, eventID)
		return eventID
	}
	read := say(first, "1")
	alice.Say(first, "her own")
	highlight := bob.Send(second, "m.room.message", J{"msgtype": "m.text", "body": "alice", "m.mentions": J{"user_ids": []string{alice.ID}}})
	all = slices.Insert(all, 0, highlight)
	for i := range 10 {
		say([]string{first, second}[i%2], fmt.Sprint(i))
	}
	gone := bob.Say(first, "redacted")
	bob.Put(clienttest.Room(first, "redact", gone, "r"), J{}).OK()
	invited := bob.CreateRoom(J{"name": "invited"})
	bob.Invite(invited, alice)
	bob.Say(invited, "alice is not in this room")
	list := func(query string) *clienttest.Answer { return alice.Get("/notifications" + query).OK() }

	a := list("").Lacks("next_token").Has("notifications.0.room_id", `"`+invited+`"`).Has("notifications.0.event.content.membership", `"invite"`).
		Has("notifications.0.event.state_key", `"`+alice.ID+`"`)
	ids := a.Texts("notifications.#.event.event_id")
	if !slices.Equal(ids[1:], all) {
		t.Fatalf("%v, want the invite and %v", ids, all)
	}
	a.Lacks("notifications.1.event.room_id").Has("notifications.1.event.content.body", `"9"`).Has("notifications.1.read", "false").
		Has("notifications.1.ts", fmt.Sprint(w.Clock.Now().UnixMilli())).Has("notifications.1.actions.0", `"notify"`)

	for _, query := range []string{"limit=1", "limit=2", "limit=5", "limit=100", "only=highlight&limit=1"} {
		var got []string
		for from := ""; ; {
			page := list("?" + query + from)
			got = append(got, page.Texts("notifications.#.event.event_id")...)
			if !page.At("next_token").Exists() {
				break
			}
			from = "&from=" + page.Text("next_token")
		}
		want := ids
		if query == "only=highlight&limit=1" {
			want = []string{highlight}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	alice.Post(clienttest.Room(first, "receipt", "m.read", read), J{}).OK()
	reads := map[string]bool{}
	for _, n := range list("").At("notifications").Array() {
		reads[n.Get("event.event_id").Str] = n.Get("read").Bool()
	}
	for _, eventID := range all {
		if reads[eventID] != (eventID == read) {
			t.Errorf("%s: read: %v", eventID, reads[eventID])
		}
	}
	// Whom the user ignores, and what the rules do not tell of.
	alice.Put("/pushrules/global/room/"+second, J{"actions": []string{}}).OK()
	if muted := list("").Texts(`notifications.#(room_id=="` + second + `")#.event.event_id`); !slices.Equal(muted, []string{highlight}) {
		t.Errorf("of a muted room with a mention: %v", muted)
	}
	alice.Put("/user/"+alice.ID+"/account_data/m.ignored_user_list", J{"ignored_users": J{bob.ID: J{}}}).OK()
	list("").Has("notifications", "[]")
	bob.Get("/notifications").OK().Has("notifications.#.event.content.body", `["her own"]`)
	for _, query := range []string{"?limit=0", "?limit=x", "?from=x", "?from=n1_1"} {
		alice.Get("/notifications"+query).Refused(400, "M_INVALID_PARAM")
	}
	w.Nobody().Get("/notifications").Refused(401, "M_MISSING_TOKEN")
}
