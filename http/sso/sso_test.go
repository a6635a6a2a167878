package sso_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

// TestSigningIn: somebody comes for the first time, and again, with another name at the provider.
func TestSigningIn(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := clienttest.NewWithProviders(t, p.configured())
	first := login(w, newBrowser(w).get(begin))
	if first.ID != "@carol:example.org" || first.Get("/profile/"+first.ID).OK().Text("displayname") != "Carol C." {
		t.Errorf("%s", first.ID)
	}
	if row, ok, err := schema.ThirdPartyIDs.Get(t.Context(), w.Store, schema.ThirdPartyID{Medium: "email", Address: "carol@example.com"}); err != nil || !ok || row.UserID != first.ID {
		t.Errorf("the address: %v %v", row, err)
	}
	p.set(func() {
		if p.asked.Get("code_challenge_method") != "S256" || p.asked.Get("nonce") == "" || p.asked.Get("scope") != "openid profile email" {
			t.Errorf("asked: %v", p.asked)
		}
		p.claims["preferred_username"] = "Caroline"
	})
	if again := login(w, newBrowser(w).get(begin)); again.ID != first.ID {
		t.Errorf("another account: %s", again.ID)
	}
	// From the sign-in page too, and to an app that must be agreed to.
	b := newBrowser(w)
	signIn := b.get("/_matrix/client/v3/login/sso/redirect?redirectUrl=https://app.example/")
	if !strings.Contains(signIn.body, "Sign in with Example ID") {
		t.Fatalf("%s", signIn.body)
	}
	confirm := b.get(signIn.toProvider(t))
	if back := b.submit("/_matrixon/client/continue", confirm); back.at.Host != "app.example" || back.at.Query().Get("loginToken") == "" {
		t.Errorf("%s %s", back.at, confirm.body)
	}
	// Deactivated accounts stay so.
	w.Write(schema.Accounts.Put(schema.Account{UserID: first.ID, Deactivated: true}))
	if refused := newBrowser(w).get(begin); refused.status != http.StatusForbidden || !strings.Contains(refused.body, "deactivated") {
		t.Errorf("%d %s", refused.status, refused.body)
	}
}

// TestChoosingAName: nothing usable tells the user name, or it is taken.
func TestChoosingAName(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := clienttest.NewWithProviders(t, p.configured())
	w.Register("carol")
	b := newBrowser(w)
	ask := b.get(begin)
	if !strings.Contains(ask.body, "Choose a user name") || !strings.Contains(ask.body, `value="carol"`) {
		t.Fatalf("%d %s", ask.status, ask.body)
	}
	const name = "/_matrixon/client/name"
	for _, wrong := range []string{"carol", "", "a b", "@x:example.org"} {
		if r := b.submit(name, ask, "name", wrong); r.status != http.StatusBadRequest || !strings.Contains(r.body, `role="alert"`) {
			t.Errorf("%q: %d", wrong, r.status)
		}
	}
	if u := login(w, b.submit(name, ask, "name", "carol2")); u.ID != "@carol2:example.org" {
		t.Errorf("%s", u.ID)
	}
	if r := b.submit(name, ask, "name", "carol3"); r.status != http.StatusBadRequest {
		t.Errorf("two accounts for one person: %d %s", r.status, r.at)
	}
	if r := b.do(http.MethodPost, name, url.Values{"carried": {"nonsense"}, "name": {"x"}}); r.status != http.StatusBadRequest {
		t.Errorf("forged: %d", r.status)
	}

	// Terms are agreed to before there is an account.
	w.Registration = client.RegistrationOptions{Documents: []client.Document{{Name: "Rules", URL: "https://example.org/rules"}}}
	p.set(func() { p.claims = j{"sub": "2", "preferred_username": "dave"} })
	b = newBrowser(w)
	ask = b.get(begin)
	if r := b.submit(name, ask, "name", "dave"); r.status != http.StatusBadRequest {
		t.Errorf("without agreeing: %d", r.status)
	}
	if u := login(w, b.submit(name, ask, "name", "dave", "agree", "1")); u.ID != "@dave:example.org" {
		t.Errorf("%s", u.ID)
	}
}

func TestExistingAccounts(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	open := p.configured()
	open.AllowExisting, open.NoNewAccounts = true, true
	w := clienttest.NewWithProviders(t, open)
	if r := newBrowser(w).get(begin); r.status != http.StatusForbidden {
		t.Errorf("a new account where none is made: %d", r.status)
	}
	w.Register("carol")
	if u := login(w, newBrowser(w).get(begin)); u.ID != "@carol:example.org" {
		t.Errorf("%s", u.ID)
	}
	p.set(func() { p.claims = j{"sub": "2", "preferred_username": "x"} })
	if r := newBrowser(w).get(begin); r.status != http.StatusForbidden {
		t.Errorf("%d", r.status)
	}
}

// TestUserinfo: what the id token lacks is asked for.
func TestUserinfo(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.claims, p.info = j{"sub": "1"}, j{"sub": "1", "preferred_username": "erin"}
	w := clienttest.NewWithProviders(t, p.configured())
	if u := login(w, newBrowser(w).get(begin)); u.ID != "@erin:example.org" {
		t.Errorf("%s", u.ID)
	}
	p.set(func() { p.info = j{"sub": "other", "preferred_username": "erin"} })
	if r := newBrowser(w).get(begin); r.status != http.StatusBadGateway {
		t.Errorf("about somebody else: %d", r.status)
	}
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := clienttest.NewWithProviders(t, p.configured())
	for name, forge := range map[string]func(j){
		"nonce": func(c j) { c["nonce"] = "other" }, "audience": func(c j) { c["aud"] = "other" }, "issuer": func(c j) { c["iss"] = "https://evil.example" },
		"expired": func(c j) { c["exp"] = 1 }, "no subject": func(c j) { c["sub"] = "" },
	} {
		p.set(func() { p.forge = forge })
		if r := newBrowser(w).get(begin); r.status != http.StatusBadGateway {
			t.Errorf("%s: %d %s", name, r.status, r.at)
		}
	}
	p.set(func() { p.forge = nil })
	// A callback in a browser that did not begin.
	victim := newBrowser(w)
	for _, query := range []string{"", "?state=ABC&code=x", "?code=x", "?state=%00", "?error=access_denied"} {
		if r := victim.get("/_matrixon/client/callback" + query); r.status != http.StatusBadRequest {
			t.Errorf("%q: %d", query, r.status)
		}
	}
	if r := victim.get("/_matrix/client/v3/login/sso/redirect/nobody?redirectUrl=https://a.b"); r.status != http.StatusNotFound || !strings.Contains(r.body, "<h1>") {
		t.Errorf("an unknown provider: %d %s", r.status, r.body)
	}
	gone := newProvider(t)
	gone.server.Close()
	if r := newBrowser(clienttest.NewWithProviders(t, gone.configured())).get(begin); r.status != http.StatusBadGateway {
		t.Errorf("a provider that is gone: %d", r.status)
	}
}

// TestProvingWithTheProvider is user-interactive authentication of users who have no password.
func TestProvingWithTheProvider(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := clienttest.NewWithProviders(t, p.configured())
	b := newBrowser(w)
	carol := login(w, b.get(begin))
	asked := carol.Do(http.MethodDelete, "/devices/"+carol.Device, clienttest.J{})
	if asked.Status != http.StatusUnauthorized || asked.At("flows").Raw != `[{"stages":["m.login.sso"]}]` {
		t.Fatalf("%d %s", asked.Status, asked.Raw)
	}
	auth := clienttest.J{"auth": clienttest.J{"session": asked.Text("session")}}
	fallback := "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=" + url.QueryEscape(asked.Text("session"))
	ask := b.get(fallback)
	if !strings.Contains(ask.body, "sign out devices of") || !strings.Contains(ask.body, carol.ID) {
		t.Fatalf("%d %s", ask.status, ask.body)
	}
	way := ask.toProvider(t)

	p.set(func() { p.claims = j{"sub": "2", "preferred_username": "mallory"} })
	if r := newBrowser(w).get(way); r.status != http.StatusForbidden {
		t.Errorf("somebody else: %d", r.status)
	}
	if r := carol.Do(http.MethodDelete, "/devices/"+carol.Device, auth); r.Status != http.StatusUnauthorized {
		t.Fatalf("before the proof: %d", r.Status)
	}
	p.set(func() { p.claims = j{"sub": "1"} })
	done := b.get(way)
	if done.status != http.StatusOK || !strings.Contains(done.body, "onAuthDone") || !strings.Contains(done.header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("%d %s", done.status, done.body)
	}
	p.set(func() {
		if p.asked.Get("prompt") != "login" {
			t.Errorf("the provider is not asked to make sure: %v", p.asked)
		}
	})
	carol.Do(http.MethodDelete, "/devices/"+carol.Device, auth).OK()
	if r := b.get("/_matrix/client/v3/auth/m.login.sso/fallback/web?session=x"); r.status != http.StatusNotFound {
		t.Errorf("no session: %d", r.status)
	}
	if r := b.get("/_matrix/client/v3/auth/m.login.sso/fallback/web"); r.status != http.StatusBadRequest {
		t.Errorf("no session: %d", r.status)
	}
}

// TestBackChannelLogout: the provider signs somebody out.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	told, deaf := p.configured(), p.configured()
	told.BackChannel, deaf.ID = true, "deaf"
	w := clienttest.NewWithProviders(t, told, deaf)
	b := newBrowser(w)
	carol := login(w, b.get(begin))
	event := j{"http://schemas.openid.net/event/backchannel-logout": j{}}
	post := func(id string, claims j) int {
		return b.do(http.MethodPost, "/_matrixon/client/backchannel/"+id, url.Values{"logout_token": {p.sign(claims)}}).status
	}
	for name, status := range map[string]int{
		"no event": post("idp", j{"sub": "1"}), "an id token": post("idp", j{"sub": "1", "nonce": "n", "events": event}), "nobody": post("idp", j{"events": event}),
		"another audience": post("idp", j{"sub": "1", "events": event, "aud": "x"}),
	} {
		if status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status := post("deaf", j{"sub": "1", "events": event}); status != http.StatusNotFound {
		t.Errorf("a provider that may not: %d", status)
	}
	carol.Get("/account/whoami").OK()
	if status := post("idp", j{"sub": "1", "events": event}); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	carol.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	if r := b.get("/_matrixon/client/account"); !strings.Contains(r.body, "Sign in") {
		t.Error("the browser is still signed in")
	}
}

// TestOnlyProviders: nobody signs in with a password, and where there is one provider people go straight to it.
func TestOnlyProviders(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := clienttest.NewWithoutPasswords(t, p.configured())
	b := newBrowser(w)
	carol := login(w, b.get("/_matrix/client/v3/login/sso/redirect?redirectUrl=https://trusted.example/"))
	if flows := w.Nobody().Get("/login").OK().At(`flows.#(type=="m.login.password")`); flows.Exists() {
		t.Errorf("%s", flows.Raw)
	}
	w.Nobody().Post("/login", clienttest.J{"type": "m.login.password", "identifier": clienttest.J{"type": "m.id.user", "user": carol.ID}, "password": "x"}).Refused(403, "M_FORBIDDEN")
	if r := newBrowser(w).do(http.MethodPost, "/_matrixon/client/sign-in", url.Values{"user": {"carol"}, "password": {"x"}}); r.status != http.StatusForbidden || strings.Contains(r.body, "Forgotten") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if out := b.do(http.MethodPost, "/_matrixon/client/sign-out", url.Values{}); !strings.Contains(out.body, "Sign in with Example ID") || strings.Contains(out.body, `name="password"`) {
		t.Errorf("who has signed out is signed in again: %s", out.body)
	}
}

// TestConnecting: somebody who has an account lets a provider into it, and out again.
func TestConnecting(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := clienttest.NewWithProviders(t, p.configured())
	w.Registration = client.RegistrationOptions{Open: true}
	for _, name := range []string{"alice", "bob"} {
		w.Nobody().Post("/register", clienttest.J{"username": name, "password": "a password", "inhibit_login": true, "auth": clienttest.J{"type": "m.login.dummy"}}).OK()
	}
	const profile, connect = "/_matrixon/client/account?action=org.matrix.profile", "/_matrixon/client/with/idp?connect=1"
	signIn := func(b *browser, name string) page {
		return b.submit("/_matrixon/client/sign-in", b.get(profile), "user", name, "password", "a password")
	}
	alice := newBrowser(w)
	if at := signIn(alice, "alice"); !strings.Contains(at.body, "Connect with Example ID") {
		t.Fatalf("%s", at.body)
	}
	if at := alice.get(connect); !strings.Contains(at.body, "Disconnect") {
		t.Fatalf("%d %s", at.status, at.body)
	}
	if u := login(w, newBrowser(w).get(begin)); u.ID != "@alice:example.org" {
		t.Errorf("the provider signs in %s", u.ID)
	}
	bob := newBrowser(w)
	signIn(bob, "bob")
	if at := bob.get(connect); at.status != http.StatusBadRequest {
		t.Errorf("one person of the provider has two accounts: %d %s", at.status, at.body)
	}
	if at := newBrowser(w).get(connect); !strings.Contains(at.body, "Sign in") {
		t.Errorf("nobody is signed in: %s", at.body)
	}
	const disconnect = "/_matrixon/client/account/disconnect"
	which := url.Values{"provider": {"idp"}, "subject": {"1"}}
	if at := bob.do(http.MethodPost, disconnect, which); at.status != http.StatusOK {
		t.Errorf("what is not bob's: %d", at.status)
	}
	login(w, newBrowser(w).get(begin))
	if at := alice.do(http.MethodPost, disconnect, which); !strings.Contains(at.body, "Connect with Example ID") {
		t.Errorf("%d %s", at.status, at.body)
	}
	b := newBrowser(w)
	if u := login(w, b.get(begin)); u.ID != "@carol:example.org" {
		t.Errorf("the provider still signs in %s", u.ID)
	}
	if at := b.do(http.MethodPost, disconnect, which); at.status != http.StatusForbidden {
		t.Errorf("the only way into the account is gone: %d", at.status)
	}
}
