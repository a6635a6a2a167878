package appservice

import (
	"net/url"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// Typing, receipts and presence come to those who asked for them, of rooms and users that concern them (application service API, "Pushing
// ephemeral data").
func TestEphemeral(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, plain := newBridge(t, "irc"), newBridge(t, "plain")
	irc.register(folder, irc.ghosts(), "receive_ephemeral: true")
	plain.register(folder, `{users: [{exclusive: false, regex: "@_irc_.*"}]}`)
	w := begin(t, folder)
	alice, bob := w.user("alice"), w.user("bob")
	ghost := w.ghost(irc, "_irc_nick")
	other := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	w.must(irc, "POST", "/join/"+room, ghost, m{})
	say := func(roomID, txn string) string {
		return ok[string](t)(alice.Send(w.ctx, roomID, "m.room.message", txn, m{"body": "x"}))
	}
	elsewhere, here := say(other, "1"), say(room, "2")
	asAlice := person(irc, alice)
	receipt := func(roomID, kind, eventID, as string) {
		who := asAlice
		if as != "" {
			who = irc
		}
		w.must(who, "POST", "/rooms/"+roomID+"/receipt/"+kind+"/"+url.PathEscape(eventID), as, m{})
	}
	typing := func(roomID string, on bool) {
		w.must(asAlice, "PUT", "/rooms/"+roomID+"/typing/"+url.PathEscape(alice.UserID), "", m{"typing": on, "timeout": 30000})
	}
	receipt(other, "m.read", elsewhere, "")
	receipt(room, "m.read.private", here, "")
	receipt(room, "m.read.private", here, ghost)
	receipt(room, "m.read", here, "")
	typing(other, true)
	typing(room, true)
	presence := func(c *matrixclient.Client, status string) {
		w.must(person(irc, c), "PUT", "/presence/"+url.PathEscape(c.UserID)+"/status", "", m{"presence": "online", "status_msg": status})
	}
	presence(bob, "a stranger")
	presence(alice, "a friend")

	of := func(typ string) []gjson.Result {
		return slices.DeleteFunc(irc.got("ephemeral"), func(e gjson.Result) bool { return e.Get("type").Str != typ })
	}
	irc.until("typing", func() bool {
		return slices.ContainsFunc(of("m.typing"), func(e gjson.Result) bool { return e.Get("content.user_ids.0").Str == alice.UserID })
	})
	irc.until("a receipt of each", func() bool { return len(of("m.receipt")) >= 2 })
	irc.until("presence", func() bool {
		return slices.ContainsFunc(of("m.presence"), func(e gjson.Result) bool { return e.Get("content.status_msg").Str == "a friend" })
	})
	typing(room, false)
	irc.until("that nobody types", func() bool {
		return slices.ContainsFunc(of("m.typing"), func(e gjson.Result) bool {
			return e.Get("content.user_ids").IsArray() && len(e.Get("content.user_ids").Array()) == 0
		})
	})
	for _, e := range slices.Concat(of("m.typing"), of("m.receipt")) {
		if e.Get("room_id").Str != room {
			t.Errorf("of another room: %s", e.Raw)
		}
	}
	var private, public []string
	for _, e := range of("m.receipt") {
		at := e.Get("content").Get(gjson.Escape(here))
		for user := range at.Get(gjson.Escape("m.read.private")).Map() {
			private = append(private, user)
		}
		for user := range at.Get(gjson.Escape("m.read")).Map() {
			public = append(public, user)
		}
	}
	if !slices.Equal(private, []string{ghost}) || !slices.Equal(public, []string{alice.UserID}) {
		t.Errorf("private receipts of %v and public ones of %v", private, public)
	}
	for _, e := range of("m.presence") {
		if e.Get("sender").Str == bob.UserID {
			t.Errorf("presence of a stranger: %s", e.Raw)
		}
	}
	if len(irc.got("de.sorunome.msc2409.ephemeral")) != len(irc.got("ephemeral")) {
		t.Error("the older name says something else")
	}
	end := say(room, "end")
	plain.until("the last event", func() bool { return plain.has(end) })
	if n := len(plain.got("ephemeral")); n > 0 {
		t.Errorf("%d ephemeral events for who did not ask", n)
	}
}

// What end-to-end encryption needs comes with transactions (MSC3202, MSC4203): messages to devices, changed and left device lists, and how many
// keys are left.
func TestEncryptionData(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts(), "org.matrix.msc3202: true", "io.element.msc4190: true")
	w := begin(t, folder)
	alice, bob := w.user("alice"), w.user("bob")
	ghost := w.ghost(irc, "_irc_nick")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	w.must(irc, "POST", "/join/"+room, ghost, m{})
	if status, answer := w.raw(irc.asToken, "PUT", "/_matrix/client/v3/devices/BRIDGE?user_id="+url.QueryEscape(ghost), m{"display_name": "Bridge"}); status != 201 {
		t.Fatal(answer.Raw)
	}
	curve := func(n string) string { return "hkAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" + n + "A" }
	deviceKeys := func(user, device string) m {
		return m{"user_id": user, "device_id": device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
			"keys":       m{"curve25519:" + device: curve("1"), "ed25519:" + device: curve("2")},
			"signatures": m{user: m{"ed25519:" + device: "c2ln"}}}
	}
	w.must(irc, "POST", "/keys/upload?device_id=BRIDGE", ghost, m{"device_keys": deviceKeys(ghost, "BRIDGE")})
	w.must(irc, "POST", "/keys/upload?org.matrix.msc3202.device_id=BRIDGE", ghost, m{
		"one_time_keys": m{"signed_curve25519:A": m{"key": curve("3"), "signatures": m{ghost: m{"ed25519:BRIDGE": "c2ln"}}},
			"signed_curve25519:B": m{"key": curve("4"), "signatures": m{ghost: m{"ed25519:BRIDGE": "c2ln"}}}},
		"fallback_keys": m{"signed_curve25519:F": m{"key": curve("5"), "fallback": true, "signatures": m{ghost: m{"ed25519:BRIDGE": "c2ln"}}}}})
	newest := func(kind string) gjson.Result {
		irc.mu.Lock()
		defer irc.mu.Unlock()
		for _, txn := range slices.Backward(irc.order) {
			if v := gjson.Get(irc.bodies[txn], gjson.Escape(kind)); v.Exists() {
				return v.Get(gjson.Escape(ghost)).Get("BRIDGE")
			}
		}
		return gjson.Result{}
	}
	counts := func(n int64) func() bool {
		return func() bool { return newest("device_one_time_keys_count").Get("signed_curve25519").Int() == n }
	}
	irc.until("two one-time keys", counts(2))
	irc.until("an unused fallback key", func() bool { return newest("device_unused_fallback_key_types").Get("0").Str == "signed_curve25519" })
	for _, old := range []string{"org.matrix.msc3202.device_one_time_keys_count", "org.matrix.msc3202.device_one_time_key_counts"} {
		if newest(old).Get("signed_curve25519").Int() != 2 {
			t.Errorf("%s says something else", old)
		}
	}
	asAlice := person(irc, alice)
	w.must(asAlice, "POST", "/keys/claim", "", m{"one_time_keys": m{ghost: m{"BRIDGE": "signed_curve25519"}}})
	irc.until("that one key was taken", counts(1))

	w.must(asAlice, "PUT", "/sendToDevice/m.room.encrypted/1", "", m{"messages": m{ghost: m{"BRIDGE": m{"n": 1}}}})
	w.must(asAlice, "PUT", "/sendToDevice/m.room.encrypted/2", "", m{"messages": m{ghost: m{"*": m{"n": 2}}, bob.UserID: m{"*": m{"n": 9}}}})
	irc.until("both messages", func() bool { return len(irc.got("to_device")) >= 2 })
	for i, e := range irc.got("to_device") {
		if e.Get("content.n").Int() != int64(i+1) || e.Get("sender").Str != alice.UserID || e.Get("to_user_id").Str != ghost || e.Get("to_device_id").Str != "BRIDGE" || e.Get("type").Str != "m.room.encrypted" {
			t.Errorf("message %d: %s", i+1, e.Raw)
		}
	}
	if len(irc.got("de.sorunome.msc2409.to_device")) != len(irc.got("to_device")) {
		t.Error("the older name says something else")
	}

	listed := func(kind, user string) func() bool {
		return func() bool {
			return slices.ContainsFunc(irc.got("device_lists"), func(l gjson.Result) bool {
				return slices.ContainsFunc(l.Get(kind).Array(), func(u gjson.Result) bool { return u.Str == user })
			})
		}
	}
	if err := bob.Join(w.ctx, room); err != nil {
		t.Fatal(err)
	}
	irc.until("that bob's devices matter", listed("changed", bob.UserID))
	device := w.must(asAlice, "GET", "/account/whoami", "", nil).Get("device_id").Str
	w.must(asAlice, "POST", "/keys/upload", "", m{"device_keys": deviceKeys(alice.UserID, device)})
	irc.until("that alice's devices changed", listed("changed", alice.UserID))
	w.must(person(irc, bob), "POST", "/rooms/"+room+"/leave", "", m{})
	irc.until("that bob's devices matter no more", listed("left", bob.UserID))
}

// Networks of application services have directories of their own, and what is looked up in them comes from there (application service API,
// "Third-party networks").
func TestNetworks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, more, silent := newBridge(t, "irc"), newBridge(t, "more"), newBridge(t, "silent")
	for _, b := range []*bridge{irc, more, silent} {
		b.register(folder, b.ghosts(), "protocols: [irc]")
	}
	w := begin(t, folder)
	alice := w.user("alice")
	asAlice := person(irc, alice)
	ask := func(path string) gjson.Result { return w.must(asAlice, "GET", "/thirdparty"+path, "", nil) }
	for b, body := range map[*bridge]string{irc: `{"user_fields":["nick"],"instances":[{"desc":"Libera","network_id":"libera","fields":{}}]}`,
		more: `{"user_fields":["other"],"instances":[{"desc":"OFTC","network_id":"oftc","fields":{}}]}`} {
		b.answer("/_matrix/app/v1/thirdparty/protocol/irc", func() (int, string) { return 200, body })
		b.answer("/_matrix/app/v1/thirdparty/user/irc", func() (int, string) { return 200, `[{"userid":"@_` + b.id + `_nick:localhost"}]` })
		b.answer("/_matrix/app/v1/thirdparty/location", func() (int, string) { return 200, `[{"alias":"#` + b.id + `:localhost"}]` })
	}
	for path, protocol := range map[string]string{"/protocols": "irc.", "/protocol/irc": ""} {
		got := ask(path)
		if got.Get(protocol+"user_fields.0").Str != "nick" || got.Get(protocol+"instances.#").Int() != 2 || got.Get(protocol+"instances.1.instance_id").Str != "more|oftc" {
			t.Errorf("%s: %s", path, got.Raw)
		}
	}
	if got := ask("/user/irc?nick=x&access_token=stolen"); got.Get("#.userid").Raw != `["@_irc_nick:localhost","@_more_nick:localhost"]` {
		t.Errorf("users: %s", got.Raw)
	}
	if got := ask("/location?alias=" + url.QueryEscape("#a:localhost")); got.Get("#").Int() != 2 {
		t.Errorf("what is behind an alias: %s", got.Raw)
	}
	for _, path := range []string{"/protocol/xmpp", "/user/xmpp", "/location/irc?channel=none", "/user?userid=@x:localhost"} {
		_, err := w.call(asAlice, "GET", "/thirdparty"+path, "", nil)
		refused(t, path, err, 404, "M_NOT_FOUND")
	}
	irc.mu.Lock()
	asked := slices.Clone(irc.asked)
	irc.mu.Unlock()
	if !slices.Contains(asked, "GET /_matrix/app/v1/thirdparty/user/irc?nick=x") {
		t.Errorf("asked: %v", asked)
	}

	open := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat", "visibility": "public"}))
	bridged := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	list := func(b *bridge, network, visibility string) {
		w.must(b, "PUT", "/directory/list/appservice/"+network+"/"+url.PathEscape(bridged), "", m{"visibility": visibility})
	}
	list(irc, "libera", "public")
	rooms := func(q m) []string {
		var ids []string
		for _, id := range w.must(asAlice, "POST", "/publicRooms", "", q).Get("chunk.#.room_id").Array() {
			ids = append(ids, id.Str)
		}
		slices.Sort(ids)
		return ids
	}
	both := []string{open, bridged}
	slices.Sort(both)
	for what, tt := range map[string]struct {
		q    m
		want []string
	}{
		"the server's own":    {m{}, []string{open}},
		"the network":         {m{"third_party_instance_id": "irc|libera"}, []string{bridged}},
		"another's network":   {m{"third_party_instance_id": "more|libera"}, nil},
		"an unknown instance": {m{"third_party_instance_id": "libera"}, nil},
		"all":                 {m{"include_all_networks": true}, both},
	} {
		if got := rooms(tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, not %v", what, got, tt.want)
		}
	}
	list(irc, "libera", "private")
	if got := rooms(m{"third_party_instance_id": "irc|libera"}); got != nil {
		t.Errorf("after it was hidden: %v", got)
	}
}
