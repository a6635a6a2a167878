package cluster

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What is secret to a node of the tests besides what its users have.
const (
	clusterSecret    = "the secret of the test"
	databasePassword = "the-password-of-the-database"
)

// TestNoSecretIsTold uses everything that is secret, rightly and wrongly, while nodes log whatever they can, and looks for it in
// all that operators see.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	const sharedSecret, registrationToken, password, changed, wrong = "the-shared-secret", "the-registration-token", "correct horse", "battery staple", "no such horse"
	f := newFleet(t, 2, "logging.level=debug", "registration.shared_secret="+sharedSecret, "registration.tokens=["+registrationToken+"]")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	secrets := map[string]string{"the cluster's secret": clusterSecret, "the database's password": databasePassword, "the shared secret": sharedSecret,
		"the registration token": registrationToken, "the password": password, "the new password": changed, "a wrong password": wrong}
	secret := func(what, value string) string {
		t.Helper()
		if value == "" {
			t.Fatalf("there is no %s", what)
		}
		secrets[what] = value
		return value
	}

	alice := &user{web: f.web}
	made := alice.must(t, ctx, "POST", "/register", map[string]any{"username": "alice", "password": password, "refresh_token": true,
		"auth": map[string]string{"type": "m.login.dummy"}})
	alice.id, alice.device, alice.token = made.Get("user_id").Str, made.Get("device_id").Str, secret("access token", made.Get("access_token").Str)
	renewed := alice.must(t, ctx, "POST", "/refresh", map[string]string{"refresh_token": secret("refresh token", made.Get("refresh_token").Str)})
	alice.token = secret("second access token", renewed.Get("access_token").Str)
	secret("second refresh token", renewed.Get("refresh_token").Str)
	login := func(password string) (string, error) {
		answer, err := (&user{web: f.web}).do(ctx, "POST", "/login", map[string]any{"type": "m.login.password", "password": password,
			"identifier": map[string]string{"type": "m.id.user", "user": "alice"}})
		return answer.Get("access_token").Str, err
	}
	if _, err := login(wrong); err == nil {
		t.Error("a wrong password is right")
	}
	second, err := login(password)
	if err != nil {
		t.Fatal(err)
	}
	secret("access token of the second device", second)
	secret("OpenID token", alice.must(t, ctx, "POST", "/user/"+url.PathEscape(alice.id)+"/openid/request_token", map[string]any{}).Get("access_token").Str)
	alice.must(t, ctx, "POST", "/account/password", map[string]any{"new_password": changed, "logout_devices": false, "auth": map[string]any{
		"type": "m.login.password", "password": password, "identifier": map[string]string{"type": "m.id.user", "user": "alice"}}})
	roomID := alice.must(t, ctx, "POST", "/createRoom", map[string]any{}).Get("room_id").Str
	for _, path := range []string{ // where secrets stand in addresses
		"/_matrix/client/v3/sync?timeout=0&access_token=" + second, "/_matrix/client/v3/sync?since=wrong&access_token=" + second,
		"/nowhere?access_token=" + second, "/_matrix/client/v1/register/m.login.registration_token/validity?token=" + registrationToken,
	} {
		page(ctx, t, f.members[1].URL+path) // whether it is taken or refused
	}
	m := f.members[0]
	m.toPostgres.Pull() // which is complained about
	impatient, giveUp := context.WithTimeout(ctx, 2*time.Second)
	defer giveUp()
	_, _ = alice.at(m).once(impatient, "POST", "/createRoom", map[string]any{})
	m.toPostgres.Mend()
	alice.must(t, ctx, "POST", "/createRoom", map[string]any{})

	told := map[string]string{}
	for _, m := range f.members {
		told["the log of "+m.Name] = m.Process().Log()
		told["the metrics of "+m.Name] = page(ctx, t, m.URL+"/metrics")
		for _, command := range []string{"cluster status", "actors list", "actors inspect " + roomID, "actors inspect " + alice.id, "user list", "db status"} {
			out, err := m.Run(ctx, strings.Fields(command)...)
			if err != nil && !strings.Contains(command, "db ") {
				t.Error(err)
			}
			told[command] = out
		}
	}
	for where, text := range told {
		if text == "" {
			t.Errorf("%s is empty", where)
		}
		for what, value := range secrets {
			if i := strings.Index(text, value); i >= 0 {
				t.Errorf("%s: %s stands there: …%s…", where, what, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
}

func page(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
