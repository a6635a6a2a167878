package syncer_test

import (
	"context"
	"testing"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/messages"
)

// lists checks the device lists of an answer.
func lists(t actortest.TB, what string, a *actortest.Answer, changed, left []string) {
	t.Helper()
	actortest.Same(t, what+": changed", actortest.Strings(a.At("device_lists.changed")), changed...)
	actortest.Same(t, what+": left", actortest.Strings(a.At("device_lists.left")), left...)
}

func TestDeviceLists(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob, carol, dave := w.User("alice"), w.User("bob"), w.User("carol"), w.User("dave")
	one := alice.Create(J{"preset": "public_chat"})
	two := alice.Create(J{"preset": "public_chat"})
	none := []string{}
	alice.Sync().Lacks("device_lists")

	bob.Join(one)
	lists(t, "bob came", alice.Sync(), []string{bob.User}, none)
	bob.Join(two)
	lists(t, "bob came to another room", alice.Sync(), []string{bob.User}, none)
	uploadDevice(bob, "1")
	lists(t, "bob's keys", alice.Sync(), []string{bob.User}, none)
	uploadDevice(bob, "1")
	lists(t, "the same keys", alice.Sync(), none, none)
	uploadDevice(carol, "1")
	lists(t, "a stranger's keys", alice.Sync(), none, none)
	uploadDevice(alice, "1")
	lists(t, "her own keys", alice.Sync(), []string{alice.User}, none)
	bob.Leave(one)
	lists(t, "still another room", alice.Sync(), none, none)
	bob.Leave(two)
	lists(t, "no room any more", alice.Sync(), none, []string{bob.User})
	uploadDevice(bob, "2")
	lists(t, "keys of somebody who left", alice.Sync(), none, none)
	bob.Join(one)
	bob.Leave(one)
	lists(t, "came and went", alice.Sync(), none, []string{bob.User})
	alice.Invite(one, dave)
	lists(t, "an invite shares nothing yet", alice.Sync(), none, none)
	bob.Join(one)
	bob.SetState(one, "m.room.member", bob.User, J{"membership": "join", "displayname": "Bobby"})
	alice.Sync()
	bob.SetState(one, "m.room.member", bob.User, J{"membership": "join", "displayname": "Bob"})
	lists(t, "a name", alice.Sync(), none, none)
}

// Whoever leaves a room no longer shares it with anybody who was in it; whoever comes shares it with all.
func TestDeviceListsOfWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob, carol, dave := w.User("alice"), w.User("bob"), w.User("carol"), w.User("dave")
	roomID := bob.Create(J{"preset": "public_chat"})
	carol.Join(roomID)
	dave.Join(roomID)
	dave.Leave(roomID)
	other := bob.Create(J{"preset": "public_chat"})
	alice.Join(other)
	alice.Sync()
	none := []string{}
	alice.Join(roomID)
	lists(t, "joined, and shares already with bob", alice.Sync(), []string{alice.User, bob.User, carol.User}, none)
}

// Who was in the room that the user left is no longer shared with, even if they left it afterwards as well.
func TestDeviceListsAfterALeaveOfBoth(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob, carol := w.User("alice"), w.User("bob"), w.User("carol")
	roomID := bob.Create(J{"preset": "public_chat"})
	for _, d := range []*actortest.Device{alice, carol} {
		d.Join(roomID)
	}
	alice.Sync()
	none := []string{}
	carol.Leave(roomID)
	alice.Leave(roomID)
	bob.Leave(roomID)
	lists(t, "all left", alice.Sync(), none, []string{bob.User, carol.User})

	// And who left while the user was away for a moment.
	again := bob.Create(J{"preset": "public_chat"})
	alice.Join(again)
	carol.Join(again)
	alice.Sync()
	alice.Leave(again)
	carol.Leave(again)
	alice.Join(again)
	lists(t, "carol left meanwhile", alice.Sync(), []string{bob.User}, []string{carol.User})
}

func TestDeviceListChangesOutliveTheActivation(t *testing.T) {
	t.Parallel()
	w := actortest.OnDisk(t, t.TempDir())
	alice, bob := w.User("alice"), w.User("bob")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	alice.Sync()
	uploadDevice(bob, "1")
	w.Restart()
	none := []string{}
	for range 2 {
		lists(t, "after a restart", alice.Look(), []string{bob.User}, none)
	}
	alice.Sync()
	lists(t, "acknowledged", alice.Sync(), none, none)
}

// Removing a device and cross-signing are changes of the list too.
func TestWhatElseChangesADeviceList(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	phone := bob.With("PHONE")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	uploadDevice(bob, "1")
	uploadDevice(phone, "1")
	alice.Sync()
	changed, none := []string{bob.User}, []string{}
	actortest.Must[*messages.DeviceUpdated](bob, &messages.UpdateDevice{DeviceId: bob.ID, DisplayName: new("Desk")})
	lists(t, "a device's name", alice.Sync(), changed, none)
	actortest.Must[*messages.Done](bob, &messages.RemoveDevices{DeviceIds: []string{phone.ID}})
	lists(t, "a device gone", alice.Sync(), changed, none)
	silent := bob.With("SILENT")
	actortest.Must[*messages.Done](bob, &messages.RemoveDevices{DeviceIds: []string{silent.ID}})
	lists(t, "a device without keys gone", alice.Sync(), none, none)
}

// GET /keys/changes says for two tokens what the syncs between them said.
func TestKeyChanges(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob, carol, dave := w.User("alice"), w.User("bob"), w.User("carol"), w.User("dave")
	roomID := alice.Create(J{"preset": "public_chat"})
	bob.Join(roomID)
	carol.Join(roomID)
	alice.Sync()
	from := alice.Since
	uploadDevice(bob, "1")
	carol.Leave(roomID)
	alice.Sync()
	to := alice.Since
	dave.Join(roomID)
	uploadDevice(dave, "1")
	alice.Sync()
	for _, c := range []struct {
		from, to      string
		changed, left []string
	}{
		{from, to, []string{bob.User}, []string{carol.User}},
		{from, from, []string{}, []string{}},
		{to, alice.Since, []string{dave.User}, []string{}},
		{from, alice.Since, []string{bob.User, dave.User}, []string{carol.User}},
	} {
		got, err := w.Syncer.KeyChanges(context.Background(), alice.User, c.from, c.to)
		if err != nil {
			t.Fatal(err)
		}
		actortest.Same(t, c.from+" to "+c.to+": changed", got.Changed, c.changed...)
		actortest.Same(t, c.from+" to "+c.to+": left", got.Left, c.left...)
	}
	for _, bad := range [][2]string{{"", to}, {from, ""}, {"x", to}} {
		if _, err := w.Syncer.KeyChanges(context.Background(), alice.User, bad[0], bad[1]); actortest.Code(err) != "M_INVALID_PARAM" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
