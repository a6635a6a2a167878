package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestHostileForms: whatever is sent to the endpoints, they refuse it in the form that clients of OAuth 2.0 understand, and change nothing.
func TestHostileForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.client()
	long := strings.Repeat("x", 20_000)
	bodies := []string{
		"", "%", "%zz=1", "a;b", "\x00", "grant_type", "grant_type=authorization_code&grant_type=refresh_token&client_id=" + id,
		"client_id=" + id + "&grant_type=authorization_code&code=%00&redirect_uri=%00&code_verifier=%00",
		"client_id=" + id + "&grant_type=authorization_code&code=%ff&redirect_uri=%ff&code_verifier=" + verifier,
		"client_id=" + id + "&grant_type=refresh_token&refresh_token=mxor_" + long, "client_id=%00&grant_type=refresh_token&refresh_token=mxor_",
		"client_id=" + id + "&grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=%00", "client_id=" + long + "&grant_type=x",
		"client_id=%00&scope=" + url.QueryEscape(scope+"X"), "client_id=%ff&scope=" + url.QueryEscape(scope+"X"), "client_id=" + id + "&scope=" + url.QueryEscape(scope+"\x00"),
		"token=%00&token=1", strings.Repeat("a=b&", 9000),
	}
	for _, endpoint := range []string{"token_endpoint", "revocation_endpoint", "device_authorization_endpoint", "registration_endpoint"} {
		for _, body := range bodies {
			for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", ""} {
				req, err := http.NewRequest(http.MethodPost, w.endpoint(endpoint), strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", kind)
				resp, err := http.DefaultClient.Do(req)
				r := read(t, resp, err)
				if r.status < 400 || r.status >= 500 || r.json("error") == "" {
					t.Errorf("%s %.60q (%s): %d %s", endpoint, body, kind, r.status, r.body)
				}
			}
		}
	}
	p := w.signedIn()
	for _, path := range []string{"/_matrixon/client/oauth2/authorize", "/_matrixon/client/link", "/_matrixon/client/continue", "/_matrixon/client/sign-in", "/_matrixon/client/sign-up", account + "/device",
		account + "/password", account + "/deactivate", "/_matrixon/client/name"} {
		for _, body := range bodies {
			req, err := http.NewRequest(http.MethodPost, w.URL()+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := p.client.Do(req)
			if r := read(t, resp, err); r.status < 400 || r.status >= 500 {
				t.Errorf("%s %.60q: %d %s", path, body, r.status, r.header.Get("Location"))
			}
		}
	}
	for _, query := range []string{"?user_code=%00", "?user_code=%ff", "?user_code=" + long[:5000], "?next=%00", "?action=%00&device_id=%00", "?client_id=%00&redirect_uri=%00", "?redirectUrl=%00", "?a=%"} {
		for _, path := range []string{"/_matrixon/client/oauth2/authorize", "/_matrixon/client/link", "/_matrixon/client/continue", "/_matrixon/client/sign-in", account} {
			if r := p.get(path + query); r.status >= 500 {
				t.Errorf("%s%.40s: %d", path, query, r.status)
			}
		}
	}
	if who := w.signedIn().get(account); who.status != http.StatusOK {
		t.Errorf("the account is not what it was: %d", who.status)
	}
}
