package syncer_test

import (
	"context"
	"testing"
	"time"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/messages"
)

const time1h = time.Hour

// poll is how long syncs wait here; what is due then is nothing else.
const poll = 30*time.Second + time.Millisecond

func TestASyncWaitsUntilItsTimeIsOut(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	alice.Create(J{})
	alice.Sync()
	answer := alice.Later(actortest.Wait(poll))
	w.Clock.Await(poll)
	since := alice.Since
	w.Clock.Advance(poll)
	a := answer()
	a.Lacks("rooms").Lacks("presence").Lacks("to_device").Lacks("device_lists").Lacks("account_data")
	a.Has("device_one_time_keys_count", `{"signed_curve25519":0}`).Has("device_unused_fallback_key_types", `[]`)
	if a.Text("next_batch") != since {
		t.Errorf("the token moved from %s to %s though nothing happened", since, a.Text("next_batch"))
	}
}

// Each of these ends a wait.
func TestWhatEndsAWait(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	said := alice.Say(roomID, "1")
	own := bob.Create(J{"preset": "public_chat"})
	alice.Join(own)
	for _, c := range []struct {
		what, path string
		do         func()
	}{
		{"a message", "rooms.join.@values.0.timeline.events.0", func() { bob.Say(roomID, "2") }},
		{"a receipt", "rooms.join.@values.0.ephemeral.events.0", func() { bob.Read(roomID, "m.read", said, "") }},
		{"typing", "rooms.join.@values.0.ephemeral.events.0", func() { bob.Room(roomID, &messages.SetTyping{By: bob.By(), Typing: true, TimeoutMs: 20000}) }},
		{"account data", "account_data.events.0", func() { alice.SetData("", "x", J{"a": 1}) }},
		{"a room's account data", "rooms.join.@values.0.account_data.events.0", func() { alice.SetData(roomID, "x", J{"a": 1}) }},
		{"a message to the device", "to_device.events.0", func() { send(bob, J{alice.User: J{alice.ID: J{}}}) }},
		{"new keys of another", "device_lists.changed.0", func() { uploadDevice(bob, "1") }},
		{"presence", "presence.events.0", func() {
			actortest.Must[*messages.Done](bob, &messages.SetPresence{State: "unavailable", StatusMsg: new("asleep")})
		}},
		{"an invite", "rooms.invite.@values.0", func() { bob.Create(J{"invite": []string{alice.User}}) }},
		{"being thrown out", "rooms.leave.@values.0", func() { bob.Kick(own, alice) }},
	} {
		alice.Sync()
		answer := alice.Later(actortest.Wait(poll))
		w.Clock.Await(poll)
		c.do()
		if a := answer(); !a.At(c.path).Exists() {
			t.Errorf("%s: %s", c.what, a.Raw)
		}
	}
}

// What is not for the device, or is left out by its filter, does not end the wait.
func TestWhatDoesNotEndAWait(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	phone := alice.With("PHONE")
	alice.Sync()
	f := w.Filter(J{"room": J{"timeline": J{"not_types": []string{"m.room.message"}}, "ephemeral": J{"types": []string{}}, "account_data": J{"not_types": []string{"x"}}},
		"presence": J{"not_senders": []string{bob.User}}, "account_data": J{"types": []string{"m.direct"}}})
	answer := alice.Later(actortest.Wait(poll), f)
	w.Clock.Await(poll)
	bob.Read(roomID, "m.read", bob.Say(roomID, "1"), "")
	alice.SetData("", "x", J{"a": 1})
	alice.SetData(roomID, "x", J{"a": 1})
	send(bob, J{alice.User: J{phone.ID: J{}}})
	actortest.Must[*messages.Done](bob, &messages.SetPresence{State: "unavailable"})
	bob.Create(J{"preset": "public_chat"})
	w.Clock.Await(poll) // asked anew each time
	w.Clock.Advance(poll)
	answer().Lacks("rooms").Lacks("presence").Lacks("to_device").Lacks("account_data")
	// Nor is any of it told later.
	alice.Sync(f).Lacks("rooms").Lacks("presence").Lacks("to_device").Lacks("account_data")
}

func TestASyncWithoutTimeoutNeverWaits(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	alice.Sync()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Nothing is waited for, so a context that has ended is only met on the way to the actor.
	if _, err := alice.Try(ctx); err == nil {
		t.Error("answered though nobody waits any more")
	}
	alice.Sync()
	alice.Sync(actortest.Wait(-time.Second))
	// An initial sync answers at once, whatever its timeout.
	alice.Look(actortest.From(""), actortest.Wait(time1h))
}

// A device that logs out does not go on waiting.
func TestLoggingOutEndsAWait(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice := w.User("alice")
	phone := alice.With("PHONE")
	phone.Sync()
	failed := make(chan error, 1)
	go func() {
		_, err := phone.Try(context.Background(), actortest.Wait(poll))
		failed <- err
	}()
	w.Clock.Await(poll)
	actortest.Must[*messages.Done](alice, &messages.RemoveDevices{DeviceIds: []string{phone.ID}})
	if err := <-failed; actortest.Code(err) != "M_UNKNOWN_TOKEN" {
		t.Errorf("a sync of a device that was logged out: %v", err)
	}
}

func TestTypingIsToldAndTakenBack(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	alice.Sync()
	typing := func(on bool) { bob.Room(roomID, &messages.SetTyping{By: bob.By(), Typing: on, TimeoutMs: 30000}) }
	ids := func(a *actortest.Answer) string {
		return a.Room("join", roomID, `ephemeral.events.#(type=="m.typing").content.user_ids`).Raw
	}
	wants := func(what, want string, with ...actortest.With) {
		t.Helper()
		if a := alice.Sync(with...); ids(a) != want {
			t.Errorf("%s: %q, want %q in %s", what, ids(a), want, a.Raw)
		}
	}
	typing(true)
	wants("bob types", `["@bob:test"]`)
	wants("nothing new", "")
	typing(false)
	wants("bob stopped", `[]`)
	typing(true)
	typing(false)
	wants("on and off between syncs", `[]`)
	typing(true)
	alice.Sync()
	answer := alice.Later(actortest.Wait(4 * time.Minute))
	w.Clock.Await(4 * time.Minute)
	w.Clock.Advance(31 * time.Second)
	if a := answer(); ids(a) != `[]` {
		t.Errorf("his time was out: %s", a.Raw)
	}
	typing(true)
	alice.SetData("", "m.ignored_user_list", J{"ignored_users": J{bob.User: J{}}})
	wants("ignored", `[]`)
}
