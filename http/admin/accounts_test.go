package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestDevicesAreLoggedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	second := alice.With("SECOND")
	list := w.get("/users/alice/devices").Get("devices")
	if list.Get("#").Int() != 2 || list.Get("0.encrypts").Bool() {
		t.Fatalf("%s", list)
	}
	for _, bad := range []any{clienttest.J{}, clienttest.J{"devices": []string{}}, clienttest.J{"devices": []string{"A"}, "all": true}, clienttest.J{"devices": "A"}} {
		w.ask(w.root, "POST", "/users/alice/log_out", bad, 400)
	}
	w.ask(w.root, "POST", "/users/nobody/log_out", clienttest.J{"all": true}, 404)
	left := w.ask(w.root, "POST", "/users/alice/log_out", clienttest.J{"devices": []string{alice.Device, "UNKNOWN"}}, 200).Get("devices")
	if left.Get("#").Int() != 1 || left.Get("0.device_id").Str != second.Device {
		t.Errorf("%s", left)
	}
	alice.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	second.Get("/account/whoami").OK()
	if left := w.ask(w.root, "POST", "/users/alice/log_out", clienttest.J{"all": true}, 200).Get("devices.#").Int(); left != 0 {
		t.Errorf("%d devices are left", left)
	}
	second.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
}

func TestRegistrationTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/registration_tokens"
	soon := w.Clock.Now().Add(time.Hour).UnixMilli()
	made := w.ask(w.root, "POST", path, nil, 200)
	if made.Get("token").Str == "" || made.Get("uses_allowed").Exists() || !made.Get("valid").Bool() {
		t.Errorf("%s", made)
	}
	if once := w.ask(w.root, "POST", path, clienttest.J{"token": "once", "uses_allowed": 1, "expires_ts": soon}, 200); once.Get("uses_allowed").Int() != 1 || once.Get("expires_ts").Int() != soon {
		t.Errorf("%s", once)
	}
	for _, bad := range []clienttest.J{{"token": "once"}, {"token": "with space"}, {"token": longName}, {"uses_allowed": -1}, {"expires_ts": 1}, {"uses_allowed": "1"}} {
		w.ask(w.root, "POST", path, bad, 400)
	}
	good := func(token string) bool {
		t.Helper()
		is, err := account.RegistrationTokenValid(t.Context(), w.Store, token, w.Clock.Now().UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if !good("once") || !good(made.Get("token").Str) || good("other") {
		t.Error("which tokens are good")
	}
	w.Write(schema.RegistrationTokenUses.Put(schema.RegistrationTokenUse{Token: "once", N: 1, UserID: "@a:x"}))
	used := w.get(path + "?match=ONCE").Get("registration_tokens")
	if used.Get("#").Int() != 1 || used.Get("0.completed").Int() != 1 || used.Get("0.valid").Bool() || good("once") {
		t.Errorf("%s", used)
	}
	w.ask(w.root, "DELETE", path+"/once", nil, 200)
	w.ask(w.root, "DELETE", path+"/once", nil, 404)
	if again := w.ask(w.root, "POST", path, clienttest.J{"token": "once", "uses_allowed": 1}, 200); again.Get("completed").Int() != 0 || !again.Get("valid").Bool() || !good("once") {
		t.Errorf("a token of the same name counts on: %s", again)
	}
	w.Write(schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "fixed", UsesAllowed: -1, Configured: true}))
	w.ask(w.root, "DELETE", path+"/fixed", nil, 400)
	if list := w.get(path + "?limit=2"); list.Get("registration_tokens.#").Int() != 2 || list.Get("next").Str == "" {
		t.Errorf("%s", list)
	}
	if w.get(path).Get("registration_tokens.#").Int() != 3 {
		t.Errorf("%s", w.get(path))
	}
}

func TestAnExportHasWhatTheServerKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(func(d *admin.Deps) { d.Media = w.Media })
	alice, bob := w.Register("alice"), w.Register("bob")
	alice.Put(clienttest.Path("profile", alice.ID, "displayname"), clienttest.J{"displayname": "Alice"}).OK()
	alice.Put(clienttest.Path("user", alice.ID, "account_data", "org.example"), clienttest.J{"a": 1}).OK()
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	bob.Join(roomID)
	said, other := alice.Say(roomID, "hello"), bob.Say(roomID, "not alice's")
	alice.Post("/_matrix/media/v3/upload?filename=f", `"picture"`).OK()
	status, raw := w.request(w.root.Token, "GET", "/users/alice/export", nil)
	if status != 200 {
		t.Fatalf("%d %s", status, raw)
	}
	kinds := map[string]int{}
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	for _, line := range lines {
		kinds[gjson.Get(line, "kind").Str]++
	}
	if kinds["account"] != 1 || kinds["profile"] != 1 || kinds["device"] != 1 || kinds["account_data"] == 0 || kinds["membership"] != 1 || kinds["file"] != 1 || kinds["end"] != 1 {
		t.Errorf("%v", kinds)
	}
	if text := string(raw); !strings.Contains(text, said) || strings.Contains(text, other) || !strings.Contains(text, "hello") || gjson.Get(lines[len(lines)-1], "kind").Str != "end" {
		t.Errorf("%s", text)
	}
	w.ask(w.root, "GET", "/users/nobody/export", nil, 404)
}

// Notices are sent by what the server gives; without an account that speaks there are none.
func TestNotices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(w.root, "POST", "/users/alice/notice", clienttest.J{"text": "hello"}, 400)
	told := map[string]string{}
	w.serve(func(d *admin.Deps) {
		d.Notify = func(_ context.Context, userID, text string) (string, error) {
			told[userID] = text
			return "$sent", nil
		}
	})
	w.ask(w.root, "POST", "/users/alice/notice", clienttest.J{}, 400)
	if sent := w.ask(w.root, "POST", "/users/alice/notice", clienttest.J{"text": "hello"}, 200); sent.Get("event_id").Str != "$sent" || told["@alice:"+clienttest.ServerName] != "hello" {
		t.Errorf("%s %v", sent, told)
	}
}

// longName is longer than a registration token may be.
const longName = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
