package client_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestInteractiveAuthIsBoundToTheRequest(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, other := s.register("alice"), s.register("bob")
	second := s.login(p, m{"device_id": "TWO"}).ok()
	third := s.login(p, m{"device_id": "THREE"}).ok()
	const path = "/_matrix/client/v3/delete_devices"
	challenge := s.do("POST", path, p.token, m{"devices": []string{"TWO"}})
	if challenge.status != 401 || challenge.body["errcode"] != nil {
		t.Fatalf("%d %s", challenge.status, challenge.raw)
	}
	auth := func(p person, pw string) m {
		return m{"type": "m.login.password", "identifier": m{"type": "m.id.user", "user": p.id}, "password": pw, "session": challenge.text("session")}
	}
	// Another body, another endpoint, another user, another person's password.
	s.do("POST", path, p.token, m{"devices": []string{"THREE"}, "auth": auth(p, pass)}).refused(403, "M_FORBIDDEN")
	s.do("DELETE", "/_matrix/client/v3/devices/TWO", p.token, m{"auth": auth(p, pass)}).refused(403, "M_FORBIDDEN")
	s.do("POST", path, other.token, m{"devices": []string{"TWO"}, "auth": auth(other, pass)}).refused(403, "M_FORBIDDEN")
	wrong := s.do("POST", path, p.token, m{"devices": []string{"TWO"}, "auth": auth(other, pass)}).refused(401, "M_FORBIDDEN")
	if wrong.text("session") != challenge.text("session") || wrong.body["flows"] == nil {
		t.Errorf("a failed stage must tell how to go on: %s", wrong.raw)
	}
	s.do("POST", path, p.token, m{"devices": []string{"TWO"}, "auth": auth(p, "wrong")}).refused(401, "M_FORBIDDEN")
	s.do("POST", path, p.token, m{"devices": []string{"TWO"}, "auth": m{"type": "m.login.dummy", "session": challenge.text("session")}}).refused(401, "M_FORBIDDEN")
	s.do("POST", path, p.token, m{"devices": []string{"TWO"}, "auth": m{"type": "m.login.password", "password": pass, "session": "made up"}}).refused(401, "M_UNKNOWN")
	for _, token := range []string{second.text("access_token"), third.text("access_token")} {
		s.whoami(token).ok()
	}
	// The members in another order are the same request.
	s.do("POST", path, p.token, `{"auth":{"session":"`+challenge.text("session")+`","type":"m.login.password","user":"alice","password":"`+pass+`"},"devices":["TWO"]}`).ok()
	s.whoami(second.text("access_token")).refused(401, "M_UNKNOWN_TOKEN")
	s.whoami(third.text("access_token")).ok()

	old := s.do("POST", path, p.token, m{"devices": []string{}})
	s.clock.advance(uia.Lifetime + time.Second)
	challenge = old
	s.do("POST", path, p.token, m{"devices": []string{}, "auth": auth(p, pass)}).refused(401, "M_UNKNOWN")
	if err := account.Sweep(context.Background(), s.store, s.clock.Now(), uia.Lifetime); err != nil {
		t.Fatal(err)
	}
	if has(s, schema.AuthSessions, schema.AuthSession{ID: old.text("session")}, 1) {
		t.Error("the expired session was not swept")
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	other := s.login(p, nil).ok()
	const path = "/_matrix/client/v3/account/password"
	s.prove("POST", path, p, m{"new_password": "second pass", "logout_devices": false}).ok()
	s.whoami(other.text("access_token")).ok()
	s.login(p, nil).refused(403, "M_FORBIDDEN")
	s.login(p, m{"password": "second pass"}).ok()

	// Without a token, the old password says who it is.
	body := m{"new_password": pass, "auth": m{"type": "m.login.password", "identifier": m{"type": "m.id.user", "user": "alice"}, "password": "second pass"}}
	s.do("POST", path, "", body).ok()
	for _, token := range []string{p.token, other.text("access_token")} {
		s.whoami(token).refused(401, "M_UNKNOWN_TOKEN")
	}
	p.token = s.login(p, nil).ok().text("access_token")
	another := s.login(p, nil).ok()
	s.prove("POST", path, p, m{"new_password": "third pass"}).ok()
	s.whoami(p.token).ok()
	s.whoami(another.text("access_token")).refused(401, "M_UNKNOWN_TOKEN")
	s.do("POST", path, p.token, m{"new_password": 5}).refused(400, "M_BAD_JSON")
	s.do("POST", path, "stale", m{"new_password": "x"}).refused(401, "M_UNKNOWN_TOKEN")
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	s.v3("PUT", "/profile/"+p.id+"/displayname", p.token, m{"displayname": "Alice"}).ok()
	s.v3("PUT", "/user/"+p.id+"/account_data/m.x", p.token, m{}).ok()
	for room, membership := range map[string]string{"!j:x": "join", "!i:x": "invite", "!k:x": "knock", "!l:x": "leave", "!b:x": "ban"} {
		s.member(p.id, room, membership)
	}
	s.roomCalls()
	const path = "/_matrix/client/v3/account/deactivate"
	if got := s.prove("POST", path, p, m{"erase": true}).ok(); got.text("id_server_unbind_result") != "success" {
		t.Errorf("%s", got.raw)
	}
	left := map[string]bool{}
	for _, c := range s.roomCalls() {
		if c.action != messages.ChangeMembership_LEAVE || c.target != p.id {
			t.Errorf("%+v", c)
		}
		left[c.room] = true
	}
	if diff := cmp.Diff(map[string]bool{"!j:x": true, "!i:x": true, "!k:x": true}, left); diff != "" {
		t.Error(diff)
	}
	s.whoami(p.token).refused(401, "M_UNKNOWN_TOKEN")
	s.login(p, nil).refused(403, "M_FORBIDDEN")
	s.v3("POST", "/register", "", m{"username": "alice", "password": pass}).refused(400, "M_USER_IN_USE")
	if got := s.v3("GET", "/profile/"+p.id, "", nil).ok(); got.raw != "{}" {
		t.Errorf("an erased profile: %s", got.raw)
	}
	if has(s, schema.AccountDatas, schema.AccountData{UserID: p.id}, 1) || has(s, schema.Devices, schema.Device{UserID: p.id}, 1) {
		t.Error("something of the account is left over")
	}
	row, _, err := schema.Accounts.Get(context.Background(), s.store, schema.Account{UserID: p.id})
	if err != nil || !row.Deactivated || !row.Erased || row.PasswordHash != "" {
		t.Errorf("%+v %v", row, err)
	}
	// A node that died in the middle: the next one finishes.
	if err := client.FinishDeactivations(context.Background(), s.deps); err != nil {
		t.Fatal(err)
	}
	if calls := s.roomCalls(); len(calls) != 3 {
		t.Errorf("%+v", calls)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	second := s.login(p, m{"device_id": "A/B %", "initial_device_display_name": "second"}).ok()
	path := "/devices/" + url.PathEscape("A/B %")
	if got := s.v3("GET", path, p.token, nil).ok(); got.raw != `{"device_id":"A/B %","display_name":"second"}` {
		t.Errorf("%s", got.raw)
	}
	s.v3("PUT", path, p.token, m{"display_name": "renamed"}).ok()
	s.v3("PUT", path, p.token, m{}).ok()
	if got := s.v3("GET", path, p.token, nil).ok(); got.text("display_name") != "renamed" {
		t.Errorf("%s", got.raw)
	}
	s.v3("PUT", path, p.token, m{"display_name": 1}).refused(400, "M_BAD_JSON")
	s.v3("PUT", path, p.token, m{"display_name": strings.Repeat("x", 501)}).refused(400, "M_INVALID_PARAM")
	s.v3("PUT", "/devices/NONE", p.token, m{"display_name": "x"}).refused(404, "M_NOT_FOUND")
	s.v3("GET", "/devices/NONE", p.token, nil).refused(404, "M_NOT_FOUND")
	s.v3("GET", "/devices/"+url.PathEscape("A/B %"), s.register("bob").token, nil).refused(404, "M_NOT_FOUND")
	s.v3("GET", "/devices", "", nil).refused(401, "M_MISSING_TOKEN")
	s.v3("POST", "/delete_devices", p.token, m{"devices": "x"}).refused(400, "M_BAD_JSON")
	s.v3("POST", "/delete_devices", p.token, m{}).refused(400, "M_MISSING_PARAM")
	s.whoami(second.text("access_token")).ok()
	s.prove("DELETE", "/_matrix/client/v3"+path, p, m{}).ok()
	s.whoami(second.text("access_token")).refused(401, "M_UNKNOWN_TOKEN")
	s.prove("DELETE", "/_matrix/client/v3"+path, p, m{}).ok() // gone already
	if got := s.v3("GET", "/devices", p.token, nil).ok(); len(got.body["devices"].([]any)) != 1 {
		t.Errorf("%s", got.raw)
	}
}

func TestRenamingADeviceWithKeysIsTold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	told := func() uint64 {
		row, _, err := schema.DeviceListChanges.Get(context.Background(), s.store, schema.DeviceListChange{UserID: p.id})
		if err != nil {
			t.Fatal(err)
		}
		return row.Pos
	}
	s.v3("PUT", "/devices/"+p.device, p.token, m{"display_name": "a"}).ok()
	if told() != 0 {
		t.Error("others were told of a device that they cannot see")
	}
	row, _, err := schema.Devices.Get(context.Background(), s.store, schema.Device{UserID: p.id, DeviceID: p.device})
	if err != nil {
		t.Fatal(err)
	}
	row.Keys = []byte("{}")
	s.write(schema.Devices.Put(row))
	s.v3("PUT", "/devices/"+p.device, p.token, m{"display_name": "b"}).ok()
	renamed := told()
	if renamed == 0 {
		t.Error("others were not told of the new name")
	}
	s.v3("POST", "/logout", p.token, nil).ok()
	if told() <= renamed {
		t.Error("others were not told that the device is gone")
	}
}

func TestLastSeen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	s.whoami(p.token).ok()
	s.seen.Flush(context.Background(), api.All)
	// The user's lane is in order: a later operation has seen the sighting.
	s.v3("PUT", "/devices/"+p.device, p.token, m{"display_name": "x"}).ok()
	got := s.v3("GET", "/devices/"+p.device, p.token, nil).ok()
	if got.body["last_seen_ts"] != float64(s.clock.Now().UnixMilli()) || got.text("last_seen_ip") != "127.0.0.1" {
		t.Errorf("%s", got.raw)
	}
	before := s.store.Position()
	s.whoami(p.token).ok()
	s.seen.Flush(context.Background(), api.All)
	s.v3("GET", "/user/"+p.id+"/account_data/m.none", p.token, nil).refused(404, "M_NOT_FOUND")
	if s.store.Position() != before {
		t.Error("a device that was seen a moment ago was written again")
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, other := s.register("alice"), s.register("bob")
	s.member(p.id, "!a:x", "join")
	s.member(p.id, "!b:x", "join")
	s.member(p.id, "!left:x", "leave")
	base := "/profile/" + url.PathEscape(p.id)
	if got := s.v3("GET", base, "", nil).ok(); got.raw != "{}" {
		t.Errorf("%s", got.raw)
	}
	s.v3("GET", base+"/displayname", "", nil).refused(404, "M_NOT_FOUND")

	s.v3("PUT", base+"/displayname", p.token, m{"displayname": "Älice 😀"}).ok()
	calls := s.roomCalls()
	if len(calls) != 2 {
		t.Errorf("%+v", calls)
	}
	for _, c := range calls {
		if c.action != messages.ChangeMembership_REFRESH || c.content != `{"displayname":"Älice 😀"}` || c.target != p.id {
			t.Errorf("%+v", c)
		}
	}
	s.v3("PUT", base+"/displayname", p.token, m{"displayname": "Älice 😀"}).ok()
	if calls := s.roomCalls(); len(calls) != 2 {
		t.Errorf("a repeated request does not finish what the first one may have left undone: %+v", calls)
	}
	s.v3("PUT", base+"/avatar_url", p.token, m{"avatar_url": "mxc://x/y"}).ok()
	if calls := s.roomCalls(); len(calls) != 2 || calls[0].content != `{"avatar_url":"mxc://x/y","displayname":"Älice 😀"}` {
		t.Errorf("%+v", calls)
	}
	s.v3("PUT", base+"/m.tz", p.token, m{"m.tz": "Europe/Berlin"}).ok()
	s.v3("PUT", base+"/org.example.job", p.token, `{"org.example.job": {"b":[1, 2.50], "a":null}, "more": 1}`).ok()
	s.do("PUT", "/_matrix/client/unstable/uk.tcpip.msc4133"+base+"/org.example.null", p.token, m{"org.example.null": nil}).ok()
	if calls := s.roomCalls(); len(calls) != 0 {
		t.Errorf("rooms were told of other fields: %+v", calls)
	}
	const want = `{"avatar_url":"mxc://x/y","displayname":"Älice 😀","m.tz":"Europe/Berlin","org.example.job":{"b":[1,2.50],"a":null},"org.example.null":null}`
	if got := s.v3("GET", base, "", nil).ok(); got.raw != want {
		t.Errorf("%s", got.raw)
	}
	if got := s.v3("GET", base+"/org.example.job", "", nil).ok(); got.raw != `{"org.example.job":{"b":[1,2.50],"a":null}}` {
		t.Errorf("%s", got.raw)
	}
	s.v3("DELETE", base+"/org.example.job", p.token, nil).ok()
	s.v3("DELETE", base+"/org.example.job", p.token, nil).ok()
	s.v3("GET", base+"/org.example.job", "", nil).refused(404, "M_NOT_FOUND")
	s.v3("PUT", base+"/avatar_url", p.token, m{"avatar_url": ""}).ok()
	s.v3("GET", base+"/avatar_url", "", nil).refused(404, "M_NOT_FOUND")

	bad := []struct {
		key    string
		body   any
		status int
		code   string
	}{
		{"displayname", m{"other": "x"}, 400, "M_MISSING_PARAM"},
		{"displayname", m{"displayname": 7}, 400, "M_BAD_JSON"},
		{"displayname", m{"displayname": strings.Repeat("x", 257)}, 400, "M_INVALID_PARAM"},
		{"avatar_url", m{"avatar_url": "mxc://" + strings.Repeat("x", 1000)}, 400, "M_INVALID_PARAM"},
		{"m.tz", m{"m.tz": 1}, 400, "M_BAD_JSON"},
		{"undotted", m{"undotted": 1}, 400, "M_INVALID_PARAM"},
		{"org.Example", m{"org.Example": 1}, 400, "M_INVALID_PARAM"},
		{"o." + strings.Repeat("x", 254), m{}, 400, "M_KEY_TOO_LARGE"},
		{"displayname", `{"displayname":`, 400, "M_NOT_JSON"},
		{"displayname", `[]`, 400, "M_BAD_JSON"},
		{"org.example.big", m{"org.example.big": strings.Repeat("x", 65536)}, 400, "M_PROFILE_TOO_LARGE"},
	}
	for _, tt := range bad {
		got := s.v3("PUT", base+"/"+tt.key, p.token, tt.body)
		if got.status != tt.status || got.body["errcode"] != tt.code {
			t.Errorf("%.40s: %d %s, want %s", tt.key, got.status, got.raw, tt.code)
		}
	}
	s.v3("PUT", base+"/org.example.a", p.token, m{"org.example.a": strings.Repeat("x", 40000)}).ok()
	s.v3("PUT", base+"/org.example.b", p.token, m{"org.example.b": strings.Repeat("x", 40000)}).refused(400, "M_PROFILE_TOO_LARGE")
	s.v3("PUT", base+"/displayname", other.token, m{"displayname": "x"}).refused(403, "M_FORBIDDEN")
	s.v3("DELETE", base+"/displayname", other.token, nil).refused(403, "M_FORBIDDEN")
	s.v3("PUT", base+"/displayname", "", m{"displayname": "x"}).refused(401, "M_MISSING_TOKEN")
	s.v3("GET", "/profile/@nobody:example.org", "", nil).refused(404, "M_NOT_FOUND")
	s.v3("GET", "/profile/@nobody:elsewhere.org", "", nil).refused(404, "M_NOT_FOUND")
	s.v3("GET", "/profile/nobody", "", nil).refused(400, "M_INVALID_PARAM")
}

func TestTheLastProfileChangeStays(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	for i := range 5 {
		s.member(p.id, fmt.Sprintf("!%d:x", i), "join")
	}
	done := make(chan answer)
	const changes = 10
	for i := range changes {
		go func() {
			done <- s.v3("PUT", "/profile/"+p.id+"/displayname", p.token, m{"displayname": fmt.Sprint("name ", i)})
		}()
	}
	for range changes {
		(<-done).ok()
	}
	stored := s.v3("GET", "/profile/"+p.id, "", nil).ok().raw
	last := map[string]string{}
	for _, c := range s.roomCalls() {
		last[c.room] = c.content
	}
	for room, content := range last {
		if content != stored {
			t.Errorf("%s shows %s, the profile is %s", room, content, stored)
		}
	}
	if len(last) != 5 {
		t.Errorf("%d rooms were told", len(last))
	}
}

func TestAccountData(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, other := s.register("alice"), s.register("bob")
	me := "/user/" + url.PathEscape(p.id)
	for _, path := range []string{me + "/account_data/", me + "/rooms/" + url.PathEscape("!a/b:x") + "/account_data/", me + "/rooms/!v12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/account_data/"} {
		s.v3("GET", path+"m.direct", p.token, nil).refused(404, "M_NOT_FOUND")
		s.v3("PUT", path+"m.direct", p.token, `{"@b:x": ["!a:x"], "n": 9007199254740993}`).ok()
		if got := s.v3("GET", path+"m.direct", p.token, nil).ok(); got.raw != `{"@b:x": ["!a:x"], "n": 9007199254740993}` {
			t.Errorf("%s", got.raw)
		}
		s.v3("PUT", path+"a%2Fb%25%F0%9F%98%80", p.token, m{"a": 1}).ok()
		s.v3("GET", path+"a%2Fb%25%F0%9F%98%80", p.token, nil).ok()
		s.v3("PUT", path+"m.fully_read", p.token, m{}).refused(405, "M_BAD_JSON")
		s.v3("PUT", path+"m.push_rules", p.token, m{}).refused(405, "M_BAD_JSON")
		s.v3("PUT", path+"m.x", p.token, `[]`).refused(400, "M_BAD_JSON")
		s.v3("PUT", path+"m.x", p.token, `{"a":1,"a":2}`).refused(400, "M_BAD_JSON")
		s.v3("PUT", path+"m.x", p.token, `nope`).refused(400, "M_NOT_JSON")
		s.v3("PUT", path+"m.x", p.token, ``).refused(400, "M_NOT_JSON")
		s.v3("PUT", path+"m.direct", other.token, m{}).refused(403, "M_FORBIDDEN")
		s.v3("GET", path+"m.direct", other.token, nil).refused(403, "M_FORBIDDEN")
	}
	s.v3("PUT", me+"/rooms/nonsense/account_data/m.x", p.token, m{}).refused(400, "M_INVALID_PARAM")
}

func TestTags(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, other := s.register("alice"), s.register("bob")
	base := "/user/" + p.id + "/rooms/!a:x/tags"
	list := func() string { return s.v3("GET", base, p.token, nil).ok().raw }
	if list() != `{"tags":{}}` {
		t.Error(list())
	}
	s.v3("PUT", base+"/m.favourite", p.token, m{"order": 0.25, "x": "y"}).ok()
	s.v3("PUT", base+"/u."+url.PathEscape("Arbeit/ß"), p.token, m{}).ok()
	if want := `{"tags":{"m.favourite":{"order":0.25,"x":"y"},"u.Arbeit/ß":{}}}`; list() != want {
		t.Error(list())
	}
	if got := s.v3("GET", "/user/"+p.id+"/rooms/!a:x/account_data/m.tag", p.token, nil).ok(); got.raw != list() {
		t.Errorf("%s", got.raw)
	}
	s.v3("DELETE", base+"/m.favourite", p.token, nil).ok()
	s.v3("DELETE", base+"/m.favourite", p.token, nil).ok()
	if want := `{"tags":{"u.Arbeit/ß":{}}}`; list() != want {
		t.Error(list())
	}
	s.v3("PUT", base+"/t", p.token, m{"order": "first"}).refused(400, "M_BAD_JSON")
	s.v3("PUT", base+"/t", p.token, m{"order": 1.5}).refused(400, "M_INVALID_PARAM")
	s.v3("PUT", base+"/"+strings.Repeat("t", 256), p.token, m{}).refused(400, "M_INVALID_PARAM")
	s.v3("PUT", base+"/t", other.token, m{}).refused(403, "M_FORBIDDEN")
	s.v3("PUT", "/user/"+p.id+"/rooms/!a:x/account_data/m.tag", p.token, `{"tags":"broken"}`).ok()
	if list() != `{"tags":{}}` {
		t.Error(list())
	}
	s.v3("PUT", base+"/t", p.token, m{}).ok()
	if want := `{"tags":{"t":{}}}`; list() != want {
		t.Error(list())
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, other := s.register("alice"), s.register("bob")
	base := "/user/" + p.id + "/filter"
	first := s.v3("POST", base, p.token, `{"room":{"timeline":{"limit":10}},"event_format":"client","x.unknown":true}`).ok().text("filter_id")
	again := s.v3("POST", base, p.token, `{"x.unknown": true, "event_format":"client", "room":{"timeline":{"limit":10}}}`).ok().text("filter_id")
	if first != again || strings.HasPrefix(first, "{") {
		t.Errorf("%q %q", first, again)
	}
	if got := s.v3("GET", base+"/"+first, p.token, nil).ok(); got.raw != `{"event_format":"client","room":{"timeline":{"limit":10}},"x.unknown":true}` {
		t.Errorf("%s", got.raw)
	}
	s.v3("GET", base+"/none", p.token, nil).refused(404, "M_NOT_FOUND")
	s.v3("GET", base+"/"+first, other.token, nil).refused(403, "M_FORBIDDEN")
	s.v3("POST", base, other.token, m{}).refused(403, "M_FORBIDDEN")
	s.v3("POST", base, p.token, m{"room": 1}).refused(400, "M_BAD_JSON")
	s.v3("POST", base, p.token, `{"room":`).refused(400, "M_NOT_JSON")
}

func TestOpenID(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	path := "/user/" + p.id + "/openid/request_token"
	got := s.v3("POST", path, p.token, m{}).ok()
	if got.text("token_type") != "Bearer" || got.text("matrix_server_name") != serverName || got.body["expires_in"] != 3600.0 {
		t.Errorf("%s", got.raw)
	}
	s.whoami(got.text("access_token")).refused(401, "M_UNKNOWN_TOKEN")
	s.v3("POST", path, s.register("bob").token, m{}).refused(403, "M_FORBIDDEN")
	if !has(s, schema.ShortTokens, schema.ShortToken{Kind: account.OpenIDToken}, 1) {
		t.Error("the token was not stored")
	}
	s.clock.advance(2 * time.Hour)
	if err := account.Sweep(context.Background(), s.store, s.clock.Now(), uia.Lifetime); err != nil {
		t.Fatal(err)
	}
	if has(s, schema.ShortTokens, schema.ShortToken{Kind: account.OpenIDToken}, 1) {
		t.Error("the expired token was not swept")
	}
}

func TestThirdPartyIDsAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	if got := s.v3("GET", "/account/3pid", p.token, nil).ok(); got.raw != `{"threepids":[]}` {
		t.Errorf("%s", got.raw)
	}
	s.v3("POST", "/account/3pid/add", p.token, m{}).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
	s.v3("POST", "/account/3pid/email/requestToken", "", m{}).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
	s.v3("POST", "/register/email/requestToken", "", m{}).refused(403, "M_THREEPID_DENIED")
	s.v3("POST", "/register/email/requestToken", "", "x").refused(400, "M_NOT_JSON")
	s.v3("POST", "/account/3pid/delete", p.token, m{"medium": "email", "address": "a@example.org"}).ok()
	s.v3("POST", "/account/3pid/delete", p.token, m{}).refused(400, "M_MISSING_PARAM")
	s.v3("POST", "/account/3pid/unbind", p.token, m{"medium": "email", "address": 3}).refused(400, "M_BAD_JSON")
}

// A registration whose answer was lost can be repeated: there is one account, and whoever has its password is let in.
func TestARegistrationIsRepeated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, body := range map[string]m{"with a name": {"username": "alice"}, "without a name": {}} {
		body["password"] = pass
		first := s.v3("POST", "/register", "", body)
		body["auth"] = m{"type": "m.login.dummy", "session": first.text("session")}
		once := s.v3("POST", "/register", "", body).ok()
		again := s.v3("POST", "/register", "", body).ok()
		if once.text("user_id") != again.text("user_id") || once.text("access_token") == again.text("access_token") {
			t.Errorf("%s: %s and then %s", name, once.raw, again.raw)
		}
		s.whoami(again.text("access_token")).ok()
		body["password"] = "another password"
		s.v3("POST", "/register", "", body).refused(403, "M_FORBIDDEN") // the session is for what was asked first
	}
	quiet := m{"username": "carol", "password": pass, "inhibit_login": true}
	quiet["auth"] = m{"type": "m.login.dummy", "session": s.v3("POST", "/register", "", quiet).text("session")}
	for range 2 {
		if got := s.v3("POST", "/register", "", quiet).ok(); got.text("user_id") != "@carol:"+serverName || got.body["access_token"] != nil {
			t.Error(got.raw)
		}
	}
	// Nobody gets into an account that was there before.
	old := m{"username": "bob", "password": pass}
	bob := s.register("bob")
	s.v3("POST", "/register", "", old).refused(400, "M_USER_IN_USE")
	s.clock.advance(time.Minute)
	session := s.v3("POST", "/register", "", m{"password": pass}).text("session")
	old["auth"] = m{"type": "m.login.dummy", "session": session}
	s.v3("POST", "/register", "", old).refused(400, "M_USER_IN_USE")
	s.whoami(bob.token).ok()
}
