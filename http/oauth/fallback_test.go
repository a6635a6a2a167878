package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

func fallback(stage, session string) string {
	return "/_matrix/client/v3/auth/" + stage + "/fallback/web?session=" + url.QueryEscape(session)
}

// TestStagesInABrowser: an app that knows no stage of registration but how to open a browser makes an account.
func TestStagesInABrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Registration = client.RegistrationOptions{TokensRequired: true, Terms: clienttest.J{"policies": clienttest.J{}}, Documents: []client.Document{{Name: "Rules", URL: "https://example.org/rules"}}}
	w.Write(schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "letmein", UsesAllowed: 1}))
	app, p := w.Nobody(), w.person()
	session := app.Post("/register", clienttest.J{}).Text("session") // to see which stages there are
	page := p.get(fallback("m.login.registration_token", session)).ok()
	to := "/_matrix/client/v3/auth/m.login.registration_token/fallback/web"
	if r := p.post(to, fields(page, "token", "wrong")); r.status != http.StatusUnauthorized || !strings.Contains(r.body, `role="alert"`) {
		t.Errorf("a wrong token: %d", r.status)
	}
	if done := p.post(to, fields(page, "token", "letmein")).ok(); !strings.Contains(done.body, "onAuthDone") {
		t.Errorf("the app is not told: %s", done.body)
	}
	terms := p.get(fallback("m.login.terms", session)).ok()
	if !strings.Contains(terms.body, "Rules") {
		t.Errorf("%s", terms.body)
	}
	p.post("/_matrix/client/v3/auth/m.login.terms/fallback/web", fields(terms)).ok()
	made := app.Post("/register", clienttest.J{"username": "dora", "password": password, "auth": clienttest.J{"session": session}}).OK()
	if made.Text("user_id") != "@dora:example.org" {
		t.Errorf("%s", made.Raw)
	}

	dora := w.with(made.Text("access_token"))
	device := "/devices/" + made.Text("device_id")
	asked := dora.Do(http.MethodDelete, device, clienttest.J{})
	page = p.get(fallback("m.login.password", asked.Text("session"))).ok()
	to = "/_matrix/client/v3/auth/m.login.password/fallback/web"
	if r := p.post(to, fields(page, "password", "wrong")); r.status != http.StatusForbidden {
		t.Errorf("a wrong password: %d", r.status)
	}
	auth := clienttest.J{"auth": clienttest.J{"session": asked.Text("session")}}
	if r := dora.Do(http.MethodDelete, device, auth); r.Status != http.StatusUnauthorized {
		t.Fatalf("before the proof: %d", r.Status)
	}
	p.post(to, fields(page, "password", password)).ok()
	if r := dora.Post("/delete_devices", clienttest.J{"devices": []string{"x"}, "auth": auth["auth"]}); r.Status != http.StatusForbidden {
		t.Errorf("for another request: %d %s", r.Status, r.Raw)
	}
	dora.Do(http.MethodDelete, device, auth).OK()

	for _, path := range []string{fallback("m.login.dummy", "nonsense"), fallback("m.login.none", session), fallback("m.login.sso", session)} {
		if r := p.get(path); r.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}
