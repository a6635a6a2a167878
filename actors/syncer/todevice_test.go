package syncer_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// got are the numbers in the messages to the device.
func got(a *actortest.Answer) []string {
	return actortest.Strings(a.At("to_device.events.#.content.n"))
}

// inbox are the numbers in the messages that are kept for a device.
func inbox(w *actortest.World, d *actortest.Device) []string {
	w.T.Helper()
	rows, err := schema.ToDevices.All(context.Background(), w.Store, persistence.Range[schema.ToDevice]{
		Prefix: schema.ToDevice{UserID: d.User, DeviceID: d.ID}, Keys: 2})
	if err != nil {
		w.T.Fatal(err)
	}
	var n []string
	for _, row := range rows {
		n = append(n, gjson.GetBytes(row.Content, "n").Raw)
	}
	return n
}

// flush waits for what the user's actor has begun, such as deleting messages.
func flush(d *actortest.Device) {
	d.World.T.Helper()
	actortest.Must[*messages.Done](d, &messages.DevicesSeen{})
}

func number(n int) J { return J{"n": n} }

func numbers(from, to int) []string {
	all := []string{}
	for n := from; n < to; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return all
}

// A message is given until a token acknowledges it, also by an activation that never saw it come, and then no more.
func TestMessagesToDevicesAreKeptUntilAcknowledged(t *testing.T) {
	t.Parallel()
	w := actortest.OnDisk(t, t.TempDir())
	alice, bob := w.User("alice"), w.User("bob")
	phone := alice.With("PHONE")
	alice.Sync()
	send(bob, J{alice.User: J{alice.ID: number(1), phone.ID: number(2)}})
	for range 2 {
		a := alice.Look()
		a.Has("to_device.events", `[{"content":{"n":1},"sender":"@bob:test","type":"m.test"}]`)
		flush(alice)
		actortest.Same(t, "kept", inbox(w, alice), "1")
		w.Restart()
	}
	alice.Sync()
	actortest.Same(t, "kept, for nothing says that the answer came", inbox(w, alice), "1")
	alice.Sync().Lacks("to_device")
	flush(alice)
	actortest.Same(t, "acknowledged", inbox(w, alice))
	actortest.Same(t, "of the other device", got(phone.Sync()), "2")
	alice.Look(actortest.From("")).Lacks("to_device")
}

// An old token does not bring back what a newer one acknowledged, nor lose what came after it.
func TestAnOlderTokenAfterAnAcknowledgement(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	alice.Sync()
	old := alice.Since
	send(bob, J{alice.User: J{"*": number(1)}})
	alice.Sync()
	alice.Sync()
	flush(alice)
	send(bob, J{alice.User: J{"*": number(2)}})
	actortest.Same(t, "from the older token", got(alice.Look(actortest.From(old))), "2")
	actortest.Same(t, "from the newer token", got(alice.Look()), "2")
}

func TestAnAnswerHoldsAHundredMessages(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	alice.Sync()
	for n := range 250 {
		send(bob, J{alice.User: J{alice.ID: number(n)}})
	}
	actortest.Same(t, "first", got(alice.Sync(actortest.Wait(time1h))), numbers(0, 100)...)
	w.Passivate(alice.User)
	actortest.Same(t, "second", got(alice.Sync(actortest.Wait(time1h))), numbers(100, 200)...)
	actortest.Same(t, "third", got(alice.Sync(actortest.Wait(time1h))), numbers(200, 250)...)
	alice.Sync().Lacks("to_device")
	flush(alice)
	actortest.Same(t, "kept", inbox(w, alice))
}

// One request of a hundred devices fills each inbox with one message, and * is every device that there is now.
func TestEveryDevice(t *testing.T) {
	t.Parallel()
	w := actortest.New(t)
	alice, bob := w.User("alice"), w.User("bob")
	devices := []*actortest.Device{alice}
	for i := range 20 {
		devices = append(devices, alice.With("D"+strconv.Itoa(i)))
	}
	send(bob, J{alice.User: J{"*": number(1), devices[3].ID: number(2)}, "@nobody:test": J{"*": J{}}, "@far:away": J{"*": J{}}})
	later := alice.With("LATER")
	for i, d := range devices {
		want := "1"
		if i == 3 {
			want = "2"
		}
		actortest.Same(t, d.ID, got(d.Sync()), want)
	}
	later.Sync().Lacks("to_device")
}

func TestARepeatedTransactionDeliversOnce(t *testing.T) {
	t.Parallel()
	w := actortest.OnDisk(t, t.TempDir())
	alice, bob := w.User("alice"), w.User("bob")
	phone := bob.With("PHONE")
	m := &messages.SendToDevice{By: bob.By(), Type: "m.test", TxnId: "1", Messages: w.JSON(J{alice.User: J{alice.ID: number(1)}})}
	for range 2 {
		actortest.Must[*messages.Done](bob, m)
		w.Restart()
	}
	actortest.Must[*messages.Done](bob, &messages.SendToDevice{By: bob.By(), Type: "m.other", TxnId: "1", Messages: m.Messages})
	actortest.Must[*messages.Done](bob, &messages.SendToDevice{By: phone.By(), Type: "m.test", TxnId: "1", Messages: m.Messages})
	actortest.Same(t, "delivered: the first, that of another type, that of another device", got(alice.Sync()), "1", "1", "1")
}

// Whoever sends, syncs, loses answers and restarts: each device gets every message once, in order.
func TestNoMessageToADeviceIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := actortest.New(t)
		alice, bob := w.User("alice"), w.User("bob")
		devices := []*actortest.Device{alice, alice.With("PHONE"), alice.With("TABLET")}
		sent, had := make([][]string, 3), make([][]string, 3)
		n := 0
		which := rapid.IntRange(0, 2)
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				to := J{}
				for range rapid.IntRange(1, 2).Draw(t, "devices") {
					i := which.Draw(t, "device")
					if _, twice := to[devices[i].ID]; !twice {
						to[devices[i].ID] = number(n)
						sent[i] = append(sent[i], strconv.Itoa(n))
					}
				}
				send(bob, J{alice.User: to})
				n++
			},
			"flood": func(t *rapid.T) {
				i := which.Draw(t, "device")
				for range rapid.SampledFrom([]int{99, 100, 101}).Draw(t, "messages") {
					send(bob, J{alice.User: J{devices[i].ID: number(n)}})
					sent[i] = append(sent[i], strconv.Itoa(n))
					n++
				}
			},
			"sync": func(t *rapid.T) {
				i := which.Draw(t, "device")
				had[i] = append(had[i], got(devices[i].Sync())...)
			},
			"lose": func(t *rapid.T) { devices[which.Draw(t, "device")].Look() },
			"end":  func(*rapid.T) { w.Passivate(alice.User) },
		})
		for i, d := range devices {
			for range len(sent[i])/100 + 2 {
				had[i] = append(had[i], got(d.Sync())...)
			}
			actortest.Same(t, d.ID, had[i], sent[i]...)
			flush(d)
			actortest.Same(t, "kept for "+d.ID, inbox(w, d))
		}
	})
}
