package syncer_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/token"
)

// J is a JSON object.
type J = actortest.J

func TestAnInitialSyncShowsTheEndOfEachRoom(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	roomID := alice.Create(J{"preset": "public_chat", "name": "Harbour"})
	var said []string
	for i := range 15 {
		said = append(said, alice.Say(roomID, strconv.Itoa(i)))
	}
	a := alice.Sync()
	actortest.Same(t, "timeline", a.Timeline(roomID), said[5:]...)
	if !a.Room("join", roomID, "timeline.limited").Bool() {
		t.Error("not limited")
	}
	want := []string{"m.room.create|", "m.room.guest_access|", "m.room.history_visibility|", "m.room.join_rules|", "m.room.member|@alice:test",
		"m.room.name|", "m.room.power_levels|"}
	actortest.Same(t, "state", a.State(roomID, "state"), want...)
	for _, e := range a.Room("join", roomID, "timeline.events").Array() {
		if e.Get("room_id").Exists() {
			t.Errorf("an event in a sync names its room: %s", e.Raw)
		}
	}
}

// What prev_batch leads to begins with the event before the timeline's first, and does not end before the room does.
func TestPagingBackFromPrevBatchJoinsExactly(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	roomID := alice.Create(J{"preset": "public_chat"})
	for i := range 12 {
		alice.Say(roomID, strconv.Itoa(i))
	}
	var journal []string
	for _, row := range w.Journal(roomID) {
		journal = append(journal, row.EventID)
	}
	for limit := 1; limit <= len(journal)+1; limit++ {
		a := alice.Look(w.Limit(limit))
		whole := a.Timeline(roomID)
		if limited := a.Room("join", roomID, "timeline.limited").Bool(); limited != (limit < len(journal)) {
			t.Errorf("limit %d of %d: limited is %v", limit, len(journal), limited)
		}
		for from := a.Room("join", roomID, "timeline.prev_batch").Str; from != ""; {
			var page []string
			page, from = alice.Page(roomID, from, 4, true)
			slices.Reverse(page)
			whole = append(page, whole...)
		}
		actortest.Same(t, "everything", whole, journal...)
	}
}

func TestAGapIsLimitedAndBeginsAfterIt(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	roomID := alice.Create(J{})
	alice.Sync()
	var said []string
	for i := range 5 {
		said = append(said, alice.Say(roomID, strconv.Itoa(i)))
	}
	for limit := 1; limit <= 6; limit++ {
		a := alice.Look(w.Limit(limit))
		actortest.Same(t, "timeline", a.Timeline(roomID), said[max(5-limit, 0):]...)
		if limited := a.Room("join", roomID, "timeline.limited").Bool(); limited != (limit < 5) {
			t.Errorf("limit %d: limited is %v", limit, limited)
		}
		page, _ := alice.Page(roomID, a.Room("join", roomID, "timeline.prev_batch").Str, 10, true)
		slices.Reverse(page)
		missed := page[len(page)-max(5-limit, 0):]
		actortest.Same(t, "what the gap hides", missed, said[:max(5-limit, 0)]...)
	}
}

// Events that the user never sees make no gap: nothing is missed by leaving them out.
func TestHiddenEventsMakeNoGap(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	alice.SetData("", "m.ignored_user_list", J{"ignored_users": J{bob.User: J{}}})
	alice.Sync()
	bob.Say(roomID, "unheard")
	said := []string{alice.Say(roomID, "1"), alice.Say(roomID, "2")}
	a := alice.Sync(w.Limit(2))
	actortest.Same(t, "timeline", a.Timeline(roomID), said...)
	if a.Room("join", roomID, "timeline.limited").Bool() {
		t.Error("limited, but what is left out is what nobody sees")
	}
}

func TestTheSameTokenGivesTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	alice.Sync()
	bob.Say(roomID, "hello")
	bob.Read(roomID, "m.read", bob.Say(roomID, "again"), "")
	alice.SetState(roomID, "m.room.topic", "", J{"topic": "boats"})
	first := alice.Look()
	if again := alice.Look(); again.Raw != first.Raw {
		t.Fatalf("%s\nthen %s", first.Raw, again.Raw)
	}
	// A new activation knows less, but says the same.
	w.Passivate(alice.User)
	again := alice.Look()
	for _, path := range []string{"rooms", "to_device", "account_data", "device_lists", "presence"} {
		if a, b := first.At(path).Raw, again.At(path).Raw; a != b {
			t.Errorf("%s: %s\nanew %s", path, a, b)
		}
	}
	alice.Since = again.Text("next_batch")
	alice.Sync().Lacks("rooms")
}

func TestTokensThatWereNotGivenOutAreRefused(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	alice.Create(J{})
	alice.Sync()
	for _, since := range []string{"x", "m1_1_2", "t1_4", token.Sync{Pos: 1 << 62}.String(), token.Sync{Pos: 1<<64 - 1}.String()} {
		if _, err := alice.Try(t.Context(), actortest.From(since)); actortest.Code(err) != "M_INVALID_PARAM" {
			t.Errorf("%s: %v", since, err)
		}
	}
	// Positions that a client invents in a token's other parts cost only the client something.
	for _, since := range []token.Sync{{Pos: 1, ToDevice: 1<<64 - 1}, {Pos: 1, Epoch: 1<<64 - 1, Ephemeral: 1<<64 - 1}} {
		if _, err := alice.Try(t.Context(), actortest.From(since.String())); err != nil {
			t.Errorf("%+v: %v", since, err)
		}
	}
}
