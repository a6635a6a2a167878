package client_test

import (
	"slices"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// Members are loaded lazily: whoever speaks and, in a room without a name, the heroes. A name that goes brings the heroes.
func TestHeroes(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "name": "x"})
	bob.Join(roomID)
	carol.Join(roomID)
	bob.Say(roomID, "hello")
	const filter = `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`
	members := func(a *clienttest.Answer) []string {
		found := []string{}
		for _, e := range joined(a, roomID).Get("state.events").Array() {
			if e.Get("type").Str == "m.room.member" {
				found = append(found, e.Get("state_key").Str)
			}
		}
		slices.Sort(found)
		return found
	}
	named := filtered(alice, filter, "")
	if got, want := members(named), []string{alice.ID, bob.ID}; !slices.Equal(got, want) {
		t.Errorf("the members that come with a named room are %v, not %v", got, want)
	}
	if joined(named, roomID).Get(`summary.m\.heroes`).Exists() {
		t.Error("a named room has heroes")
	}

	alice.SetState(roomID, "m.room.name", "", J{})
	nameless := filtered(alice, filter, named.At("next_batch").Str)
	if got, want := texts(joined(nameless, roomID).Get("summary"), `m\.heroes`), []string{bob.ID, carol.ID}; !slices.Equal(got, want) {
		t.Errorf("the heroes are %v, not %v", got, want)
	}
	if got, want := members(nameless), []string{carol.ID}; !slices.Equal(got, want) {
		t.Errorf("the members that come with the heroes are %v, not %v: bob is known", got, want)
	}
}
