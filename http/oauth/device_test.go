package oauth_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// poll is a device that asks whether it has been let in, after it has waited.
func (w *world) poll(id, code string) reply {
	w.t.Helper()
	w.Clock.Advance(5 * time.Second)
	return w.form("token_endpoint", map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": code, "client_id": id})
}

func TestDevicesWithoutABrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.client()
	begin := func() reply {
		return w.form("device_authorization_endpoint", map[string]string{"client_id": id, "scope": scope + "TV"}).ok()
	}
	d := begin()
	if d.json("interval") != "5" || d.json("expires_in") == "" || !strings.HasPrefix(d.json("verification_uri_complete"), d.json("verification_uri")+"?") {
		t.Fatalf("%s", d.body)
	}
	code := d.json("device_code")
	w.poll(id, code).refused("authorization_pending")
	w.poll("other", code).refused("invalid_grant")
	w.poll(id, "nonsense").refused("invalid_grant")
	for range 3 { // without waiting
		w.Clock.Advance(-5 * time.Second)
		if r := w.poll(id, code); r.json("error") == "slow_down" {
			break
		}
	}
	w.Clock.Advance(time.Minute)

	p := w.person()
	page := p.get(p.signIn(p.get(d.json("verification_uri_complete")))).ok()
	if !strings.Contains(page.body, d.json("user_code")) || !strings.Contains(page.body, "App") {
		t.Errorf("%s", page.body)
	}
	p.post("/_matrixon/client/link", fields(page, "decision", "allow")).ok()
	got := w.poll(id, code).ok()
	if who := w.with(got.json("access_token")).Get("/account/whoami").OK(); who.Text("device_id") != "TV" {
		t.Errorf("%s", who.Raw)
	}
	w.refresh(id, got.json("refresh_token")).ok()
	w.poll(id, code).refused("invalid_grant")

	// A code that is typed by hand, and refused.
	d = begin()
	typed := strings.ToLower(strings.ReplaceAll(d.json("user_code"), "-", " "))
	page = p.get("/_matrixon/client/link?user_code=" + url.QueryEscape(typed)).ok()
	p.post("/_matrixon/client/link", fields(page, "decision", "deny")).ok()
	w.poll(id, d.json("device_code")).refused("access_denied")
	if r := p.post("/_matrixon/client/link", fields(page, "decision", "allow")); r.status != 400 {
		t.Errorf("decided twice: %d", r.status)
	}

	d = begin()
	w.Clock.Advance(time.Hour)
	w.poll(id, d.json("device_code")).refused("expired_token")
	if r := p.get("/_matrixon/client/link?user_code=" + d.json("user_code")); r.status != 404 {
		t.Errorf("an old code: %d", r.status)
	}
	if r := p.get("/_matrixon/client/link?user_code=nonsense"); r.status != 404 {
		t.Errorf("no code: %d", r.status)
	}

	w.form("device_authorization_endpoint", map[string]string{"client_id": "nobody", "scope": scope + "TV"}).refused("invalid_client")
	w.form("device_authorization_endpoint", map[string]string{"client_id": id, "scope": "x"}).refused("invalid_scope")
	w.form("token_endpoint", map[string]string{"grant_type": "password", "client_id": id}).refused("unsupported_grant_type")
	w.form("token_endpoint", map[string]string{"grant_type": "refresh_token"}).refused("invalid_request")
}
