package client_test

import (
	"strconv"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// Account data that is deleted is not found any more; syncs that knew it hear so, and those that begin do not hear of it (MSC3391).
func TestDeletingAccountData(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{})
	for at, path := range map[string]string{
		`account_data.events.#(type=="m.x")`:              "/user/" + alice.ID,
		`rooms.join.*.account_data.events.#(type=="m.x")`: "/user/" + alice.ID + "/rooms/" + room,
	} {
		data := path + "/account_data/m.x"
		remove := "/_matrix/client/unstable/org.matrix.msc3391" + data
		alice.Delete(remove).OK()
		alice.Get(data).Refused(404, "M_NOT_FOUND")
		alice.Put(data, J{"a": 1}).OK()
		first := alice.Get("/sync").OK()
		first.Has(at+".content", `{"a":1}`)
		bob.Delete(remove).Refused(403, "M_FORBIDDEN")
		alice.Delete(remove).OK()
		alice.Delete(remove).OK()
		alice.Get(data).Refused(404, "M_NOT_FOUND")
		alice.Get("/sync?since="+first.Text("next_batch")).OK().Has(at+".content", `{}`)
		alice.Get("/sync").OK().Lacks(at)
		alice.Put(data, J{"b": 2}).OK()
		alice.Get(data).OK().Has("b", "2")
		alice.Put(data, J{}).OK() // the specification's way to say nothing
		alice.Get(data).OK()
	}
	for _, kind := range []string{"m.push_rules", "m.fully_read"} {
		alice.Delete("/_matrix/client/unstable/org.matrix.msc3391/user/"+alice.ID+"/account_data/"+kind).Refused(405, "M_BAD_JSON")
	}
}

// There is an end to how many types one may have, but what was deleted does not count.
func TestDeletedAccountDataMakesSpace(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	at := func(i int) string { return "/user/" + alice.ID + "/account_data/n" + strconv.Itoa(i) }
	n := 0
	something := J{"a": 1}
	for alice.Put(at(n), something).Status == 200 {
		n++
	}
	alice.Put(at(n), something).Refused(413, "M_TOO_LARGE")
	alice.Delete("/_matrix/client/unstable/org.matrix.msc3391" + at(0)).OK()
	alice.Put(at(n), something).OK()
	alice.Put(at(n+1), something).Refused(413, "M_TOO_LARGE")
}
