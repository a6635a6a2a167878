package syncer_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/matrixon/matrixon/actors/actortest"
)

// crowd is a room of alice's with members m0, m1 … , which has no name.
func crowd(w *actortest.World, n int) (alice *actortest.Device, roomID string, members []*actortest.Device) {
	w.T.Helper()
	alice = w.User("alice")
	roomID = alice.Create(J{"preset": "public_chat"})
	for i := range n {
		m := w.User("m" + strconv.Itoa(i))
		m.Join(roomID)
		members = append(members, m)
	}
	return alice, roomID, members
}

func lazily(w *actortest.World, limit int, redundant bool) actortest.With {
	return w.Filter(J{"room": J{"state": J{"lazy_load_members": true, "include_redundant_members": redundant}, "timeline": J{"limit": limit}}})
}

// shownMembers are the users whose membership events the state of the room holds.
func shownMembers(a *actortest.Answer, roomID string) []string {
	var users []string
	for _, e := range a.Room("join", roomID, "state.events").Array() {
		if e.Get("type").Str == "m.room.member" {
			users = append(users, e.Get("state_key").Str)
		}
	}
	slices.Sort(users)
	return users
}

func TestLazyLoadingLeavesOutWhoIsSilent(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, roomID, members := crowd(w, 8)
	alice.SetState(roomID, "m.room.name", "", J{"name": "so that there are no heroes"})
	members[6].Say(roomID, "1")
	f := lazily(w, 1, false)
	a := alice.Sync(f)
	actortest.Same(t, "members", shownMembers(a, roomID), alice.User, members[6].User)
	members[7].Say(roomID, "2")
	a = alice.Sync(f)
	actortest.Same(t, "a new speaker", shownMembers(a, roomID), members[7].User)
	if a.Room("join", roomID, "summary").Exists() {
		t.Errorf("a summary, though the room is as it was: %s", a.Raw)
	}
	members[7].Say(roomID, "3")
	actortest.Same(t, "a known speaker", shownMembers(alice.Sync(f), roomID))
	members[7].Say(roomID, "4")
	actortest.Same(t, "a known speaker, redundantly", shownMembers(alice.Sync(lazily(w, 1, true)), roomID), members[7].User)
}

// A client that was not given an answer, or that fell back to an older token, gets again what that answer held.
func TestWhatALostAnswerHeldIsNotRedundant(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, roomID, members := crowd(w, 3)
	alice.SetState(roomID, "m.room.name", "", J{"name": "so that there are no heroes"})
	f := lazily(w, 1, false)
	alice.Sync(f)
	stored := alice.Since
	members[0].Say(roomID, "1")
	for range 2 {
		actortest.Same(t, "lost", shownMembers(alice.Look(f), roomID), members[0].User)
	}
	alice.Sync(f)
	members[1].Say(roomID, "2")
	alice.Sync(f)
	alice.Sync(f)
	// The client crashed and begins again with the token that it had stored.
	alice.Since = stored
	members[0].Say(roomID, "3")
	actortest.Same(t, "anew", shownMembers(alice.Sync(f), roomID), members[0].User)
	members[1].Say(roomID, "4")
	actortest.Same(t, "anew", shownMembers(alice.Sync(f), roomID), members[1].User)
	members[0].Say(roomID, "5")
	actortest.Same(t, "known by now", shownMembers(alice.Sync(f), roomID))
}

// An answer that was lost may have held more than the one that came in its place.
func TestARetryWithAShorterTimeline(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, roomID, members := crowd(w, 3)
	alice.SetState(roomID, "m.room.name", "", J{"name": "so that there are no heroes"})
	f := lazily(w, 1, false)
	alice.Sync(f)
	members[0].Say(roomID, "1")
	alice.Look(f) // lost, with m0 in it
	members[1].Say(roomID, "2")
	actortest.Same(t, "the retry", shownMembers(alice.Sync(f), roomID), members[1].User)
	members[0].Say(roomID, "3")
	actortest.Same(t, "m0 was never seen", shownMembers(alice.Sync(f), roomID), members[0].User)
}

func TestLazyLoadingIsRememberedForEachDevice(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, roomID, members := crowd(w, 2)
	alice.SetState(roomID, "m.room.name", "", J{"name": "so that there are no heroes"})
	phone := alice.With("PHONE")
	f := lazily(w, 1, false)
	alice.Sync(f)
	phone.Sync(f)
	for i := range 2 {
		members[0].Say(roomID, strconv.Itoa(i))
		alice.Sync(f)
	}
	actortest.Same(t, "the other device", shownMembers(phone.Sync(f), roomID), members[0].User)
	// Beginning again forgets everything.
	alice.Since = ""
	actortest.Same(t, "begun again", shownMembers(alice.Sync(f), roomID), alice.User, members[0].User)
}

// Changes of members in a gap are never left out: the client may have the older event.
func TestChangesInAGapAreNotLeftOut(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, roomID, members := crowd(w, 4)
	f := lazily(w, 1, false)
	alice.Sync(f)
	members[3].SetState(roomID, "m.room.member", members[3].User, J{"membership": "join", "displayname": "Renamed"})
	members[2].Leave(roomID)
	alice.Say(roomID, "1")
	got := shownMembers(alice.Sync(f), roomID)
	for _, m := range members[2:] {
		if !slices.Contains(got, m.User) {
			t.Errorf("no %s among %q", m.User, got)
		}
	}
	// A renamed member is sent again with the new event.
	members[3].Say(roomID, "2")
	actortest.Same(t, "known in the new form", shownMembers(alice.Sync(f), roomID))
}

// The heroes' membership events come with the summary that names them (client-server API, "Syncing", m.heroes).
func TestHeroesComeWithTheirMembership(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, roomID, members := crowd(w, 8)
	f := lazily(w, 1, false)
	alice.Say(roomID, "1")
	a := alice.Sync(f)
	heroes := actortest.Strings(a.Room("join", roomID, "summary.m\\.heroes"))
	actortest.Same(t, "heroes", heroes, members[0].User, members[1].User, members[2].User, members[3].User, members[4].User)
	actortest.Same(t, "members", shownMembers(a, roomID), append([]string{alice.User}, heroes...)...)
	// Later, when a change in a gap brings a summary: the hero who moved up comes too.
	members[0].Leave(roomID)
	alice.Say(roomID, "2")
	a = alice.Sync(f)
	heroes = actortest.Strings(a.Room("join", roomID, "summary.m\\.heroes"))
	actortest.Same(t, "heroes", heroes, members[1].User, members[2].User, members[3].User, members[4].User, members[5].User)
	actortest.Same(t, "members", shownMembers(a, roomID), members[0].User, members[5].User)
}
