package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/http/console"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestButtonsOfARoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	b := w.browser()
	b.login("root")
	press := func(change, told string) {
		t.Helper()
		if a := b.do(console.Base+"/rooms/"+url.PathEscape(roomID), url.Values{"change": {change}}); a.status != http.StatusOK || !strings.Contains(a.body, told) {
			t.Errorf("%s: %d %s", change, a.status, a.body)
		}
	}
	path := "/rooms/" + url.PathEscape(roomID)
	b.page(path, `id="block"`)
	press("block", "is blocked")
	b.page(path, `id="unblock"`, "blocked</span>")
	bob.Post(clienttest.Path("join", roomID), clienttest.J{}).Refused(403, "M_FORBIDDEN")
	press("unblock", "open to the users")
	bob.Join(roomID)
	press("close", "2 users of this server have left")
	b.page(path, `id="unblock"`)
	if a := b.do(console.Base+path, url.Values{"change": {"explode"}}, fragmentOf("x")); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Write(schema.RegistrationTokens.Put(schema.RegistrationToken{Token: "fixed", UsesAllowed: -1, Configured: true}))
	b := w.browser()
	b.login("root")
	b.page("/tokens", "fixed", "configured", "any number", "for ever")
	path := console.Base + "/tokens"
	made := b.do(path, url.Values{"uses": {"2"}, "days": {"7"}})
	token := regexp.MustCompile(`name="delete" value="(\w+)"`).FindStringSubmatch(made.body)
	if made.status != http.StatusOK || token == nil || !strings.Contains(made.body, "The token is made") {
		t.Fatalf("%d %s", made.status, made.body)
	}
	row, ok, err := schema.RegistrationTokens.Get(t.Context(), w.Store, schema.RegistrationToken{Token: token[1]})
	if err != nil || !ok || row.UsesAllowed != 2 || row.ExpiresTS != w.Clock.Now().Add(7*24*time.Hour).UnixMilli() {
		t.Errorf("%+v %v", row, err)
	}
	b.page("/tokens?match="+token[1], token[1], ">2<")
	for _, bad := range []url.Values{{"uses": {"x"}}, {"uses": {"-1"}}, {"days": {"0"}}, {"days": {"9999"}}, {"delete": {"fixed"}}, {"delete": {"none"}}} {
		if a := b.do(path, bad, fragmentOf("x")); a.status < 400 || a.status >= 500 {
			t.Errorf("%v: %d %s", bad, a.status, a.body)
		}
	}
	if a := b.do(path, url.Values{"delete": {token[1]}}); a.status != http.StatusOK || strings.Contains(b.page("/tokens"), token[1]) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestDevicesAndMessagesOfAUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	alice.Say(roomID, "x")
	alice.Post(clienttest.Path("users", alice.ID, "report"), clienttest.J{"reason": "spam"}).OK()
	b := w.browser()
	b.login("root")
	b.page("/reports", "Redact messages", `href="/_matrixon/console/users/@alice:`)
	b.page("/users/"+url.PathEscape(alice.ID), alice.Device, "Redact messages")
	user := console.Base + "/users/" + url.PathEscape(alice.ID)
	if a := b.do(user+"/redact", url.Values{}); a.status != http.StatusOK || !strings.Contains(a.body, "1 messages are redacted") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := b.do(user+"/log_out", url.Values{"device": {alice.Device}}); a.status != http.StatusOK || !strings.Contains(a.body, "is logged out") {
		t.Errorf("%d %s", a.status, a.body)
	}
	alice.Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	b.page("/users/"+url.PathEscape(alice.ID), "nobody is logged in")
}
