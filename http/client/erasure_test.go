package client_test

import (
	"net/url"
	"testing"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/messages"
)

// Who comes into a room after somebody has erased their account is served what they said redacted; who was there keeps it (client-server API,
// "POST /account/deactivate").
func TestErasedAccount(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	roomID := bob.CreateRoom(J{"preset": "public_chat", "initial_state": []J{
		{"type": "m.room.history_visibility", "state_key": "", "content": J{"history_visibility": "world_readable"}}}})
	alice.Put("/profile/"+alice.ID+"/displayname", J{"displayname": "Alice"}).OK()
	alice.Join(roomID)
	root := bob.Say(roomID, "root")
	said := alice.Send(roomID, "m.room.message", J{"msgtype": "m.text", "body": "secret", "m.relates_to": J{"rel_type": "m.thread", "event_id": root}})
	ask := func(to cluster.Identity, m any) {
		t.Helper()
		var err error
		switch m := m.(type) {
		case *messages.DeactivateAccount:
			_, err = cluster.Ask[*messages.Done](t.Context(), w.Node, to, m)
		case *messages.ChangeMembership:
			_, err = cluster.Ask[*messages.EventSent](t.Context(), w.Node, to, m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ask(cluster.Identity{Kind: cluster.KindUser, ID: alice.ID}, &messages.DeactivateAccount{Erase: true})
	ask(cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, &messages.ChangeMembership{
		By: &messages.Requester{UserId: alice.ID}, Action: messages.ChangeMembership_LEAVE, Target: alice.ID})

	event := clienttest.Room(roomID, "event", said)
	carol.Get(event).OK().Has("content", "{}") // anybody may read the room
	carol.Join(roomID)
	bob.Get(event).OK().Has("content.body", `"secret"`)
	carol.Get(event).OK().Has("content", "{}").Has("sender", `"`+alice.ID+`"`).Lacks("unsigned.redacted_because")

	all := "?dir=b&limit=50&filter=" + url.QueryEscape(`{"senders":["`+alice.ID+`"]}`)
	const bodies, names = "chunk.#.content.body", "chunk.#.content.displayname"
	old := bob.Get(clienttest.Room(roomID, "messages") + all).OK()
	old.Has(bodies, `["secret"]`).Has(names+"|0", `"Alice"`)
	carol.Get(clienttest.Room(roomID, "messages")+all).OK().Has(bodies, "[]").Has(names, "[]").Has("chunk.#.unsigned.prev_content", "[]").
		Has("chunk.#", old.At("chunk.#").Raw)
	carol.Get("/sync").OK().Has(`rooms.join.*.timeline.events.#(event_id=="`+said+`").content`, "{}")
	carol.Get(clienttest.Room(roomID, "event", root)).OK().
		Has(`unsigned.m\.relations.m\.thread.latest_event.content`, "{}")
	for u, n := range map[*clienttest.User]string{bob: "1", carol: "0"} {
		searchFor(u, "secret", nil).OK().Has(inResults+"results.#", n)
	}
	carol.Get(clienttest.Room(roomID, "state", "m.room.history_visibility")).OK().Has("history_visibility", `"world_readable"`)
}
