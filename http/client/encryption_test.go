package client_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// since syncs at once, from a token.
func since(u *clienttest.User, token string) *clienttest.Answer {
	q := url.Values{"filter": {`{"room":{"timeline":{"limit":1}}}`}}
	if token != "" {
		q.Set("since", token)
	}
	return u.Get("/sync?" + q.Encode()).OK()
}

// Messages to a device come in portions, in their order, again until they are acknowledged, and then never again.
func TestMessagesToDevices(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	second := bob.With("SECOND")
	first := since(bob, "").Text("next_batch")
	const many = 250
	for n := range many {
		alice.Put("/sendToDevice/org.example.n/"+strconv.Itoa(n), J{"messages": J{bob.ID: J{bob.Device: J{"n": n}}}}).OK()
	}
	alice.Put("/sendToDevice/org.example.n/0", J{"messages": J{bob.ID: J{bob.Device: J{"n": -1}}}}).OK() // a repeated transaction
	alice.Put("/sendToDevice/org.example.all/x", J{"messages": J{bob.ID: J{"*": J{"for": "all"}}}}).OK()

	var got []int64
	token := first
	for {
		answer := since(bob, token)
		again := since(bob, token)
		if a, b := answer.At("to_device.events").Raw, again.At("to_device.events").Raw; a != b {
			t.Fatalf("the same token gives %s and then %s", a, b)
		}
		events := answer.At("to_device.events").Array()
		if len(events) == 0 {
			break
		}
		if len(events) > 100 {
			t.Errorf("%d messages come at once", len(events))
		}
		for _, e := range events {
			if e.Get("sender").Str != alice.ID {
				t.Errorf("a message from %s", e.Get("sender").Str)
			}
			if e.Get("type").Str == "org.example.n" {
				got = append(got, e.Get("content.n").Int())
			}
		}
		token = answer.Text("next_batch")
	}
	if len(got) != many || !slices.IsSorted(got) || got[0] != 0 {
		t.Errorf("%d messages came, sorted: %v", len(got), slices.IsSorted(got))
	}
	if left := since(bob, first).At("to_device.events").Array(); len(left) > 0 {
		t.Errorf("%d messages that were acknowledged come again", len(left))
	}
	all := since(second, "").At("to_device.events").Array()
	if len(all) != 1 || all[0].Get("content.for").Str != "all" {
		t.Errorf("the other device gets %v", all)
	}
	alice.Put("/sendToDevice/m.x/y", J{"messages": J{bob.ID: J{bob.Device: "text"}}}).Refused(http.StatusBadRequest, "M_BAD_JSON")
	alice.Put("/sendToDevice/m.x/z", J{"messages": J{"@nobody:" + clienttest.ServerName: J{"X": J{}}}}).OK()
}

// oneTimeKeys are some of these, as a device uploads them.
func oneTimeKeys(from, n int) J {
	keys := J{}
	for i := from; i < from+n; i++ {
		keys["signed_curve25519:K"+strconv.Itoa(i)] = J{"key": fmt.Sprintf("k%d", i), "signatures": J{}}
	}
	return keys
}

// Each one-time key is given away once, however many ask at once; after the last comes the fallback key, which is told as used.
func TestKeysAreClaimedOnce(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	const keys, askers = 20, 30
	counts := bob.Post("/keys/upload", J{"one_time_keys": oneTimeKeys(0, keys), "fallback_keys": J{"signed_curve25519:F": J{"key": "f", "fallback": true, "signatures": J{}}}}).OK()
	if n := counts.At("one_time_key_counts.signed_curve25519").Int(); n != keys {
		t.Errorf("%d keys are counted", n)
	}
	bob.Post("/keys/upload", J{"one_time_keys": oneTimeKeys(0, keys)}).OK() // the same again
	bob.Post("/keys/upload", J{"one_time_keys": J{"signed_curve25519:K0": J{"key": "another", "signatures": J{}}}}).Refused(http.StatusBadRequest, "M_INVALID_PARAM")
	before := since(bob, "")
	if got := before.At("device_unused_fallback_key_types").Raw; got != `["signed_curve25519"]` {
		t.Errorf("the unused fallback keys are %s", got)
	}
	var mu sync.Mutex
	given := map[string]int{}
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			answer := alice.Post("/keys/claim", J{"one_time_keys": J{bob.ID: J{bob.Device: "signed_curve25519"}}}).OK()
			mu.Lock()
			defer mu.Unlock()
			for id := range answer.At("one_time_keys").Get(gjsonKey(bob.ID)).Get(gjsonKey(bob.Device)).Map() {
				given[id]++
			}
		})
	}
	all.Wait()
	for id, times := range given {
		if id != "signed_curve25519:F" && times != 1 {
			t.Errorf("%s was given away %d times", id, times)
		}
	}
	if len(given) != keys+1 || given["signed_curve25519:F"] != askers-keys {
		t.Errorf("%d keys were given away, the fallback key %d times", len(given), given["signed_curve25519:F"])
	}
	after := since(bob, before.Text("next_batch"))
	if n := after.At("device_one_time_keys_count.signed_curve25519"); n.Int() != 0 || !n.Exists() {
		t.Errorf("the count afterwards is %s", n.Raw)
	}
	if got := after.At("device_unused_fallback_key_types").Raw; got != `[]` {
		t.Errorf("the unused fallback keys afterwards are %s", got)
	}
	bob.Post("/keys/upload", J{"fallback_keys": J{"signed_curve25519:G": J{"key": "g", "fallback": true, "signatures": J{}}}}).OK()
	if got := since(bob, after.Text("next_batch")).At("device_unused_fallback_key_types").Raw; got != `["signed_curve25519"]` {
		t.Errorf("a new fallback key gives %s", got)
	}
}

func gjsonKey(s string) string {
	var out []byte
	for _, c := range []byte(s) {
		if c == '.' || c == '*' || c == '?' || c == '@' || c == '|' || c == '#' || c == '!' || c == '{' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}

// deviceKeys are the identity of a device, good enough for a server that does not check signatures.
func deviceKeys(u *clienttest.User, key string) J {
	return J{"user_id": u.ID, "device_id": u.Device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
		"keys": J{"curve25519:" + u.Device: key, "ed25519:" + u.Device: key}, "signatures": J{u.ID: J{"ed25519:" + u.Device: "s"}}}
}

// Whoever shares a room hears of changed devices, of those who come and of those who go for good; and /keys/changes says the same.
func TestDeviceLists(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, carol := w.Register("alice"), w.Register("bob"), w.Register("carol")
	room1, room2 := alice.CreateRoom(J{"preset": "public_chat"}), alice.CreateRoom(J{"preset": "public_chat"})
	texts := func(r gjson.Result) []string {
		found := []string{}
		for _, v := range r.Array() {
			found = append(found, v.Str)
		}
		slices.Sort(found)
		return found
	}
	token := since(alice, "").Text("next_batch")
	start := token
	hears := func(what string, changed, left []string) {
		t.Helper()
		answer := since(alice, token)
		changes := alice.Get("/keys/changes?from=" + url.QueryEscape(token) + "&to=" + url.QueryEscape(answer.Text("next_batch"))).OK()
		token = answer.Text("next_batch")
		for path, want := range map[string][]string{"changed": changed, "left": left} {
			if got := texts(answer.At("device_lists." + path)); !slices.Equal(got, want) {
				t.Errorf("%s: %s in the sync: %v, not %v", what, path, got, want)
			}
			if got := texts(changes.At(path)); !slices.Equal(got, want) {
				t.Errorf("%s: %s of /keys/changes: %v, not %v", what, path, got, want)
			}
		}
	}
	none := []string{}
	bob.Post("/keys/upload", J{"device_keys": deviceKeys(bob, "k")}).OK()
	hears("a stranger has new keys", none, none)
	bob.Join(room1)
	hears("somebody comes", []string{bob.ID}, none)
	bob.Join(room2)
	hears("somebody comes to another room, too", []string{bob.ID}, none) // once more than needed does no harm
	carol.Join(room1)
	hears("a second one comes", []string{carol.ID}, none)
	carol.Post("/keys/upload", J{"device_keys": deviceKeys(carol, "c")}).OK()
	hears("new keys", []string{carol.ID}, none)
	alice.Post("/keys/upload", J{"device_keys": deviceKeys(alice, "a")}).OK()
	hears("one's own new keys", []string{alice.ID}, none)
	bob.Leave(room1)
	hears("somebody leaves one of two rooms", none, none)
	bob.Leave(room2)
	hears("somebody leaves the last one", none, []string{bob.ID})
	bob.Post("/keys/upload", J{"device_keys": deviceKeys(bob, "k2")}).OK()
	hears("new keys of somebody who has left", none, none)
	bob.Join(room2)
	hears("somebody comes back", []string{bob.ID}, none)

	token = start
	hears("all of it at once", []string{alice.ID, bob.ID, carol.ID}, none)
}
