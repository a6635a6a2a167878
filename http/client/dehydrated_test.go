package client_test

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

const dehydratedDevice = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

// dehydrate makes the user's dehydrated device, with one one-time key.
func dehydrate(u *clienttest.User, device, key string) {
	id := clienttest.User{ID: u.ID, Device: device}
	keys := deviceKeys(&id, key)
	keys["dehydrated"] = true
	u.Put(dehydratedDevice, J{
		"device_id": device, "device_data": J{"algorithm": "org.matrix.msc3814.v2", "device_pickle": "p" + key, "nonce": "n"},
		"initial_device_display_name": "asleep", "device_keys": keys,
		"one_time_keys": J{"signed_curve25519:one": J{"key": key}}, "fallback_keys": J{"signed_curve25519:last": J{"key": "f" + key, "fallback": true}},
	}).OK().Has("device_id", strconv.Quote(device))
}

func TestDehydratedDevice(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	before := since(bob, "").Text("next_batch")

	alice.Get(dehydratedDevice).Refused(404, "M_NOT_FOUND")
	alice.Delete(dehydratedDevice).Refused(404, "M_NOT_FOUND")
	dehydrate(alice, "ASLEEP", "k1")
	alice.Get(dehydratedDevice).OK().Has("device_id", `"ASLEEP"`).Has("device_data.device_pickle", `"pk1"`).Has("device_data.algorithm", `"org.matrix.msc3814.v2"`)
	bob.Get(dehydratedDevice).Refused(404, "M_NOT_FOUND")
	alice.Get("/devices/ASLEEP").OK().Has("display_name", `"asleep"`)

	// To others it is a device like any, that says of itself what it is.
	if changed := since(bob, before).At("device_lists.changed.0").Str; changed != alice.ID {
		t.Errorf("bob hears of %q", changed)
	}
	query := bob.Post("/keys/query", J{"device_keys": J{alice.ID: []string{}}}).OK()
	query.Has("device_keys."+gjson.Escape(alice.ID)+".ASLEEP.dehydrated", "true").Has("device_keys."+gjson.Escape(alice.ID)+".ASLEEP.unsigned.device_display_name", `"asleep"`)
	claim := func() *clienttest.Answer {
		return bob.Post("/keys/claim", J{"one_time_keys": J{alice.ID: J{"ASLEEP": "signed_curve25519"}}}).OK()
	}
	claim().Has("one_time_keys."+gjson.Escape(alice.ID)+".ASLEEP.signed_curve25519:one.key", `"k1"`)
	claim().Has("one_time_keys."+gjson.Escape(alice.ID)+".ASLEEP.signed_curve25519:last.key", `"fk1"`)

	// A new one takes its place, whether or not it is called the same.
	for i, device := range []string{"ASLEEP", "DROWSY"} {
		key := "new" + strconv.Itoa(i)
		bob.Put("/sendToDevice/m.x/lost"+strconv.Itoa(i), J{"messages": J{alice.ID: J{"ASLEEP": J{}}}}).OK()
		dehydrate(alice, device, key)
		alice.Get(dehydratedDevice).OK().Has("device_data.device_pickle", strconv.Quote("p"+key))
		alice.Get(dehydratedDevice+"/"+device+"/events").OK().Has("events", "[]").Lacks("next_batch")
		bob.Post("/keys/claim", J{"one_time_keys": J{alice.ID: J{device: "signed_curve25519"}}}).OK().
			Has("one_time_keys."+gjson.Escape(alice.ID)+"."+device+".signed_curve25519:one.key", strconv.Quote(key))
	}
	alice.Get("/devices").OK().Has("devices.#", "2")
	alice.Get("/devices/ASLEEP").Refused(404, "M_NOT_FOUND")
	alice.Get(dehydratedDevice+"/ASLEEP/events").Refused(403, "M_FORBIDDEN")

	alice.Delete(dehydratedDevice).OK().Has("device_id", `"DROWSY"`)
	alice.Get(dehydratedDevice).Refused(404, "M_NOT_FOUND")
	alice.Get("/devices").OK().Has("devices.#", "1")
	alice.Get(dehydratedDevice+"/DROWSY/events").Refused(403, "M_FORBIDDEN")
	bob.Post("/keys/query", J{"device_keys": J{alice.ID: []string{}}}).OK().Lacks("device_keys." + gjson.Escape(alice.ID) + ".DROWSY")
}

// Messages wait for whoever wakes the device, are read in portions, and stay until the device goes.
func TestMessagesToDehydratedDevice(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	dehydrate(alice, "ASLEEP", "k")
	const many = 205
	for n := range many {
		bob.Put("/sendToDevice/org.example.n/"+strconv.Itoa(n), J{"messages": J{alice.ID: J{"*": J{"n": n}}}}).OK()
	}
	events := dehydratedDevice + "/ASLEEP/events"
	for range 2 { // the first did not come to an end, for all the server knows
		from, n := "", 0
		for {
			page := alice.Get(events + from).OK()
			for _, e := range page.At("events").Array() {
				if e.Get("content.n").Int() != int64(n) || e.Get("sender").Str != bob.ID || e.Get("type").Str != "org.example.n" {
					t.Fatalf("message %d is %s", n, e.Raw)
				}
				n++
			}
			if !page.At("next_batch").Exists() {
				break
			}
			from = "?from=" + url.QueryEscape(page.Text("next_batch"))
		}
		if n != many {
			t.Fatalf("%d messages", n)
		}
	}
	// Clients of an earlier version of the proposal go on until there are none.
	body, n := J{}, 0
	for {
		page := alice.Post(events, body).OK()
		if page.At("events.#").Int() == 0 {
			break
		}
		n += int(page.At("events.#").Int())
		body = J{"next_batch": page.Text("next_batch")}
	}
	if n != many {
		t.Errorf("%d messages", n)
	}
	alice.Get(events+"?from=x").Refused(400, "M_INVALID_PARAM")
	alice.Post(events, J{"next_batch": "x"}).Refused(400, "M_INVALID_PARAM")
	bob.Get(events).Refused(403, "M_FORBIDDEN")
}

func TestDehydratedDeviceIsRefused(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	good := func() J {
		return J{"device_id": "X", "device_data": J{"algorithm": "a"}, "device_keys": deviceKeys(&clienttest.User{ID: alice.ID, Device: "X"}, "k")}
	}
	for name, c := range map[string]struct {
		change func(J)
		status int
		code   string
	}{
		"no id":            {func(b J) { delete(b, "device_id") }, 400, "M_MISSING_PARAM"},
		"no data":          {func(b J) { delete(b, "device_data") }, 400, "M_MISSING_PARAM"},
		"no keys":          {func(b J) { delete(b, "device_keys") }, 400, "M_MISSING_PARAM"},
		"no algorithm":     {func(b J) { b["device_data"] = J{} }, 400, "M_BAD_JSON"},
		"keys of another":  {func(b J) { b["device_keys"] = deviceKeys(alice, "k") }, 400, "M_INVALID_PARAM"},
		"a device in use":  {func(b J) { b["device_id"], b["device_keys"] = alice.Device, deviceKeys(alice, "k") }, 403, "M_FORBIDDEN"},
		"bad one-time key": {func(b J) { b["one_time_keys"] = J{"x": J{}} }, 400, "M_INVALID_PARAM"},
	} {
		body := good()
		c.change(body)
		if a := alice.Put(dehydratedDevice, body); a.Status != c.status || a.At("errcode").Str != c.code {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
	alice.Get(dehydratedDevice).Refused(404, "M_NOT_FOUND")
	alice.Put(dehydratedDevice, good()).OK()
	w.Nobody().Get(dehydratedDevice).Refused(401, "M_MISSING_TOKEN")
}
