package client_test

import (
	"slices"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func threadsOf(roomID string) string { return "/_matrix/client/v1/rooms/" + roomID + "/threads" }

func inThread(u *clienttest.User, roomID, root, body string) string {
	return relate(u, roomID, "m.room.message", "m.thread", root, J{"body": body, "msgtype": "m.text"})
}

func TestThreads(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	carol.Join(roomID)
	first, second, third := alice.Say(roomID, "first"), bob.Say(roomID, "second"), bob.Say(roomID, "third")
	alice.Say(roomID, "no thread")
	inThread(bob, roomID, first, "1")
	inThread(bob, roomID, second, "2")
	inThread(alice, roomID, third, "3")
	gone := inThread(carol, roomID, third, "4")
	newest := inThread(bob, roomID, first, "5")
	inThread(bob, roomID, newest, "in a thread that cannot be")
	list := func(u *clienttest.User, query string) []string {
		return u.Get(threadsOf(roomID) + query).OK().Texts("chunk.#.event_id")
	}
	expect := func(u *clienttest.User, query string, want ...string) {
		t.Helper()
		if got := list(u, query); !slices.Equal(got, want) {
			t.Errorf("%s%s: %v, want %v", u.ID, query, got, want)
		}
	}
	expect(alice, "", first, third, second)
	expect(alice, "?include=all", first, third, second)
	expect(alice, "?include=participated", first, third)
	expect(bob, "?include=participated", first, third, second)
	expect(carol, "?include=participated", third)
	alice.Get(threadsOf(roomID)).OK().Lacks("next_batch").
		Has(`chunk.0.unsigned.m\.relations.m\.thread.count`, "2").
		Has(`chunk.0.unsigned.m\.relations.m\.thread.latest_event.event_id`, `"`+newest+`"`).
		Has(`chunk.0.unsigned.m\.relations.m\.thread.current_user_participated`, "true").
		Has(`chunk.0.room_id`, `"`+roomID+`"`)
	alice.Get("/_matrix/client/unstable/org.matrix.msc3856/rooms/"+roomID+"/threads").OK().Has("chunk.#", "3")

	for _, include := range []string{"all", "participated"} {
		var got []string
		for from := ""; ; {
			a := alice.Get(threadsOf(roomID) + "?limit=1&include=" + include + from).OK()
			got = append(got, a.Texts("chunk.#.event_id")...)
			if !a.At("next_batch").Exists() {
				break
			}
			from = "&from=" + a.Text("next_batch")
		}
		if want := list(alice, "?include="+include); !slices.Equal(got, want) {
			t.Errorf("%s, one by one: %v, want %v", include, got, want)
		}
	}
	// What is redacted is not in the thread any more.
	carol.Put(clienttest.Room(roomID, "redact", gone, "r"), J{}).OK()
	expect(carol, "?include=participated")
	inThread(carol, roomID, second, "6")
	expect(alice, "", second, first, third)
	for _, query := range []string{"?include=some", "?limit=0", "?limit=x", "?from=x", "?from=m1_1_1_1_1"} {
		alice.Get(threadsOf(roomID)+query).Refused(400, "M_INVALID_PARAM")
	}
	w.Nobody().Get(threadsOf(roomID)).Refused(401, "M_MISSING_TOKEN")
	alice.Get(threadsOf("!nothing:example.org")).Refused(403, "M_FORBIDDEN")
}

func TestThreadsThatMayBeSeen(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, stranger := w.Register("alice"), w.Register("bob"), w.Register("stranger")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	alice.SetState(roomID, "m.room.history_visibility", "", J{"history_visibility": "joined"})
	hidden := alice.Say(roomID, "before bob")
	inThread(alice, roomID, hidden, "1")
	bob.Join(roomID)
	seen, other := alice.Say(roomID, "root"), alice.Say(roomID, "other")
	last := inThread(alice, roomID, seen, "2")
	inThread(alice, roomID, other, "3")
	inThread(alice, roomID, hidden, "4")
	bob.Leave(roomID)
	inThread(alice, roomID, seen, "after bob")
	a := bob.Get(threadsOf(roomID)).OK().
		Has(`chunk.1.unsigned.m\.relations.m\.thread.latest_event.event_id`, `"`+last+`"`).
		Has(`chunk.1.unsigned.m\.relations.m\.thread.count`, "1")
	if got := a.Texts("chunk.#.event_id"); !slices.Equal(got, []string{other, seen}) {
		t.Errorf("%v", got)
	}
	stranger.Get(threadsOf(roomID)).Refused(403, "M_FORBIDDEN")

	// Those who are ignored: their replies do not count, their roots are pruned.
	roomID = alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	root := bob.Say(roomID, "by bob")
	inThread(alice, roomID, root, "1")
	quiet := alice.Say(roomID, "by alice")
	inThread(bob, roomID, quiet, "2")
	alice.Put("/user/"+alice.ID+"/account_data/m.ignored_user_list", J{"ignored_users": J{bob.ID: J{}}}).OK()
	alice.Get(threadsOf(roomID)).OK().Has("chunk.#.event_id", `["`+root+`"]`).Has("chunk.0.content", "{}").
		Has(`chunk.0.unsigned.m\.relations.m\.thread.count`, "1")
}
