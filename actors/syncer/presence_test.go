package syncer_test

import (
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// However many users a server has, a first sync shows the presence of those who share a room with the user, and of no others
// (client-server API, "Presence").
func TestPresenceAmongMany(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob, carol, dave := w.User("alice"), w.User("bob"), w.User("carol"), w.User("zz-dave")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	dave.Join(roomID)
	carol.Join(roomID)
	carol.Leave(roomID)
	for _, u := range []*actortest.Device{bob, carol, dave} {
		actortest.Must[*messages.Done](u, &messages.SetPresence{State: "unavailable", StatusMsg: new("here")})
	}
	shown := func(what string) {
		t.Helper()
		a := alice.Look(actortest.From(""))
		a.Has("presence.events.#.sender", `["`+bob.User+`","`+dave.User+`"]`)
		if t.Failed() {
			t.Log(what)
		}
	}
	shown("few")
	var strangers []persistence.Mutation
	for i := range 1000 {
		strangers = append(strangers, schema.Presences.Put(schema.Presence{UserID: fmt.Sprintf("@stranger%04d:elsewhere.example.org", i), State: "online"}))
	}
	w.Write(strangers...)
	shown("many")
}
