package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

const account = "/_matrixon/client/account"

// signedIn is alice with a browser.
func (w *world) signedIn() *person {
	w.t.Helper()
	p := w.person()
	p.signIn(p.get(account))
	return p
}

func TestAccountPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, _ := w.app("PHONE")
	alice := w.with(got.json("access_token"))
	p := w.person()
	if next := p.signIn(p.get(account + "?action=org.matrix.session_view&device_id=PHONE")); next != account+"?action=org.matrix.session_view&device_id=PHONE" {
		t.Errorf("goes on to %s", next)
	}
	for query, want := range map[string]string{
		"": "You are signed in as @alice:example.org", "?action=org.matrix.devices_list": "PHONE", "?action=org.matrix.device_view&device_id=PHONE": "https://app.example/",
		"?action=org.matrix.device_delete&device_id=PHONE": "Sign out this device?", "?action=org.matrix.profile": "New password", "?action=org.matrix.session_view": "Devices",
	} {
		if page := p.get(account + query); page.status != http.StatusOK || !strings.Contains(page.body, want) {
			t.Errorf("%s: %d %s", query, page.status, page.body)
		}
	}
	if r := p.get(account + "?action=org.matrix.device_view&device_id=NONE"); r.status != http.StatusNotFound {
		t.Errorf("no device: %d", r.status)
	}
	p.post(account+"/profile", url.Values{"name": {"Alice L."}}).ok()
	if name := alice.Get("/profile/@alice:example.org").OK().Text("displayname"); name != "Alice L." {
		t.Errorf("name: %s", name)
	}
	p.post(account+"/device", url.Values{"device_id": {"PHONE"}}).to()
	alice.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	if r := w.person().post(account+"/device", url.Values{"device_id": {"PHONE"}}).to(); r.Path != "/_matrixon/client/sign-in" {
		t.Errorf("who is not signed in is sent to %s", r)
	}
}

func TestChangingThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, elsewhere := w.signedIn(), w.signedIn()
	change := func(old, pw, again string) reply {
		return p.post(account+"/password", url.Values{"old": {old}, "new": {pw}, "again": {again}, "out": {"1"}})
	}
	if r := change("wrong", "new password", "new password"); r.status != http.StatusForbidden {
		t.Errorf("the wrong old password: %d", r.status)
	}
	if r := change(password, "new password", "other"); r.status != http.StatusBadRequest {
		t.Errorf("two new passwords: %d", r.status)
	}
	change(password, "new password", "new password").to()
	p.get(account).ok()
	if to := elsewhere.get(account).to(); to.Path != "/_matrixon/client/sign-in" {
		t.Errorf("another browser is still signed in: %s", to)
	}
}

func TestDeactivating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, _ := w.app("PHONE")
	p := w.signedIn()
	w.Clock.Advance(time.Hour)
	again := p.get(account + "?action=org.matrix.account_deactivate")
	page := p.get(again.to().String()).ok()
	if !strings.Contains(page.body, "Show that it is you") {
		t.Fatalf("%s", page.body)
	}
	if r := p.post(account+"/deactivate", url.Values{"sure": {"1"}}); r.status != http.StatusSeeOther {
		t.Fatalf("without proof: %d", r.status)
	}
	next := p.post("/_matrixon/client/sign-in", fields(page, "password", password)).to()
	p.get(next.String()).ok()
	if r := p.post(account+"/deactivate", url.Values{}); r.status != http.StatusBadRequest {
		t.Errorf("without a tick: %d", r.status)
	}
	p.post(account+"/deactivate", url.Values{"sure": {"1"}}).ok()
	w.with(got.json("access_token")).Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	if to := p.get(account).to(); to.Path != "/_matrixon/client/sign-in" {
		t.Errorf("still signed in: %s", to)
	}
}

// TestResettingTheIdentity: an app of OAuth 2.0 can replace the cross-signing keys once the user has agreed in the browser.
func TestResettingTheIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, _ := w.app("PHONE")
	alice := w.with(got.json("access_token"))
	keys := func(public string, session string) clienttest.J {
		body := clienttest.J{"master_key": clienttest.J{"user_id": "@alice:example.org", "usage": []string{"master"}, "keys": clienttest.J{"ed25519:" + public: public}}}
		if session != "" {
			body["auth"] = clienttest.J{"session": session}
		}
		return body
	}
	public := func(n byte) string { return strings.Repeat(string(rune('A'+n)), 42) + "A" }
	const upload = "/keys/device_signing/upload"
	alice.Post(upload, keys(public(1), "")).OK()
	asked := alice.Post(upload, keys(public(2), ""))
	page := asked.At("params.m\\.oauth.url").Str
	if asked.Status != http.StatusUnauthorized || asked.At("flows.0.stages.0").Str != "m.oauth" || page == "" {
		t.Fatalf("%d %s", asked.Status, asked.Raw)
	}
	session := asked.Text("session")
	if r := alice.Post(upload, keys(public(2), session)); r.Status != http.StatusUnauthorized {
		t.Fatalf("before the user has agreed: %d %s", r.Status, r.Raw)
	}
	p := w.person()
	p.get(p.signIn(p.get(page))).ok()
	p.post(account+"/reset", url.Values{}).ok()
	alice.Post(upload, keys(public(2), session)).OK()
	if r := alice.Post(upload, keys(public(3), "")); r.Status != http.StatusUnauthorized {
		t.Errorf("once is not for ever: %d %s", r.Status, r.Raw)
	}
}

// TestSigningInForALegacyApp is m.login.sso with the server's own pages.
func TestSigningInForALegacyApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const redirect = "/_matrix/client/v3/login/sso/redirect"
	begin := func(p *person, app string) reply { return p.get(redirect + "?redirectUrl=" + url.QueryEscape(app)) }
	login := func(token string) *clienttest.Answer {
		return w.Nobody().Post("/login", clienttest.J{"type": "m.login.token", "token": token})
	}
	p := w.person()
	signedIn := func(p *person, app string) reply { return p.get(p.signIn(p.get(begin(p, app).to().String()))) }
	page := signedIn(p, "https://app.example/?loginToken=old&x=1").ok()
	if !strings.Contains(page.body, "app.example") {
		t.Errorf("the page does not say where it leads: %s", page.body)
	}
	to := p.post("/_matrixon/client/continue", fields(page)).to()
	if to.Host != "app.example" || to.Query().Get("x") != "1" || len(to.Query()["loginToken"]) != 1 {
		t.Fatalf("%s", to)
	}
	if user := login(to.Query().Get("loginToken")).OK().Text("user_id"); user != "@alice:example.org" {
		t.Errorf("%s", user)
	}
	login(to.Query().Get("loginToken")).Refused(403, "M_FORBIDDEN")

	// An app that the operator trusts is let in at once, but only when the user has just signed in.
	p = w.person()
	if to := signedIn(p, "https://trusted.example/a").to(); to.Host != "trusted.example" || to.Query().Get("loginToken") == "" {
		t.Errorf("trusted: %s", to)
	}
	w.Clock.Advance(time.Hour)
	p.get(begin(p, "https://trusted.example/a").to().String()).ok()
	p = w.person()
	signedIn(p, "https://trusted.example.evil.org/").ok()

	for query, code := range map[string]string{"": "M_MISSING_PARAM", "?redirectUrl=javascript:alert(1)": "M_INVALID_PARAM", "?redirectUrl=data:text/html,x": "M_INVALID_PARAM",
		"?redirectUrl=/a": "M_INVALID_PARAM", "?redirectUrl=https://a.b&action=x": "M_INVALID_PARAM"} {
		w.Nobody().Get("/login/sso/redirect"+query).Refused(400, code)
	}
	w.Nobody().Get("/login/sso/redirect/nobody?redirectUrl=https://a.b").Refused(404, "M_NOT_FOUND")
	if to := p.get(redirect + "?action=register&redirectUrl=https://a.b").to(); to.Path != "/_matrixon/client/sign-up" {
		t.Errorf("register: %s", to)
	}
	token := begin(p, "com.example.app:/cb")
	page = p.get(token.to().String()).ok()
	if to := p.post("/_matrixon/client/continue", fields(page)).to(); to.Scheme != "com.example.app" || to.Query().Get("loginToken") == "" {
		t.Errorf("%s", to)
	}
}

// TestGoingOnStaysHere: nobody can make the pages send people elsewhere, or sign in with a wrong password.
func TestGoingOnStaysHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/_matrixon/client/sign-in"
	for _, next := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "/_matrixon/client//evil.example", "javascript:alert(1)", "/_matrixon/client/../../x", "/elsewhere", "/_matrixon/clientele/"} {
		p := w.person()
		page := p.get(path + "?next=" + url.QueryEscape(next)).ok()
		if to := p.post(path, fields(page, "user", "alice", "password", password)).to(); to.String() != account {
			t.Errorf("%s leads to %s", next, to)
		}
	}
	p := w.person()
	for _, user := range []string{"alice", "@alice:example.org", "nobody", "", strings.Repeat("x", 300)} {
		if r := p.post(path, url.Values{"user": {user}, "password": {"wrong"}}); r.status < 400 || len(r.header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: %d", user, r.status)
		}
	}
	for i, cookie := range []string{"x", ".", "QGFsaWNlOmV4YW1wbGUub3Jn.mxbs_x", strings.Repeat("a", 3000)} {
		req, _ := http.NewRequest(http.MethodGet, w.URL()+account, nil)
		req.AddCookie(&http.Cookie{Name: "matrixon_browser", Value: cookie})
		resp, err := p.client.Do(req)
		if to := read(t, resp, err).to(); to.Path != path {
			t.Errorf("cookie %d: %s", i, to)
		}
	}
	p = w.signedIn()
	p.post("/_matrixon/client/sign-out", url.Values{}).to()
	if to := p.get(account).to(); to.Path != path {
		t.Errorf("signed out, and yet: %s", to)
	}
	for range 25 { // in as many browsers as one likes, but the oldest are signed out
		w.signedIn()
	}
}
