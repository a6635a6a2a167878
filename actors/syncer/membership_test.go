package syncer_test

import (
	"slices"
	"testing"

	"github.com/matrixon/matrixon/actors/actortest"
)

func TestANewlyJoinedRoomComesWhole(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat", "name": "Harbour"})
	for _, text := range []string{"1", "2", "3"} {
		alice.Say(roomID, text)
	}
	bob.Sync()
	joined := bob.Join(roomID)
	a := bob.Sync(w.Limit(1))
	actortest.Same(t, "timeline", a.Timeline(roomID), joined)
	for _, tuple := range []string{"m.room.create|", "m.room.member|@alice:test", "m.room.name|"} {
		if !slices.Contains(a.State(roomID, "state"), tuple) {
			t.Errorf("no %s in %s", tuple, a.Raw)
		}
	}
	bob.Sync().Lacks("rooms")
}

// Whoever leaves and comes back between two syncs gets the room as if it were new: all of its state.
func TestLeavingAndComingBackBetweenSyncs(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	bob.Sync()
	bob.Leave(roomID)
	alice.SetState(roomID, "m.room.topic", "", J{"topic": "what bob missed"})
	rejoined := bob.Join(roomID)
	a := bob.Sync(w.Limit(1))
	actortest.Same(t, "timeline", a.Timeline(roomID), rejoined)
	for _, tuple := range []string{"m.room.create|", "m.room.topic|"} {
		if !slices.Contains(a.State(roomID, "state"), tuple) {
			t.Errorf("no %s in %s", tuple, a.Raw)
		}
	}
	a.Lacks("rooms.leave")
}

func TestARoomThatIsLeftIsShownOnceAndUpToTheLeave(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]func(alice, bob *actortest.Device, roomID string) string{
		"leave": func(_, bob *actortest.Device, roomID string) string { return bob.Leave(roomID) },
		"kick":  func(alice, bob *actortest.Device, roomID string) string { return alice.Kick(roomID, bob) },
		"ban":   func(alice, bob *actortest.Device, roomID string) string { return alice.Ban(roomID, bob) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := actortest.New(t)
			alice, bob := w.User("alice"), w.User("bob")
			roomID := alice.Create(J{"preset": "public_chat"})
			bob.Join(roomID)
			bob.Sync()
			heard := alice.Say(roomID, "heard")
			gone := out(alice, bob, roomID)
			alice.Say(roomID, "unheard")
			alice.SetState(roomID, "m.room.topic", "", J{"topic": "unseen"})
			for range 2 {
				a := bob.Look()
				actortest.Same(t, "timeline", a.Timeline(roomID), heard, gone)
				a.Lacks("rooms.join").Lacks(actortest.Path("rooms", "leave", roomID) + ".state.events.0")
				w.Passivate(bob.User)
			}
			bob.Sync()
			bob.Sync().Lacks("rooms")
			alice.Say(roomID, "more")
			bob.Sync().Lacks("rooms")
		})
	}
}

// A gap before the leave is limited, and what changed in it is in the state.
func TestAGapBeforeALeave(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	bob.Sync()
	topic := alice.SetState(roomID, "m.room.topic", "", J{"topic": "boats"})
	said := alice.Say(roomID, "1")
	gone := bob.Leave(roomID)
	a := bob.Sync(w.Limit(2))
	actortest.Same(t, "timeline", a.Timeline(roomID), said, gone)
	if !a.Room("leave", roomID, "timeline.limited").Bool() {
		t.Error("not limited")
	}
	actortest.Same(t, "state", actortest.Strings(a.Room("leave", roomID, "state.events.#.event_id")), topic)
	page, _ := bob.Page(roomID, a.Room("leave", roomID, "timeline.prev_batch").Str, 1, true)
	actortest.Same(t, "before", page, topic)
}

func TestIncludeLeave(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	left := alice.Create(J{"preset": "public_chat"})
	banned := alice.Create(J{"preset": "public_chat"})
	forgotten := alice.Create(J{"preset": "public_chat"})
	rejected := alice.Create(J{"invite": []string{bob.User}})
	for _, roomID := range []string{left, banned, forgotten} {
		bob.Join(roomID)
	}
	bob.SetData(left, "m.tag", J{"tags": J{"u.old": J{}}})
	bob.Leave(left)
	alice.Ban(banned, bob)
	bob.Leave(forgotten)
	bob.Forget(forgotten)
	bob.Leave(rejected)
	alice.Say(left, "unheard")
	bob.Look().Lacks("rooms")
	a := bob.Look(w.Filter(J{"room": J{"include_leave": true}}))
	for roomID, shown := range map[string]bool{left: true, banned: true, forgotten: false, rejected: false} {
		if got := a.Room("leave", roomID, "").Exists(); got != shown {
			t.Errorf("a left room is shown: %v, want %v, in %s", got, shown, a.Raw)
		}
	}
	if got := a.Room("leave", left, "account_data.events.0.type").Str; got != "m.tag" {
		t.Errorf("the tags of a left room: %q in %s", got, a.Raw)
	}
	if !slices.Contains(actortest.Strings(a.Room("leave", left, "state.events.#.type")), "m.room.create") &&
		!slices.Contains(actortest.Strings(a.Room("leave", left, "timeline.events.#.type")), "m.room.create") {
		t.Errorf("no create event in %s", a.Raw)
	}
}

// A device that was away must learn that the room is left, even if it has been forgotten since; and not more than that.
func TestALeaveIsToldThoughTheRoomIsForgotten(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	phone := bob.With("PHONE")
	phone.Sync()
	alice.Say(roomID, "heard by those who remember")
	gone := bob.Leave(roomID)
	bob.Forget(roomID)
	for range 2 {
		a := phone.Look()
		actortest.Same(t, "timeline", a.Timeline(roomID), gone)
		a.Lacks("rooms.join").Lacks(actortest.Path("rooms", "leave", roomID) + ".state")
		w.Passivate(bob.User)
	}
	phone.Sync()
	phone.Sync().Lacks("rooms")
	phone.Look(actortest.From("")).Lacks("rooms")
	phone.Look(actortest.From(""), w.Filter(J{"room": J{"include_leave": true}})).Lacks("rooms")
}

func TestAForgottenRoomCanBeJoinedAgain(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	bob.Leave(roomID)
	bob.Forget(roomID)
	bob.Sync()
	joined := bob.Join(roomID)
	a := bob.Sync(w.Limit(1))
	actortest.Same(t, "timeline", a.Timeline(roomID), joined)
	said := alice.Say(roomID, "welcome")
	actortest.Same(t, "timeline", bob.Sync().Timeline(roomID), said)
}

func TestInvites(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	bob.Sync()
	roomID := alice.Create(J{"name": "Harbour"})
	alice.Invite(roomID, bob)
	a := bob.Sync()
	types := actortest.Strings(a.Room("invite", roomID, "invite_state.events.#.type"))
	for _, typ := range []string{"m.room.create", "m.room.join_rules", "m.room.name", "m.room.member"} {
		if !slices.Contains(types, typ) {
			t.Errorf("no %s in the stripped state %q", typ, types)
		}
	}
	for _, e := range a.Room("invite", roomID, "invite_state.events").Array() {
		if !e.Get("sender").Exists() || !e.Get("state_key").Exists() || !e.Get("content").Exists() {
			t.Errorf("not stripped state: %s", e.Raw)
		}
	}
	a.Lacks("rooms.join")
	bob.Sync().Lacks("rooms")
	bob.Look(actortest.From("")).Lacks("rooms.join")
	alice.Say(roomID, "unheard by those who are not in")
	bob.Sync().Lacks("rooms")
	rejected := bob.Leave(roomID)
	a = bob.Sync()
	actortest.Same(t, "the end of the invite", a.Timeline(roomID), rejected)
	a.Lacks("rooms.invite").Lacks(actortest.Path("rooms", "leave", roomID) + ".state")
}

// A user who was in a room and is invited again sees the invite, not the room.
func TestAnInviteToARoomThatWasLeft(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	bob.Sync()
	bob.Leave(roomID)
	bob.Sync()
	alice.Invite(roomID, bob)
	a := bob.Sync()
	if !a.Room("invite", roomID, "").Exists() {
		t.Fatalf("no invite in %s", a.Raw)
	}
	a.Lacks("rooms.join").Lacks("rooms.leave")
	alice.Kick(roomID, bob)
	bob.Sync().Lacks("rooms.invite").Lacks("rooms.join")
}

func TestInvitesByIgnoredUsersAreHidden(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	bob.SetData("", "m.ignored_user_list", J{"ignored_users": J{alice.User: J{}}})
	bob.Sync()
	alice.Create(J{"invite": []string{bob.User}})
	bob.Sync().Lacks("rooms")
	bob.Look(actortest.From("")).Lacks("rooms")
}

func TestKnocks(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"name": "Harbour", "initial_state": []J{{"type": "m.room.join_rules", "content": J{"join_rule": "knock"}}}})
	bob.Sync()
	bob.Knock(roomID)
	a := bob.Sync()
	if !slices.Contains(actortest.Strings(a.Room("knock", roomID, "knock_state.events.#.type")), "m.room.name") {
		t.Errorf("no stripped state in %s", a.Raw)
	}
	a.Lacks("rooms.invite").Lacks("rooms.join")
	bob.Sync().Lacks("rooms")
	retracted := bob.Leave(roomID)
	actortest.Same(t, "the end of the knock", bob.Sync().Timeline(roomID), retracted)
	bob.Knock(roomID)
	alice.Invite(roomID, bob)
	a = bob.Sync()
	if !a.Room("invite", roomID, "").Exists() {
		t.Errorf("no invite in %s", a.Raw)
	}
	a.Lacks("rooms.knock")
	bob.Join(roomID)
	if a = bob.Sync(); !a.Room("join", roomID, "").Exists() {
		t.Errorf("no room in %s", a.Raw)
	}
}
