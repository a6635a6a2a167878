package oauth_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// rangeOfSessions are all validations of addresses.
var rangeOfSessions = persistence.Range[schema.ThirdPartySession]{}

var onward = regexp.MustCompile(`<a class="go" rel="noreferrer" href="([^"]+)">`)

// follow opens the link of the newest message to an address, presses its button, and gives where it goes on.
func (p *person) follow(to string) string {
	p.w.t.Helper()
	link := p.w.Link(to)
	if link == "" {
		p.w.t.Fatalf("no message came to %s", to)
	}
	page := p.get(link).ok()
	done := p.post(strings.SplitN(link, "?", 2)[0], fields(page)).ok()
	m := onward.FindStringSubmatch(done.body)
	if m == nil {
		p.w.t.Fatalf("nothing leads on: %s", done.body)
	}
	return html.UnescapeString(m[1])
}

// TestMakingAnAccountWithAnAddress: where an address is needed, there is no account before it is confirmed.
func TestMakingAnAccountWithAnAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Registration.EmailRequired = true
	id, p := w.client(), w.person()
	at := p.get(w.request(id, "NEW", "prompt", "create")).to()
	page := p.get(at.String()).ok()
	fill := func(name, email string) url.Values {
		return fields(page, "name", name, "password", password, "again", password, "email", email)
	}
	for _, wrong := range []string{"", "nobody", "a b@c", "a@b\x00c"} {
		if r := p.post(at.Path, fill("bob", wrong)); r.status != http.StatusBadRequest {
			t.Errorf("%q: %d", wrong, r.status)
		}
	}
	sent := p.post(at.Path, fill("bob", "Bob@example.com")).ok()
	if !strings.Contains(sent.body, "bob@example.com") {
		t.Errorf("%s", sent.body)
	}
	if _, made, err := schema.Accounts.Get(t.Context(), w.Store, schema.Account{UserID: "@bob:example.org"}); made || err != nil {
		t.Fatalf("there is an account before the address is confirmed, %v", err)
	}
	elsewhere := w.person() // the message may be read on another device
	next := elsewhere.follow("bob@example.com")
	finish := elsewhere.get(next).ok()
	consent := elsewhere.get(elsewhere.post("/_matrixon/client/sign-up/finish", fields(finish)).to().String()).ok()
	if !strings.Contains(consent.body, "@bob:example.org") {
		t.Errorf("%s", consent.body)
	}
	if row, ok, err := schema.ThirdPartyIDs.Get(t.Context(), w.Store, schema.ThirdPartyID{Medium: "email", Address: "bob@example.com"}); err != nil || !ok || row.UserID != "@bob:example.org" {
		t.Errorf("the address: %v %v", row, err)
	}
	if r := elsewhere.post("/_matrixon/client/sign-up/finish", fields(finish)); r.status != http.StatusBadRequest {
		t.Errorf("the same link again: %d", r.status)
	}
	if r := p.post(at.Path, fill("bob2", "bob@example.com")); r.status != http.StatusBadRequest {
		t.Errorf("an address of another account: %d", r.status)
	}
	// Before the address is confirmed the link that comes afterwards is good for nothing.
	p.post(at.Path, fill("carol", "carol@example.com")).ok()
	sealed := ""
	for row, err := range schema.ThirdPartySessions.Scan(t.Context(), w.Store, rangeOfSessions) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Address == "carol@example.com" {
			sealed = row.NextLink
		}
	}
	if r := p.post("/_matrixon/client/sign-up/finish", fields(p.get(sealed).ok())); r.status != http.StatusUnauthorized {
		t.Errorf("without confirming: %d", r.status)
	}
	if strings.Contains(sealed, "carol") {
		t.Errorf("the link tells what it holds: %s", sealed)
	}
}

// TestForgottenPasswords: who has the account's address sets a new password, which signs everything else out.
func TestForgottenPasswords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Write(schema.ThirdPartyIDs.Put(schema.ThirdPartyID{Medium: "email", Address: "alice@example.com", UserID: "@alice:example.org"}),
		schema.ThirdPartyIDsByUser.Put(schema.ThirdPartyIDByUser{UserID: "@alice:example.org", Medium: "email", Address: "alice@example.com"}))
	got, _ := w.app("PHONE")
	p := w.person()
	const forgot, renew = "/_matrixon/client/forgotten", "/_matrixon/client/new-password"
	known := p.post(forgot, url.Values{"email": {"alice@example.com"}}).ok()
	unknown := p.post(forgot, url.Values{"email": {"nobody@example.com"}}).ok()
	if strings.ReplaceAll(known.body, "alice@", "nobody@") != unknown.body || w.Link("nobody@example.com") != "" {
		t.Error("it is told whether there is an account")
	}
	page := p.get(p.follow("alice@example.com")).ok()
	if r := p.post(renew, fields(page, "password", "one", "again", "other")); r.status != http.StatusBadRequest {
		t.Errorf("two passwords: %d", r.status)
	}
	p.post(renew, fields(page, "password", "a new one", "again", "a new one")).to()
	p.get(account).ok()
	w.with(got.json("access_token")).Get("/account/whoami").Refused(401, "M_UNKNOWN_TOKEN")
	if r := p.post(renew, fields(page, "password", "again", "again", "again")); r.status != http.StatusUnauthorized {
		t.Errorf("the link again: %d", r.status)
	}
	if r := w.person().post("/_matrixon/client/sign-in", url.Values{"user": {"alice"}, "password": {"a new one"}}); r.status != http.StatusSeeOther {
		t.Errorf("the new password: %d", r.status)
	}
	w.Clock.Advance(2 * time.Hour)
	if r := p.post(renew, fields(page, "password", "x", "again", "x")); r.status != http.StatusBadRequest {
		t.Errorf("an old link: %d", r.status)
	}
}
