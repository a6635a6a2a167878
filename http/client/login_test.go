package client_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestRegistration(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	body := m{"username": "Alice", "password": pass, "device_id": "PHONE", "initial_device_display_name": "Alice's phone"}

	first := s.v3("POST", "/register", "", body)
	if first.status != 401 || first.body["errcode"] != nil {
		t.Fatalf("%d %s", first.status, first.raw)
	}
	flows, _ := first.body["flows"].([]any)
	if len(flows) != 1 || first.body["params"] == nil || first.body["completed"] == nil {
		t.Errorf("the challenge lacks something: %s", first.raw)
	}
	body["auth"] = m{"type": "m.login.dummy", "session": first.text("session")}
	done := s.v3("POST", "/register", "", body).ok()
	if done.text("user_id") != "@alice:example.org" || done.text("device_id") != "PHONE" || done.text("home_server") != serverName {
		t.Errorf("%s", done.raw)
	}
	if done.body["refresh_token"] != nil || done.body["expires_in_ms"] != nil {
		t.Errorf("a refresh token that nobody asked for: %s", done.raw)
	}
	who := s.whoami(done.text("access_token")).ok()
	if who.text("user_id") != "@alice:example.org" || who.text("device_id") != "PHONE" || who.body["is_guest"] != false {
		t.Errorf("%s", who.raw)
	}

	// The name is looked at before anything is asked.
	for name, code := range map[string]string{
		"alice": "M_USER_IN_USE", "ALICE": "M_USER_IN_USE", "": "M_INVALID_USERNAME", "a b": "M_INVALID_USERNAME", "ä": "M_INVALID_USERNAME",
		"@bob:example.org": "M_INVALID_USERNAME", strings.Repeat("a", 250): "M_INVALID_USERNAME", "a:b": "M_INVALID_USERNAME",
	} {
		s.v3("POST", "/register", "", m{"username": name, "password": pass}).refused(400, code)
		if name != "" {
			s.v3("GET", "/register/available?username="+strings.ReplaceAll(strings.ReplaceAll(name, " ", "%20"), "ä", "%C3%A4"), "", nil).refused(400, code)
		}
	}
	s.v3("GET", "/register/available", "", nil).refused(400, "M_MISSING_PARAM")
	if got := s.v3("GET", "/register/available?username=bob", "", nil).ok(); got.body["available"] != true {
		t.Errorf("%s", got.raw)
	}
	s.v3("POST", "/register?kind=guest", "", m{}).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
	s.v3("POST", "/register?kind=x", "", m{}).refused(400, "M_INVALID_PARAM")
	s.v3("POST", "/register", "", m{"username": 7}).refused(400, "M_BAD_JSON")
	s.v3("POST", "/register", "", m{"username": "nopass", "auth": m{"type": "m.login.dummy"}}).refused(400, "M_MISSING_PARAM")
	s.v3("POST", "/register", "", m{"username": "x", "password": pass, "device_id": strings.Repeat("d", 256), "auth": m{"type": "m.login.dummy"}}).refused(400, "M_INVALID_PARAM")
	s.v3("POST", "/register", "", "nonsense").refused(400, "M_NOT_JSON")
	s.v3("POST", "/register", "", m{"username": "x", "password": pass, "auth": "m.login.dummy"}).refused(400, "M_BAD_JSON")

	inhibited := s.v3("POST", "/register", "", m{"username": "quiet", "password": pass, "inhibit_login": true, "auth": m{"type": "m.login.dummy"}}).ok()
	if inhibited.body["access_token"] != nil || inhibited.body["device_id"] != nil || inhibited.text("user_id") != "@quiet:example.org" {
		t.Errorf("%s", inhibited.raw)
	}
	unnamed := s.v3("POST", "/register", "", m{"password": pass, "auth": m{"type": "m.login.dummy"}}).ok()
	if len(unnamed.text("device_id")) != 10 || !strings.HasSuffix(unnamed.text("user_id"), ":example.org") {
		t.Errorf("%s", unnamed.raw)
	}
}

func TestRegistrationOfOneNameByMany(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 10 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			a := s.v3("POST", "/register", "", m{"username": "same", "password": pass, "auth": m{"type": "m.login.dummy"}})
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		}()
	}
	wait.Wait()
	if statuses[200] != 1 || statuses[400] != 9 {
		t.Errorf("statuses: %v", statuses)
	}
}

// TestTokenValidityWithoutTokens: only a server that registers nobody refuses to say that a token is no good.
func TestTokenValidityWithoutTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *setup) { c.registration.Open = true })
	const path = "/_matrix/client/v1/register/m.login.registration_token/validity"
	if got := s.do("GET", path+"?token=t", "", nil).ok(); got.body["valid"] != false {
		t.Errorf("%s", got.raw)
	}
	s.do("GET", path, "", nil).refused(400, "M_MISSING_PARAM")
}

func TestRegistrationClosed(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *setup) { c.registration.Open = false })
	s.v3("POST", "/register", "", m{"username": "a", "password": pass}).refused(403, "M_FORBIDDEN")
	s.v3("GET", "/register/available?username=a", "", nil).refused(403, "M_FORBIDDEN")
	s.do("GET", "/_matrix/client/v1/register/m.login.registration_token/validity?token=t", "", nil).refused(403, "M_FORBIDDEN")
}

func TestRegistrationTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *setup) {
		c.registration.TokensRequired = true
		c.registration.Terms = m{"policies": m{}}
	})
	s.write(
		schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "two", UsesAllowed: 2}),
		schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "any", UsesAllowed: -1}),
		schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "old", UsesAllowed: -1, ExpiresTS: s.clock.Now().UnixMilli()}),
		schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "spent", UsesAllowed: 3, Completed: 3}),
	)
	valid := func(token string) bool {
		return s.do("GET", "/_matrix/client/v1/register/m.login.registration_token/validity?token="+token, "", nil).ok().body["valid"] == true
	}
	for token, want := range map[string]bool{"two": true, "any": true, "old": false, "spent": false, "unknown": false} {
		if valid(token) != want {
			t.Errorf("%s: valid %v", token, !want)
		}
	}
	register := func(name, token string) answer {
		t.Helper()
		body := m{"username": name, "password": pass}
		first := s.v3("POST", "/register", "", body)
		body["auth"] = m{"type": "m.login.terms", "session": first.text("session")}
		s.v3("POST", "/register", "", body).refused(401, "M_FORBIDDEN") // not the first stage
		body["auth"] = m{"type": "m.login.registration_token", "token": token, "session": first.text("session")}
		second := s.v3("POST", "/register", "", body)
		if second.status != 401 || second.body["errcode"] != nil {
			return second
		}
		if c, _ := second.body["completed"].([]any); len(c) != 1 {
			t.Fatalf("completed: %s", second.raw)
		}
		body["auth"] = m{"type": "m.login.terms", "session": first.text("session")}
		return s.v3("POST", "/register", "", body)
	}
	register("a", "unknown").refused(401, "M_FORBIDDEN")
	register("a", "old").refused(401, "M_FORBIDDEN")
	register("a", "two").ok()
	register("b", "any").ok()
	register("c", "two").ok()
	if valid("two") {
		t.Error("a token with two uses is valid after both")
	}
	register("d", "two").refused(401, "M_FORBIDDEN")
}

func TestSharedSecretRegistration(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *setup) { c.registration.Open = false })
	const path = "/_synapse/admin/v1/register"
	mac := func(parts ...string) string {
		h := hmac.New(sha1.New, []byte("shared"))
		h.Write([]byte(strings.Join(parts, "\x00")))
		return hex.EncodeToString(h.Sum(nil))
	}
	nonce := func() string { return s.do("GET", path, "", nil).ok().text("nonce") }
	n := nonce()
	done := s.do("POST", path, "", m{"nonce": n, "username": "boss", "password": pass, "admin": true, "displayname": "The Boss", "mac": mac(n, "boss", pass, "admin")}).ok()
	if done.text("user_id") != "@boss:example.org" {
		t.Errorf("%s", done.raw)
	}
	s.whoami(done.text("access_token")).ok()
	if got := s.v3("GET", "/profile/@boss:example.org", "", nil).ok(); got.raw != `{"displayname":"The Boss"}` {
		t.Errorf("%s", got.raw)
	}
	n = nonce()
	s.do("POST", path, "", m{"nonce": n, "username": "boss", "password": pass, "mac": mac(n, "boss", pass, "notadmin")}).refused(400, "M_USER_IN_USE")
	s.do("POST", path, "", m{"nonce": n, "username": "x", "password": pass, "mac": mac(n, "x", pass, "admin")}).refused(403, "M_FORBIDDEN")
	s.do("POST", path, "", m{"nonce": n, "username": "x", "password": pass, "mac": "zz"}).refused(403, "M_FORBIDDEN")
	s.do("POST", path, "", m{"nonce": "made up", "username": "x", "password": pass, "mac": mac("made up", "x", pass, "notadmin")}).refused(400, "M_UNKNOWN")
	s.do("POST", path, "", m{"nonce": n, "username": "x"}).refused(400, "M_BAD_JSON")
	s.do("POST", path, "", m{"nonce": n, "username": "typed", "password": pass, "user_type": "bot", "mac": mac(n, "typed", pass, "notadmin", "bot")}).ok()
	s.clock.advance(2 * time.Minute)
	s.do("POST", path, "", m{"nonce": n, "username": "x", "password": pass, "mac": mac(n, "x", pass, "notadmin")}).refused(400, "M_UNKNOWN")
}

func TestLoginNamesTheUser(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	ways := map[string]m{
		"localpart":       {"identifier": m{"type": "m.id.user", "user": "alice"}},
		"full id":         {"identifier": m{"type": "m.id.user", "user": "@alice:example.org"}},
		"mixed case":      {"identifier": m{"type": "m.id.user", "user": "aLiCe"}},
		"mixed case id":   {"identifier": m{"type": "m.id.user", "user": "@Alice:example.org"}},
		"user":            {"user": "alice"},
		"user as full id": {"user": "@alice:example.org"},
	}
	for name, way := range ways {
		way["type"], way["password"] = "m.login.password", pass
		got := s.v3("POST", "/login", "", way)
		if got.status != 200 || got.text("user_id") != p.id {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	bad := []struct {
		name   string
		body   any
		status int
		code   string
	}{
		{"wrong password", m{"type": "m.login.password", "user": "alice", "password": "x"}, 403, "M_FORBIDDEN"},
		{"empty password", m{"type": "m.login.password", "user": "alice", "password": ""}, 403, "M_FORBIDDEN"},
		{"unknown user", m{"type": "m.login.password", "user": "nobody", "password": pass}, 403, "M_FORBIDDEN"},
		{"other server", m{"type": "m.login.password", "user": "@alice:other.org", "password": pass}, 403, "M_FORBIDDEN"},
		{"no password", m{"type": "m.login.password", "user": "alice"}, 400, "M_MISSING_PARAM"},
		{"no user", m{"type": "m.login.password", "password": pass}, 400, "M_MISSING_PARAM"},
		{"3pid", m{"type": "m.login.password", "identifier": m{"type": "m.id.thirdparty", "medium": "email", "address": "a@b"}, "password": pass}, 403, "M_FORBIDDEN"},
		{"old 3pid", m{"type": "m.login.password", "medium": "email", "address": "a@b", "password": pass}, 403, "M_FORBIDDEN"},
		{"unknown identifier", m{"type": "m.login.password", "identifier": m{"type": "x"}, "password": pass}, 400, "M_UNKNOWN"},
		{"identifier is a string", m{"type": "m.login.password", "identifier": "alice", "password": pass}, 400, "M_BAD_JSON"},
		{"unknown type", m{"type": "m.login.carrier_pigeon"}, 400, "M_UNKNOWN"},
		{"no type", m{}, 400, "M_MISSING_PARAM"},
		{"type is a number", m{"type": 3}, 400, "M_BAD_JSON"},
		{"password is a number", m{"type": "m.login.password", "user": "alice", "password": 3}, 400, "M_BAD_JSON"},
		{"no JSON", "{", 400, "M_NOT_JSON"},
		{"made-up token", m{"type": "m.login.token", "token": "x"}, 403, "M_FORBIDDEN"},
		{"unknown token", m{"type": "m.login.token", "token": secret.New(secret.Login)}, 403, "M_FORBIDDEN"},
		{"no token", m{"type": "m.login.token"}, 400, "M_MISSING_PARAM"},
		{"appservice", m{"type": "m.login.application_service", "user": "alice"}, 401, "M_MISSING_TOKEN"},
	}
	for _, tt := range bad {
		got := s.v3("POST", "/login", "", tt.body)
		if got.status != tt.status || got.body["errcode"] != tt.code {
			t.Errorf("%s: %d %s", tt.name, got.status, got.raw)
		}
	}
	flows := s.v3("GET", "/login", "", nil).ok()
	if !strings.Contains(flows.raw, `"m.login.password"`) || !strings.Contains(flows.raw, `"get_login_token":true`) || strings.Contains(flows.raw, "sso") {
		t.Errorf("%s", flows.raw)
	}
}

func TestLoginReusesADevice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	again := s.login(p, m{"device_id": p.device, "initial_device_display_name": "ignored"}).ok()
	if again.text("device_id") != p.device {
		t.Errorf("%s", again.raw)
	}
	s.whoami(p.token).refused(401, "M_UNKNOWN_TOKEN")
	s.whoami(again.text("access_token")).ok()
	if got := s.v3("GET", "/devices", again.text("access_token"), nil).ok(); len(got.body["devices"].([]any)) != 1 || strings.Contains(got.raw, "ignored") {
		t.Errorf("%s", got.raw)
	}
	s.write(schema.CrossSigningKeys.Put(schema.CrossSigningKey{UserID: p.id, Usage: "master", JSON: []byte(`{"keys":{"ed25519:abc":"abc"}}`)}))
	s.login(p, m{"device_id": "abc"}).refused(403, "M_FORBIDDEN")
}

func TestGuessingPasswordsIsLimitedByAccount(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *setup) {
		c.limits = api.NewLimits(map[api.Limit]api.Rate{api.LimitLoginFailed: {PerSecond: 0.1, Burst: 3}}, time.Now)
	})
	p := s.register("alice")
	for range 3 {
		s.v3("POST", "/login", "", m{"type": "m.login.password", "user": "alice", "password": "x"}).refused(403, "M_FORBIDDEN")
	}
	s.v3("POST", "/login", "", m{"type": "m.login.password", "user": "alice", "password": "x"}).refused(429, "M_LIMIT_EXCEEDED")
	s.login(p, nil).refused(429, "M_LIMIT_EXCEEDED")
	s.login(s.register("bob"), nil).ok()
}

func TestLoginToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	const path = "/_matrix/client/v1/login/get_token"
	issued := s.prove("POST", path, p, m{}).ok()
	if issued.body["expires_in_ms"] != 120000.0 {
		t.Errorf("%s", issued.raw)
	}
	use := m{"type": "m.login.token", "token": issued.text("login_token"), "device_id": "NEW"}
	if got := s.v3("POST", "/login", "", use).ok(); got.text("user_id") != p.id || got.text("device_id") != "NEW" {
		t.Errorf("%s", got.raw)
	}
	s.v3("POST", "/login", "", use).refused(403, "M_FORBIDDEN")
	late := s.prove("POST", path, p, m{}).ok()
	s.clock.advance(3 * time.Minute)
	s.v3("POST", "/login", "", m{"type": "m.login.token", "token": late.text("login_token")}).refused(403, "M_FORBIDDEN")

	// A completed session gives one token only.
	session := s.do("POST", path, p.token, m{}).text("session")
	auth := m{"auth": m{"type": "m.login.password", "identifier": m{"type": "m.id.user", "user": "alice"}, "password": pass, "session": session}}
	s.do("POST", path, p.token, auth).ok()
	s.do("POST", path, p.token, auth).refused(401, "M_UNKNOWN")
}

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	first := s.login(p, m{"refresh_token": true, "device_id": "D"}).ok()
	if first.body["expires_in_ms"] != 3600000.0 {
		t.Errorf("%s", first.raw)
	}
	refresh := func(token string) answer { return s.v3("POST", "/refresh", "", m{"refresh_token": token}) }
	s.whoami(first.text("access_token")).ok()
	s.clock.advance(2 * time.Hour)
	if got := s.whoami(first.text("access_token")).refused(401, "M_UNKNOWN_TOKEN"); got.body["soft_logout"] != true {
		t.Errorf("an expired token: %s", got.raw)
	}
	lost := refresh(first.text("refresh_token")).ok() // the answer never arrives
	second := refresh(first.text("refresh_token")).ok()
	s.whoami(lost.text("access_token")).refused(401, "M_UNKNOWN_TOKEN")
	refresh(lost.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN")

	if got := s.whoami(second.text("access_token")).ok(); got.text("device_id") != "D" {
		t.Errorf("%s", got.raw)
	}
	// The new access token was used: what it replaced has ended.
	refresh(first.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN")
	s.whoami(first.text("access_token")).refused(401, "M_UNKNOWN_TOKEN")

	// Using the new refresh token ends the old pair too.
	third := refresh(second.text("refresh_token")).ok()
	fourth := refresh(third.text("refresh_token")).ok()
	refresh(second.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN")
	s.whoami(fourth.text("access_token")).ok()

	s.v3("POST", "/refresh", "", m{}).refused(400, "M_MISSING_PARAM")
	refresh("x").refused(401, "M_UNKNOWN_TOKEN")
	s.v3("POST", "/logout", fourth.text("access_token"), nil).ok()
	refresh(fourth.text("refresh_token")).refused(401, "M_UNKNOWN_TOKEN")
}

func TestLogout(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	other := s.login(p, nil).ok()
	s.write(
		schema.ToDevices.Put(schema.ToDevice{UserID: p.id, DeviceID: p.device, Sender: "@b:x", Type: "t", Content: []byte("{}")}),
		schema.OneTimeKeys.Put(schema.OneTimeKey{UserID: p.id, DeviceID: p.device, Algorithm: "a", KeyID: "k", JSON: []byte("{}")}),
		schema.KeyBackups.Put(schema.KeyBackup{UserID: p.id, Version: 1, Algorithm: "a", AuthData: []byte("{}")}),
	)
	s.whoami(p.token).ok()
	s.v3("POST", "/logout", p.token, nil).ok()
	if got := s.whoami(p.token).refused(401, "M_UNKNOWN_TOKEN"); got.body["soft_logout"] != false {
		t.Errorf("%s", got.raw)
	}
	s.whoami(other.text("access_token")).ok()
	if has(s, schema.ToDevices, schema.ToDevice{UserID: p.id}, 1) || has(s, schema.OneTimeKeys, schema.OneTimeKey{UserID: p.id}, 1) {
		t.Error("the device's inbox or keys outlived it")
	}
	if !has(s, schema.KeyBackups, schema.KeyBackup{UserID: p.id}, 1) {
		t.Error("the backup is gone with the device")
	}
	third := s.login(p, nil).ok()
	s.v3("POST", "/logout/all", third.text("access_token"), m{}).ok()
	for _, token := range []string{other.text("access_token"), third.text("access_token")} {
		s.whoami(token).refused(401, "M_UNKNOWN_TOKEN")
	}
	if has(s, schema.AccessTokens, schema.AccessToken{}, 0) || has(s, schema.TokensByDevice, schema.TokenByDevice{}, 0) || has(s, schema.Devices, schema.Device{}, 0) {
		t.Error("rows of sessions are left over")
	}
}

func TestLockedAndSuspended(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	set := func(locked, suspended bool) {
		a := schema.Account{UserID: p.id}
		row, _, err := schema.Accounts.Get(t.Context(), s.store, a)
		if err != nil {
			t.Fatal(err)
		}
		row.Locked, row.Suspended = locked, suspended
		s.write(schema.Accounts.Put(row))
		s.tokens.Forget(p.id)
	}
	set(true, false)
	if got := s.whoami(p.token).refused(401, "M_USER_LOCKED"); got.body["soft_logout"] != true {
		t.Errorf("%s", got.raw)
	}
	if got := s.login(p, nil).refused(401, "M_USER_LOCKED"); got.body["soft_logout"] != true {
		t.Errorf("%s", got.raw)
	}
	set(false, true)
	s.whoami(p.token).ok()
	s.v3("PUT", "/profile/"+p.id+"/displayname", p.token, m{"displayname": "x"}).refused(403, "M_USER_SUSPENDED")
	s.v3("PUT", "/user/"+p.id+"/account_data/m.cross_signing.master", p.token, m{}).ok()
	s.login(p, nil).ok()
	set(true, false)
	s.v3("POST", "/logout", p.token, nil).ok()
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	v := s.do("GET", "/_matrix/client/versions", "stale", nil).ok()
	for _, want := range []string{`"v1.1"`, `"v1.11"`, `"v1.19"`, `"r0.6.1"`, `"unstable_features"`} {
		if !strings.Contains(v.raw, want) {
			t.Errorf("versions lack %s", want)
		}
	}
	s.do("GET", "/.well-known/matrix/client", "", nil).refused(404, "M_NOT_FOUND")
	s.do("GET", "/.well-known/matrix/support", "", nil).refused(404, "M_NOT_FOUND")
	s.do("GET", "/.well-known/matrix/policy_server", "", nil).refused(404, "M_NOT_FOUND")
	p := s.register("alice")
	c := s.v3("GET", "/capabilities", p.token, nil).ok()
	for _, want := range []string{`"default":"12"`, `"m.profile_fields":{"enabled":true}`, `"m.3pid_changes":{"enabled":false}`} {
		if !strings.Contains(c.raw, want) {
			t.Errorf("capabilities lack %s: %s", want, c.raw)
		}
	}
	if strings.Contains(c.raw, "account_moderation") {
		t.Error("an ordinary user can moderate accounts")
	}
	known := newServer(t, func(c *setup) {
		c.account.Discovery.BaseURL = "https://m.example.org"
		c.account.Discovery.WellKnown = m{"org.example": m{}}
		c.account.Discovery.Support = &client.Support{SupportPage: "https://example.org/help"}
		c.account.Discovery.PolicyKey = "6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s"
	})
	if got := known.do("GET", "/.well-known/matrix/policy_server", "", nil).ok(); got.raw != `{"public_keys":{"ed25519":"6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s"}}` {
		t.Errorf("%s", got.raw)
	}
	if got := known.do("GET", "/.well-known/matrix/client", "", nil).ok(); got.raw != `{"m.homeserver":{"base_url":"https://m.example.org"},"org.example":{}}` {
		t.Errorf("%s", got.raw)
	}
	if got := known.do("GET", "/.well-known/matrix/support", "", nil).ok(); got.raw != `{"support_page":"https://example.org/help"}` {
		t.Errorf("%s", got.raw)
	}
	if got := known.login(known.register("a"), nil).ok(); got.body["well_known"] == nil {
		t.Errorf("%s", got.raw)
	}
}
