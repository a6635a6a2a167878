package appservice

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// An application service speaks as the users of its namespaces, and as nobody else (application service API, "Identity assertion").
func TestMasquerading(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, puppets := newBridge(t, "irc"), newBridge(t, "puppets")
	irc.register(folder, irc.ghosts())
	puppets.register(folder, `{users: [{exclusive: false, regex: "@.*:localhost"}]}`)
	w := begin(t, folder)
	alice := w.user("alice")
	ghost := w.ghost(irc, "_irc_nick")

	whoami := func(b *bridge, user string) (string, error) {
		answer, err := w.call(b, "GET", "/account/whoami", user, nil)
		return answer.Get("user_id").Str, err
	}
	for _, tt := range []struct {
		bridge *bridge
		as, is string
	}{{irc, "", "@_irc_bot:localhost"}, {irc, ghost, ghost}, {puppets, alice.UserID, alice.UserID}, {puppets, "", "@_puppets_bot:localhost"}} {
		if got, err := whoami(tt.bridge, tt.as); err != nil || got != tt.is {
			t.Errorf("%s as %q: %q, %v", tt.bridge.id, tt.as, got, err)
		}
	}
	for what, tt := range map[string]struct {
		bridge *bridge
		as     string
	}{
		"a user outside":            {irc, alice.UserID},
		"a ghost that is not there": {irc, "@_irc_unborn:localhost"},
		"a ghost of another server": {irc, "@_irc_nick:elsewhere"},
		"no user id":                {irc, "_irc_nick"},
		"another's own user":        {puppets, "@_irc_bot:localhost"},
		"a reserved ghost":          {puppets, ghost},
	} {
		_, err := whoami(tt.bridge, tt.as)
		refused(t, what, err, 403, "M_FORBIDDEN")
	}
	if status, answer := w.raw("as_unknown", "GET", "/_matrix/client/v3/account/whoami?user_id="+url.QueryEscape(ghost), nil); status != 401 || answer.Get("errcode").Str != "M_UNKNOWN_TOKEN" {
		t.Errorf("an unknown token: %d %s", status, answer.Raw)
	}
	// A person's token gains nothing by the parameter.
	if got, err := whoami(person(irc, alice), ghost); err != nil || got != alice.UserID {
		t.Errorf("alice as the ghost: %q, %v", got, err)
	}
	// The service ends the accounts that it has made; those that have a password need that.
	status, answer := w.raw(puppets.asToken, "POST", "/_matrix/client/v3/account/deactivate?user_id="+url.QueryEscape(alice.UserID), m{})
	if status != 401 || !answer.Get("flows").Exists() {
		t.Errorf("deactivating a person: %d %s", status, answer.Raw)
	}
	w.must(irc, "POST", "/account/deactivate", ghost, m{})
	w.run("user", "deactivate", alice.UserID)
	_, err := whoami(irc, ghost)
	refused(t, "a deactivated ghost", err, 403, "M_USER_DEACTIVATED")
	_, err = whoami(puppets, alice.UserID)
	refused(t, "a deactivated puppet", err, 403, "M_USER_DEACTIVATED")
}

// Devices are made, named and deleted without a login and without proofs (MSC4190), and named in requests (MSC4326).
func TestDevices(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	ghost, other := w.ghost(irc, "_irc_nick"), w.ghost(irc, "_irc_other")

	if status, _ := w.raw(irc.asToken, "PUT", "/_matrix/client/v3/devices/PHONE?user_id="+url.QueryEscape(ghost), m{"display_name": "Phone"}); status != 201 {
		t.Errorf("making a device answers %d", status)
	}
	if status, _ := w.raw(irc.asToken, "PUT", "/_matrix/client/v3/devices/PHONE?user_id="+url.QueryEscape(ghost), m{"display_name": "Old phone"}); status != 200 {
		t.Errorf("naming a device answers %d", status)
	}
	for _, parameter := range []string{"device_id", "org.matrix.msc3202.device_id"} {
		if got := w.must(irc, "GET", "/account/whoami?"+parameter+"=PHONE", ghost, nil).Get("device_id").Str; got != "PHONE" {
			t.Errorf("with %s the device is %q", parameter, got)
		}
		for _, user := range []string{other, ""} {
			_, err := w.call(irc, "GET", "/account/whoami?"+parameter+"=PHONE", user, nil)
			refused(t, "another's device", err, 400, "M_UNKNOWN_DEVICE")
		}
	}
	if w.must(irc, "GET", "/account/whoami", ghost, nil).Get("device_id").Exists() {
		t.Error("without device_id there is a device")
	}
	if _, err := w.call(irc, "POST", "/keys/upload", ghost, m{"one_time_keys": m{}}); err == nil {
		t.Error("keys were taken without a device")
	}
	w.must(irc, "DELETE", "/devices/PHONE", ghost, m{})
	if status, _ := w.raw(irc.asToken, "PUT", "/_matrix/client/v3/devices/A?user_id="+url.QueryEscape(ghost), m{}); status != 201 {
		t.Errorf("making another device answers %d", status)
	}
	w.must(irc, "POST", "/delete_devices", ghost, m{"devices": []string{"A"}})
	if n := len(w.must(irc, "GET", "/devices", ghost, nil).Get("devices").Array()); n != 0 {
		t.Errorf("%d devices are left", n)
	}
}

// What a namespace reserves is made by its application service only, and an application service makes nothing outside of its namespaces
// (application service API, "Server admin style permissions").
func TestExclusivity(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, shared := newBridge(t, "irc"), newBridge(t, "shared")
	irc.register(folder, irc.ghosts())
	shared.register(folder, `{users: [{exclusive: false, regex: "@_"}], aliases: [{exclusive: false, regex: "#_"}]}`)
	w := begin(t, folder)
	alice := w.user("alice")
	asAlice := person(irc, alice)
	ghost := w.ghost(irc, "_irc_nick")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))

	login := func(b *bridge, name string) error {
		_, err := w.call(b, "POST", "/login", "", m{"type": "m.login.application_service", "identifier": m{"type": "m.id.user", "user": name}})
		return err
	}
	register := func(b *bridge, name string) error {
		_, err := w.call(b, "POST", "/register", "", m{"type": "m.login.application_service", "username": name, "inhibit_login": true})
		return err
	}
	alias := func(b *bridge, method, name string) error {
		_, err := w.call(b, method, "/directory/room/"+url.PathEscape("#"+name+":localhost"), "", m{"room_id": room})
		return err
	}
	_, err := alice.Register(w.ctx, "_irc_mine", "a password")
	refused(t, "a person takes a reserved name", err, 400, "M_EXCLUSIVE")
	_, err = alice.Register(w.ctx, "_irc_bot", "a password")
	refused(t, "a person takes the name of the application service's own user", err, 400, "M_EXCLUSIVE")
	_, err = w.call(asAlice, "GET", "/register/available?username=_irc_mine", "", nil)
	refused(t, "whether a reserved name is free", err, 400, "M_EXCLUSIVE")
	refused(t, "another application service registers a reserved name", register(shared, "_irc_mine"), 400, "M_EXCLUSIVE")
	refused(t, "a name outside", register(irc, "carol"), 400, "M_EXCLUSIVE")
	refused(t, "a name that is taken", register(irc, "_irc_nick"), 400, "M_USER_IN_USE")
	refused(t, "a login outside", login(irc, "alice"), 400, "M_EXCLUSIVE")
	refused(t, "a login of a reserved user", login(shared, "_irc_nick"), 400, "M_EXCLUSIVE")
	if err := login(irc, "_irc_nick"); err != nil {
		t.Error(err)
	}
	if _, err := alice.Register(w.ctx, "_free", "a password"); err != nil {
		t.Errorf("a name in a shared namespace: %v", err)
	}
	for what, body := range map[string]m{"register": {"type": "m.login.application_service", "username": "_irc_x"},
		"login": {"type": "m.login.application_service", "identifier": m{"type": "m.id.user", "user": "_irc_nick"}}} {
		if status, answer := w.raw("as_unknown", "POST", "/_matrix/client/v3/"+what, body); status != 401 || answer.Get("errcode").Str != "M_UNKNOWN_TOKEN" {
			t.Errorf("%s with an unknown token: %d %s", what, status, answer.Raw)
		}
	}

	refused(t, "a person makes a reserved alias", alias(asAlice, "PUT", "_irc_a"), 400, "M_EXCLUSIVE")
	refused(t, "another application service makes it", alias(shared, "PUT", "_irc_a"), 400, "M_EXCLUSIVE")
	refused(t, "an alias outside", alias(irc, "PUT", "lobby"), 400, "M_EXCLUSIVE")
	_, err = alice.CreateRoom(w.ctx, m{"room_alias_name": "_irc_a"})
	refused(t, "a person makes a room with a reserved alias", err, 400, "M_EXCLUSIVE")
	w.must(irc, "POST", "/join/"+room, "", m{})
	if err := alias(irc, "PUT", "_irc_a"); err != nil {
		t.Error(err)
	}
	refused(t, "a person deletes it", alias(asAlice, "DELETE", "_irc_a"), 400, "M_EXCLUSIVE")
	if err := alias(asAlice, "PUT", "_free"); err != nil {
		t.Errorf("an alias of a shared namespace: %v", err)
	}
	for b, name := range map[*bridge]string{irc: "_irc_a", shared: "_free"} { // whoever made them
		if err := alias(b, "DELETE", name); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.call(asAlice, "PUT", "/directory/list/appservice/net/"+url.PathEscape(room), "", m{"visibility": "public"}); err == nil {
		t.Error("a person lists a room of a network")
	}
	// A ghost's token is the ghost's, not the application service's.
	status, answer := w.raw(irc.asToken, "POST", "/_matrix/client/v3/login", m{"type": "m.login.application_service", "identifier": m{"type": "m.id.user", "user": ghost}})
	if status != 200 {
		t.Fatal(answer.Raw)
	}
	ours := &bridge{id: "irc", asToken: answer.Get("access_token").Str}
	if got := w.must(ours, "GET", "/account/whoami", "@_irc_bot:localhost", nil).Get("user_id").Str; got != ghost {
		t.Errorf("the ghost's token speaks as %s", got)
	}
}

// Only application services set the time of their events, where the specification says (application service API, "Timestamp massaging").
func TestTimestamps(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	alice := w.user("alice")
	ghost := w.ghost(irc, "_irc_nick")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat", "power_level_content_override": m{"users_default": 100}}))
	w.must(irc, "POST", "/join/"+room, ghost, m{})
	const ts = 1234567890123
	at := func(eventID string) int64 {
		return w.must(irc, "GET", "/rooms/"+room+"/event/"+url.PathEscape(eventID), ghost, nil).Get("origin_server_ts").Int()
	}
	for _, path := range []string{"send/m.room.message/1", "state/m.room.topic", "state/m.room.member/" + url.PathEscape(ghost)} {
		body := m{"body": "x", "topic": "x", "membership": "join", "displayname": "Nick"}
		id := w.must(irc, "PUT", "/rooms/"+room+"/"+path+"?ts=1234567890123", ghost, body).Get("event_id").Str
		if got := at(id); got != ts {
			t.Errorf("%s: %d", path, got)
		}
		_, err := w.call(irc, "PUT", "/rooms/"+room+"/"+path+"2?ts=yesterday", ghost, body)
		refused(t, path, err, 400, "M_INVALID_PARAM")
	}
	id := w.must(person(irc, alice), "PUT", "/rooms/"+room+"/send/m.room.message/1?ts=1234567890123", "", m{"body": "x"}).Get("event_id").Str
	if at(id) == ts {
		t.Error("a person set the time of an event")
	}
}

// The homeserver says whether it reaches the application service (application service API, "Pinging").
func TestPing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, other, quiet := newBridge(t, "irc"), newBridge(t, "other"), newBridge(t, "quiet")
	irc.register(folder, irc.ghosts())
	other.register(folder, other.ghosts())
	quiet.url = "null"
	quiet.register(folder, quiet.ghosts())
	w := begin(t, folder)
	ping := func(b *bridge, id string) (int, gjson.Result) {
		return w.raw(b.asToken, "POST", "/_matrix/client/v1/appservice/"+id+"/ping", m{"transaction_id": "meow"})
	}
	expect := func(what string, b *bridge, id string, status int, code string) gjson.Result {
		t.Helper()
		got, answer := ping(b, id)
		if got != status || answer.Get("errcode").Str != code {
			t.Errorf("%s: %d %s", what, got, answer.Raw)
		}
		return answer
	}
	irc.answer("/_matrix/app/v1/ping", func() (int, string) { return 200, "{}" })
	if !expect("all is well", irc, "irc", 200, "").Get("duration_ms").Exists() {
		t.Error("no duration_ms")
	}
	irc.answer("/_matrix/app/v1/ping", func() (int, string) { return 403, `{"errcode":"M_FORBIDDEN"}` })
	answer := expect("the hs_token is wrong", irc, "irc", 502, "M_BAD_STATUS")
	if answer.Get("status").Int() != 403 || answer.Get("body").Str != `{"errcode":"M_FORBIDDEN"}` {
		t.Errorf("a bad status is told as %s", answer.Raw)
	}
	irc.answer("/_matrix/app/v1/ping", func() (int, string) { return 0, "" })
	expect("the connection is cut", irc, "irc", 502, "M_CONNECTION_FAILED")
	expect("another's ping", other, "irc", 403, "M_FORBIDDEN")
	expect("an unknown id", irc, "nobody", 403, "M_FORBIDDEN")
	expect("no URL", quiet, "quiet", 400, "M_URL_NOT_SET")
	expect("a person", person(irc, w.user("alice")), "irc", 403, "M_FORBIDDEN")
}

// Unknown users and aliases of the namespaces are asked for, and may be made before the answer (application service API, "Querying").
func TestQueries(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc := newBridge(t, "irc")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	alice := w.user("alice")
	asAlice := person(irc, alice)
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	invite := func(user string) error {
		_, err := w.call(asAlice, "POST", "/rooms/"+room+"/invite", "", m{"user_id": user})
		return err
	}
	path := func(kind, id string) string { return "/_matrix/app/v1/" + kind + "/" + url.PathEscape(id) }
	irc.answer(path("users", "@_irc_born:localhost"), func() (int, string) {
		w.ghost(irc, "_irc_born")
		return 200, "{}"
	})
	if err := invite("@_irc_born:localhost"); err != nil {
		t.Errorf("a ghost that is made when asked for: %v", err)
	}
	if err := invite("@_irc_unknown:localhost"); err == nil {
		t.Error("a user that nobody knows was invited")
	}
	irc.answer(path("rooms", "#_irc_room:localhost"), func() (int, string) {
		bot := w.must(irc, "POST", "/createRoom", "", m{"preset": "public_chat", "room_alias_name": "_irc_room"}).Get("room_id").Str
		return 200, `{"room":"` + bot + `"}`
	})
	if _, err := w.call(asAlice, "POST", "/join/"+url.PathEscape("#_irc_room:localhost"), "", m{}); err != nil {
		t.Errorf("joining a room that is made when asked for: %v", err)
	}
	_, err := w.call(asAlice, "GET", "/directory/room/"+url.PathEscape("#_irc_none:localhost"), "", nil)
	refused(t, "an alias that nobody knows", err, 404, "M_NOT_FOUND")
	irc.answer(path("rooms", "#_irc_away:localhost"), func() (int, string) { return 0, "" })
	_, err = w.call(asAlice, "GET", "/directory/room/"+url.PathEscape("#_irc_away:localhost"), "", nil)
	refused(t, "an application service that does not answer", err, 408, "M_UNKNOWN")
	irc.mu.Lock()
	defer irc.mu.Unlock()
	asked := strings.Join(irc.asked, "\n")
	if n := strings.Count(asked, "GET "+path("rooms", "#_irc_away:localhost")); n < 2 {
		t.Errorf("it was asked %d times", n)
	}
	if strings.Contains(asked, "alice") || strings.Contains(asked, "access_token") {
		t.Errorf("asked for what is not its own, or with a token in the path:\n%s", asked)
	}
}
