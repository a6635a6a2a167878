package client_test

import (
	"net/url"
	"slices"
	"strconv"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMutualRooms(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	shared := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(shared)
	left := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(left)
	bob.Leave(left)
	alice.Invite(alice.CreateRoom(J{}), bob)
	bob.CreateRoom(J{})
	const stable = "/_matrix/client/v1/mutual_rooms?user_id="
	const unstable = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id="
	for _, path := range []string{stable, unstable} {
		alice.Get(path+bob.ID).OK().Has("joined", `["`+shared+`"]`).Has("count", "1").Lacks("next_batch").Lacks("next_batch_token")
		bob.Get(path+alice.ID).OK().Has("joined", `["`+shared+`"]`)
		alice.Get(path+"@nobody:example.org").OK().Has("joined", "[]").Has("count", "0")
		alice.Get(path+alice.ID).Refused(400, "M_INVALID_PARAM")
		alice.Get(path+"bob").Refused(400, "M_INVALID_PARAM")
		alice.Get(path).Refused(400, "M_MISSING_PARAM")
		w.Nobody().Get(path+bob.ID).Refused(401, "M_MISSING_TOKEN")
	}
	alice.Get(stable+bob.ID+"&from=x").Refused(400, "M_INVALID_PARAM")
	alice.Get(unstable+bob.ID+"&batch_token=x").Refused(400, "M_INVALID_PARAM")

	// More rooms than one answer holds.
	want := []string{shared}
	for i := range 249 {
		roomID := "!" + strconv.Itoa(i) + ":elsewhere.example"
		want = append(want, roomID)
		for _, u := range []*clienttest.User{alice, bob} {
			w.Write(schema.Memberships.Put(schema.Membership{UserID: u.ID, RoomID: roomID, Membership: "join"}))
		}
	}
	slices.Sort(want)
	for _, c := range []struct{ path, from, next string }{{stable, "&from=", "next_batch"}, {unstable, "&batch_token=", "next_batch_token"}} {
		var got []string
		pages := 1
		for from := ""; ; pages++ {
			a := alice.Get(c.path+bob.ID+from).OK().Has("count", "250")
			got = append(got, a.Texts("joined")...)
			if !a.At(c.next).Exists() {
				break
			}
			from = c.from + url.QueryEscape(a.Text(c.next))
		}
		if pages != 3 || !slices.Equal(got, want) {
			t.Errorf("%d rooms in %d pages", len(got), pages)
		}
	}
}
