package oauth_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/http/oauth"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint", "registration_endpoint", "device_authorization_endpoint", "account_management_uri"} {
		w.endpoint(name)
	}
	for name, want := range map[string]string{"response_types_supported": `["code"]`, "response_modes_supported": `["query","fragment"]`, "code_challenge_methods_supported": `["S256"]`, "prompt_values_supported": `["create"]`} {
		if got := w.meta.Get(name).Raw; got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	w.get("/_matrix/client/unstable/org.matrix.msc2965/auth_metadata")
	w.Registration = client.RegistrationOptions{}
	if got := w.get("/_matrix/client/v1/auth_metadata").Get("prompt_values_supported").Raw; got != "[]" {
		t.Errorf("where nobody can register: %s", got)
	}
	if flow := w.get("/_matrix/client/v3/login").Get(`flows.#(type=="m.login.sso")`); !flow.Get("oauth_aware_preferred").Bool() {
		t.Errorf("flow: %s", flow.Raw)
	}
}

func TestRegistrationOfClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.register(app)
	if first.status != http.StatusCreated || first.json("client_id") == "" || first.json("client_name#fr") != "" || first.json("client_name") != "App" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	if again := w.client(); again != first.json("client_id") {
		t.Errorf("the same client has two ids: %s", again)
	}
	partly := w.register(`{"client_uri":"https://a.example","redirect_uris":["https://a.example/"],"grant_types":["authorization_code","refresh_token","urn:x"]}`)
	if partly.status != http.StatusCreated || partly.json("grant_types") != `["authorization_code","refresh_token"]` || partly.json("application_type") != "web" {
		t.Errorf("%d %s", partly.status, partly.body)
	}
	for metadata, code := range map[string]string{
		`{}`: "invalid_client_metadata",
		`{"client_uri":"http://a.example","redirect_uris":["https://a.example/"]}`:                                                    "invalid_client_metadata",
		`{"client_uri":"https://u:p@a.example","redirect_uris":["https://a.example/"]}`:                                               "invalid_client_metadata",
		`{"client_uri":"https://a.example"}`:                                                                                          "invalid_client_metadata",
		`{"client_uri":"https://a.example","redirect_uris":["https://a.example/"],"logo_uri":"https://b.example/l"}`:                  "invalid_client_metadata",
		`{"client_uri":"https://a.example","redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"client_secret_post"}`: "invalid_client_metadata",
		`{"client_uri":"https://a.example","redirect_uris":["https://a.example/"],"application_type":"tv"}`:                           "invalid_client_metadata",
		`{"client_uri":"https://a.example","redirect_uris":["https://a.example/"],"grant_types":["urn:x"]}`:                           "invalid_client_metadata",
		`{"client_uri":7}`: "invalid_client_metadata",
		`nonsense`:         "invalid_client_metadata",
	} {
		w.register(metadata).refused(code)
	}
}

// TestRedirectURIs are the examples of the specification, and what comes close to them.
func TestRedirectURIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		kind, uri string
		ok        bool
	}{
		{"web", "https://example.com/callback", true},
		{"web", "https://app.example.com/callback", true},
		{"web", "https://example.com:5173/?query=value", true},
		{"web", "https://example.com/callback#fragment", false},
		{"web", "http://example.com/callback", false},
		{"web", "http://localhost/", false},
		{"web", "https://example.com.evil.org/", false},
		{"web", "https://notexample.com/", false},
		{"web", "https://user@example.com/", false},
		{"web", "com.example.app:/callback", false},
		{"native", "com.example.app:/callback", true},
		{"native", "com.example:/", true},
		{"native", "com.example:callback", true},
		{"native", "http://localhost/callback", true},
		{"native", "http://127.0.0.1/callback", true},
		{"native", "http://[::1]/callback", true},
		{"native", "https://app.example.com/claimed", true},
		{"native", "example:/callback", false},
		{"native", "com.example.app://callback", false},
		{"native", "com.example.app:///callback", false},
		{"native", "com.examplex:/callback", false},
		{"native", "https://localhost/callback", false},
		{"native", "http://localhost:1234/callback", false},
		{"native", "http://localhost:/callback", false},
		{"native", "http://127.0.0.2/callback", false},
		{"native", "javascript:alert(1)", false},
		{"native", "com.example.app:/a#b", false},
	} {
		r := w.register(fmt.Sprintf(`{"client_uri":"https://example.com/","application_type":%q,"redirect_uris":[%q]}`, test.kind, test.uri))
		if got := r.status == http.StatusCreated; got != test.ok {
			t.Errorf("%s %s: %d %s", test.kind, test.uri, r.status, r.body)
		}
		if !test.ok && r.json("error") != "invalid_redirect_uri" {
			t.Errorf("%s: %s", test.uri, r.body)
		}
	}
}

// TestLettingAnAppIn is the way of an app, from nothing to a device and out again.
func TestLettingAnAppIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.client()
	code := w.person().letIn(id, "PHONE")
	w.redeem(id, code, "code_verifier", strings.Repeat("x", 43)).refused("invalid_grant")
	w.redeem(id, code, "redirect_uri", "https://app.example/else").refused("invalid_grant")
	w.redeem("other", code).refused("invalid_grant")
	w.redeem(id, "nonsense").refused("invalid_grant")
	got := w.redeem(id, code).ok()
	if got.json("token_type") != "Bearer" || got.json("expires_in") != "3600" || got.json("scope") != scope+"PHONE" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s", got.body)
	}
	alice := w.with(got.json("access_token"))
	if who := alice.Get("/account/whoami").OK(); who.Text("user_id") != "@alice:example.org" || who.Text("device_id") != "PHONE" {
		t.Errorf("%s", who.Raw)
	}
	if d := alice.Get("/devices/PHONE").OK(); d.Text("display_name") != "App" {
		t.Errorf("%s", d.Raw)
	}

	// What needs user-interactive authentication is done in the browser.
	alice.Delete("/devices/PHONE").Refused(404, "M_UNRECOGNIZED")
	alice.Post("/account/deactivate", clienttest.J{}).Refused(404, "M_UNRECOGNIZED")
	if alice.Get("/capabilities").OK().At("capabilities.m\\.change_password.enabled").Bool() {
		t.Error("the app is told that it can change the password")
	}

	w.form("revocation_endpoint", map[string]string{"token": got.json("refresh_token"), "token_type_hint": "refresh_token"}).ok()
	alice.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	w.refresh(id, got.json("refresh_token")).refused("invalid_grant")
	w.form("revocation_endpoint", map[string]string{"token": got.json("access_token")}).ok() // it is gone: all is well
	w.form("revocation_endpoint", map[string]string{"token": "nonsense"}).ok()
	w.form("revocation_endpoint", nil).refused("invalid_request")
}

func TestCodesAreSpentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.client()
	code := w.person().letIn(id, "PHONE")
	got := w.redeem(id, code).ok()
	w.redeem(id, code).refused("invalid_grant")
	w.with(got.json("access_token")).Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN") // one of the two is a thief
	late := w.person().letIn(id, "PHONE")
	w.Clock.Advance(2 * time.Minute)
	w.redeem(id, late).refused("invalid_grant")
}

func TestRefreshing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, id := w.app("PHONE")
	first := got.json("refresh_token")
	w.refresh("other", first).refused("invalid_grant")
	w.refresh(id, "mxor_nonsense").refused("invalid_grant")
	w.Nobody().Post("/refresh", clienttest.J{"refresh_token": first}).Refused(401, "M_UNKNOWN_TOKEN")

	w.Clock.Advance(2 * time.Hour)
	w.with(got.json("access_token")).Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	lost := w.refresh(id, first).ok()  // this answer is lost on its way,
	again := w.refresh(id, first).ok() // so the app asks again
	if again.json("refresh_token") == first || again.json("scope") != scope+"PHONE" {
		t.Errorf("%s", again.body)
	}
	alice := w.with(again.json("access_token"))
	alice.Get("/account/whoami").OK()
	w.with(lost.json("access_token")).Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")

	// The old token has been used up, so whoever shows it has copied it.
	w.refresh(id, first).refused("invalid_grant")
	alice.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	w.refresh(id, again.json("refresh_token")).refused("invalid_grant")
}

// TestLegacyLoginTakesADevice: a device that a password has let in since is none of OAuth 2.0 any more.
func TestLegacyLoginTakesADevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, id := w.app("PHONE")
	legacy := w.Nobody().Post("/login", clienttest.J{"type": "m.login.password", "identifier": clienttest.J{"type": "m.id.user", "user": "alice"}, "password": password, "device_id": "PHONE"}).OK()
	w.refresh(id, got.json("refresh_token")).refused("invalid_grant")
	if s := w.with(legacy.Text("access_token")).Delete("/devices/PHONE"); s.Status != http.StatusUnauthorized || s.At("flows").Raw == "" {
		t.Errorf("%d %s", s.Status, s.Raw)
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, p := w.client(), w.person()
	for _, wrong := range [][]string{{"client_id", "nobody"}, {"redirect_uri", "https://evil.example/"}, {"redirect_uri", ""}, {"state", strings.Repeat("s", 5000)}} {
		if r := p.get(w.request(id, "PHONE", wrong...)); r.status != http.StatusBadRequest || !strings.Contains(r.body, "<h1>") {
			t.Errorf("%v: %d %s", wrong[0], r.status, r.header.Get("Location"))
		}
	}
	for code, wrong := range map[string][]string{
		"unsupported_response_type": {"response_type", "token"},
		"invalid_request":           {"code_challenge_method", "plain"},
		"invalid_scope":             {"scope", "urn:matrix:client:api:*"},
		"interaction_required":      {"prompt", "none"},
	} {
		to := p.get(w.request(id, "PHONE", wrong...)).to()
		answer, _ := url.ParseQuery(to.EscapedFragment())
		if to.Host != "app.example" || answer.Get("error") != code || answer.Get("state") != "st&te" {
			t.Errorf("%s: %s", code, to)
		}
	}
	for _, s := range []string{scope + "A " + deviceURN + "B", "urn:matrix:client:device:A", scope + strings.Repeat("a", 256)} {
		to := p.get(w.request(id, "PHONE", "scope", s, "response_mode", "query")).to()
		if to.Query().Get("error") != "invalid_scope" {
			t.Errorf("%.40s: %s", s, to)
		}
	}
	page := p.get(p.signIn(p.get(w.request(id, "PHONE")))).ok()
	if to := p.post("/_matrixon/client/oauth2/authorize", fields(page, "decision", "deny")).to(); !strings.Contains(to.Fragment, "access_denied") {
		t.Errorf("refused: %s", to)
	}
	if !strings.Contains(page.body, "App") || !strings.Contains(page.body, "https://app.example/policy") || !strings.Contains(page.body, "@alice:example.org") {
		t.Errorf("the page does not say what it is about: %s", page.body)
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || page.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers: %v", page.header)
	}
	// Another site cannot decide for the user.
	req, _ := http.NewRequest(http.MethodPost, w.URL()+"/_matrixon/client/oauth2/authorize", strings.NewReader(fields(page, "decision", "allow").Encode()))
	req.Header.Set("Origin", "https://evil.example")
	resp, err := p.client.Do(req)
	if r := read(t, resp, err); r.status != http.StatusForbidden {
		t.Errorf("from another site: %d %s", r.status, r.header.Get("Location"))
	}
}

// TestOlderSpelling: apps that use the names of MSC2967 are let in too, and ones on the loopback interface with any port.
func TestOlderSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.register(`{"client_uri":"https://example.com","application_type":"native","redirect_uris":["http://localhost/cb"],"grant_types":["authorization_code","refresh_token"]}`).json("client_id")
	const old = "openid urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:OLD"
	p := w.person()
	page := p.get(p.signIn(p.get(w.request(id, "", "scope", old, "redirect_uri", "http://localhost:4711/cb", "response_mode", "query", "nonce", "n-1")))).ok()
	to := p.post("/_matrixon/client/oauth2/authorize", fields(page, "decision", "allow")).to()
	if to.Host != "localhost:4711" {
		t.Fatalf("%s", to)
	}
	got := w.redeem(id, to.Query().Get("code"), "redirect_uri", "http://localhost:4711/cb").ok()
	if got.json("scope") != old {
		t.Errorf("scope: %s", got.json("scope"))
	}
	w.checkIDToken(got.json("id_token"), id, "n-1")
	if to := p.get(w.request(id, "", "redirect_uri", "http://127.0.0.1:4711/cb")); to.status != http.StatusBadRequest {
		t.Errorf("an address that is not registered: %d", to.status)
	}
}

func TestMakingAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Registration.TokensRequired, w.Registration.Open = true, false
	w.Registration.Documents = []client.Document{{Name: "House rules", URL: "https://example.org/rules"}}
	w.Write(schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "letmein", UsesAllowed: 1}))
	id, p := w.client(), w.person()
	at := p.get(w.request(id, "NEW", "prompt", "create")).to()
	page := p.get(at.String()).ok()
	if at.Path != "/_matrixon/client/sign-up" || !strings.Contains(page.body, "House rules") {
		t.Fatalf("%s %s", at, page.body)
	}
	good := []string{"name", "Bob", "password", password, "again", password, "token", "letmein", "agree", "1"}
	for i, wrong := range []string{"alice", "short", "another", "wrong", ""} {
		values := fields(page, good...)
		values.Set([]string{"name", "password", "again", "token", "agree"}[i], wrong)
		if i == 1 {
			continue // this server asks for no length
		}
		if r := p.post(at.Path, values); r.status < 400 || !strings.Contains(r.body, `role="alert"`) {
			t.Errorf("%d: %d %s", i, r.status, r.header.Get("Location"))
		}
	}
	next := p.post(at.Path, fields(page, good...)).to().String()
	consent := p.get(next).ok()
	if !strings.Contains(consent.body, "@bob:example.org") {
		t.Errorf("%s", consent.body)
	}
	if r := p.post(at.Path, fields(page, good...)); r.status != http.StatusBadRequest {
		t.Errorf("the same account twice: %d", r.status)
	}
	w.Registration = client.RegistrationOptions{}
	if r := p.get("/_matrixon/client/sign-up"); r.status != http.StatusForbidden {
		t.Errorf("where nobody can register: %d", r.status)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unused := w.register(`{"client_uri":"https://a.example","redirect_uris":["https://a.example/"]}`).json("client_id")
	_, used := w.app("PHONE")
	w.form("device_authorization_endpoint", map[string]string{"client_id": used, "scope": scope + "TV"}).ok()
	w.Clock.Advance(72 * time.Hour)
	if err := oauth.Sweep(t.Context(), w.Store, w.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{unused: false, used: true} {
		if _, ok, err := schema.OAuthClients.Get(t.Context(), w.Store, schema.OAuthClient{ClientID: id}); err != nil || ok != want {
			t.Errorf("client %s is kept: %v, %v", id, ok, err)
		}
	}
	if rows, err := schema.OAuthGrants.All(t.Context(), w.Store, persistence.Range[schema.OAuthGrant]{}); err != nil || len(rows) != 0 {
		t.Errorf("grants: %v, %v", rows, err)
	}
	if rows, err := schema.OAuthDeviceCodes.All(t.Context(), w.Store, persistence.Range[schema.OAuthDeviceCode]{}); err != nil || len(rows) != 0 {
		t.Errorf("device codes: %v, %v", rows, err)
	}
}
