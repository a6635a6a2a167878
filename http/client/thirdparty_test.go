package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
)

// letters is the letter box of a test: what was sent, by address.
type letters struct {
	mu    sync.Mutex
	links map[string][]string
	fails bool
}

func (l *letters) send(_ context.Context, to string, _ address.Purpose, _, link string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails {
		return errors.New("no")
	}
	l.links[to] = append(l.links[to], link)
	return nil
}

func (l *letters) to(address string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.links[address]
}

// mailing is a server that sends email.
func mailing(t *testing.T, change ...func(*setup)) (*server, *letters) {
	t.Helper()
	l := &letters{links: map[string][]string{}}
	v := &address.Validator{Send: l.send}
	s := newServer(t, append([]func(*setup){func(c *setup) {
		c.account.Addresses, c.account.UIA.Addresses = v, v
	}}, change...)...)
	v.Store, v.BaseURL = s.store, s.http.URL
	return s, l
}

// askToken asks for a message to an address.
func (s *server) askToken(what, email string, more m) answer {
	s.t.Helper()
	body := m{"client_secret": "s3cret", "email": email, "send_attempt": 1}
	for k, v := range more {
		if v == nil {
			delete(body, k)
		} else {
			body[k] = v
		}
	}
	return s.v3("POST", what+"/email/requestToken", "", body)
}

func (a answer) sid() string { return gjson.Get(a.raw, "sid").Str }

// page opens a link, or presses its button, and gives what is shown.
func (s *server) page(method, link string) (int, string) {
	s.t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		s.t.Fatal(err)
	}
	var body io.Reader
	if method == "POST" {
		body, u.RawQuery = strings.NewReader(u.RawQuery), ""
	}
	r, err := http.NewRequest(method, u.String(), body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.http.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || resp.Header.Get("Referrer-Policy") != "no-referrer" {
		s.t.Errorf("%s: %v %v", link, err, resp.Header)
	}
	return resp.StatusCode, string(text)
}

// confirm presses the button of the newest message.
func (s *server) confirm(l *letters, address string) {
	s.t.Helper()
	all := l.to(address)
	if len(all) == 0 {
		s.t.Fatalf("nothing was sent to %s", address)
	}
	if status, text := s.page("POST", all[len(all)-1]); status != 200 {
		s.t.Fatalf("%d %s", status, text)
	}
}

// byPassword repeats a request with the password.
func (s *server) byPassword(p person, path string, body m) answer {
	s.t.Helper()
	session := s.v3("POST", path, p.token, body)
	if session.status != 401 {
		s.t.Fatalf("%d %s", session.status, session.raw)
	}
	body["auth"] = m{"type": "m.login.password", "session": session.body["session"], "identifier": m{"type": "m.id.user", "user": p.id}, "password": pass}
	return s.v3("POST", path, p.token, body)
}

func TestAddAnAddress(t *testing.T) {
	t.Parallel()
	s, l := mailing(t)
	p := s.register("alice")
	creds := func(sid string) m { return m{"sid": sid, "client_secret": "s3cret"} }
	sid := s.askToken("/account/3pid", "Alice@Example.org", nil).ok().sid()
	if n := len(l.to("alice@example.org")); n != 1 {
		t.Fatalf("%d messages", n)
	}
	// It is no news that it is asked for again, unless another message is wanted.
	if again := s.askToken("/account/3pid", "alice@example.org", nil).ok().sid(); again != sid || len(l.to("alice@example.org")) != 1 {
		t.Errorf("session %s, %d messages", again, len(l.to("alice@example.org")))
	}
	s.askToken("/account/3pid", "alice@example.org", m{"send_attempt": 2}).ok()
	if links := l.to("alice@example.org"); len(links) != 2 || links[0] != links[1] {
		t.Errorf("messages %v", links)
	}
	s.byPassword(p, "/account/3pid/add", creds(sid)).refused(400, "M_THREEPID_AUTH_FAILED")
	// To open the link is not enough: programs do that.
	link := l.to("alice@example.org")[0]
	if status, text := s.page("GET", link); status != 200 || !strings.Contains(text, "<button>") || !strings.Contains(text, "alice@example.org") {
		t.Errorf("%d %s", status, text)
	}
	s.byPassword(p, "/account/3pid/add", creds(sid)).refused(400, "M_THREEPID_AUTH_FAILED")
	s.confirm(l, "alice@example.org")
	s.confirm(l, "alice@example.org") // twice is no harm
	s.byPassword(p, "/account/3pid/add", m{"sid": sid, "client_secret": "other"}).refused(400, "M_THREEPID_AUTH_FAILED")
	s.byPassword(p, "/account/3pid/add", creds(sid)).ok()
	got := s.v3("GET", "/account/3pid", p.token, nil).ok()
	now := s.clock.Now().UnixMilli()
	if a := gjson.Get(got.raw, "threepids.0"); a.Get("address").Str != "alice@example.org" || a.Get("medium").Str != "email" || a.Get("validated_at").Int() != now || a.Get("added_at").Int() != now {
		t.Error(got.raw)
	}
	// What was used is used up, and what one account has no other gets.
	s.byPassword(p, "/account/3pid/add", creds(sid)).refused(400, "M_THREEPID_AUTH_FAILED")
	if status, _ := s.page("GET", link); status != 404 {
		t.Errorf("the used link answers %d", status)
	}
	s.askToken("/account/3pid", "alice@example.org", m{"client_secret": "new"}).refused(400, "M_THREEPID_IN_USE")
	s.askToken("/register", "ALICE@example.org", nil).refused(400, "M_THREEPID_IN_USE")
	// It names the account.
	by := func(id m) answer {
		return s.v3("POST", "/login", "", m{"type": "m.login.password", "identifier": id, "password": pass})
	}
	if got := by(m{"type": "m.id.thirdparty", "medium": "email", "address": "alice@EXAMPLE.org"}).ok(); got.body["user_id"] != p.id {
		t.Error(got.raw)
	}
	s.v3("POST", "/login", "", m{"type": "m.login.password", "medium": "email", "address": "alice@example.org", "password": pass}).ok()
	by(m{"type": "m.id.thirdparty", "medium": "email", "address": "bob@example.org"}).refused(403, "M_FORBIDDEN")
	by(m{"type": "m.id.thirdparty", "medium": "msisdn", "address": "441234"}).refused(403, "M_FORBIDDEN")
	by(m{"type": "m.id.thirdparty", "medium": "email"}).refused(400, "M_MISSING_PARAM")
	// And goes again.
	if got := s.v3("POST", "/account/3pid/delete", p.token, m{"medium": "email", "address": "Alice@example.org"}).ok(); got.raw != `{"id_server_unbind_result":"no-support"}` {
		t.Error(got.raw)
	}
	if got := s.v3("GET", "/account/3pid", p.token, nil).ok(); got.raw != `{"threepids":[]}` {
		t.Error(got.raw)
	}
	by(m{"type": "m.id.thirdparty", "medium": "email", "address": "alice@example.org"}).refused(403, "M_FORBIDDEN")
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	limits := api.NewLimits(map[api.Limit]api.Rate{api.LimitEmail: {PerSecond: 0.001, Burst: 2}}, time.Now)
	s, l := mailing(t, func(c *setup) { c.limits = limits })
	for name, c := range map[string]struct {
		change m
		code   string
	}{
		"no secret":       {m{"client_secret": nil}, "M_MISSING_PARAM"},
		"no attempt":      {m{"send_attempt": nil}, "M_MISSING_PARAM"},
		"no email":        {m{"email": nil}, "M_MISSING_PARAM"},
		"bad secret":      {m{"client_secret": "a b"}, "M_INVALID_PARAM"},
		"long secret":     {m{"client_secret": strings.Repeat("a", 256)}, "M_INVALID_PARAM"},
		"no address":      {m{"email": "alice"}, "M_INVALID_PARAM"},
		"with a name":     {m{"email": "Alice <a@b.org>"}, "M_INVALID_PARAM"},
		"a header":        {m{"email": "a@b.org\r\nBcc: c@d.org"}, "M_INVALID_PARAM"},
		"attempt text":    {m{"send_attempt": "one"}, "M_BAD_JSON"},
		"attempt 0":       {m{"send_attempt": 0}, "M_INVALID_PARAM"},
		"script":          {m{"next_link": "javascript:alert(1)"}, "M_INVALID_PARAM"},
		"file":            {m{"next_link": "file:///etc/passwd"}, "M_INVALID_PARAM"},
		"link of no form": {m{"next_link": "https://"}, "M_INVALID_PARAM"},
	} {
		if got := s.askToken("/account/3pid", "a@b.org", c.change); got.status != 400 || got.body["errcode"] != c.code {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	s.askToken("/account/password", "nobody@example.org", nil).refused(400, "M_THREEPID_NOT_FOUND")
	s.v3("POST", "/account/3pid/msisdn/requestToken", "", m{}).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
	// Nobody's letter box is filled.
	for i := range 2 {
		s.askToken("/account/3pid", "a@b.org", m{"send_attempt": i + 1}).ok()
	}
	s.askToken("/account/3pid", "a@b.org", m{"client_secret": "other"}).refused(429, "M_LIMIT_EXCEEDED")
	if n := len(l.to("a@b.org")); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// A message that could not be sent is sent when it is asked for again; a link is good for an hour.
func TestMessagesThatDoNotArrive(t *testing.T) {
	t.Parallel()
	s, l := mailing(t)
	l.fails = true
	if got := s.askToken("/register", "a@b.org", nil); got.status != 500 {
		t.Errorf("%d %s", got.status, got.raw)
	}
	l.fails = false
	s.askToken("/register", "a@b.org", m{"next_link": "https://app.example.org/#/go"}).ok()
	s.clock.advance(address.Lifetime + time.Second)
	old := l.to("a@b.org")[0]
	if status, _ := s.page("POST", old); status != 404 {
		t.Errorf("an old link answers %d", status)
	}
	s.askToken("/register", "a@b.org", m{"next_link": "https://app.example.org/#/go"}).ok()
	links := l.to("a@b.org")
	if len(links) != 2 || links[1] == old {
		t.Fatalf("messages %v", links)
	}
	if status, text := s.page("POST", links[1]); status != 200 || !strings.Contains(text, `href="https://app.example.org/#/go"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := s.page("GET", s.http.URL+address.Path+"?sid=x&token=y"); status != 404 {
		t.Errorf("no link answers %d", status)
	}
	s.clock.advance(3 * address.Lifetime)
	if err := address.Sweep(context.Background(), s.store, s.clock.Now()); err != nil {
		t.Error(err)
	}
	if status, _ := s.page("GET", links[1]); status != 404 {
		t.Errorf("a swept link answers %d", status)
	}
}

func TestRegisterWithAnAddress(t *testing.T) {
	t.Parallel()
	s, l := mailing(t, func(c *setup) {
		c.registration.EmailRequired, c.registration.Terms = true, m{"policies": m{"privacy": m{"version": "1"}}}
	})
	body := m{"username": "carol", "password": pass}
	first := s.v3("POST", "/register", "", body)
	if flows := gjson.Get(first.raw, "flows").Raw; first.status != 401 || flows != `[{"stages":["m.login.email.identity","m.login.terms"]}]` || !strings.Contains(first.raw, `"policies"`) {
		t.Fatalf("%d %s", first.status, first.raw)
	}
	sid := s.askToken("/register", "carol@example.org", nil).ok().sid()
	email := m{"type": "m.login.email.identity", "session": first.body["session"], "threepid_creds": m{"sid": sid, "client_secret": "s3cret"}}
	body["auth"] = email
	if got := s.v3("POST", "/register", "", body); got.status != 401 || got.body["errcode"] != "M_UNAUTHORIZED" {
		t.Fatalf("%d %s", got.status, got.raw)
	}
	s.confirm(l, "carol@example.org")
	if got := s.v3("POST", "/register", "", body); got.status != 401 || gjson.Get(got.raw, "completed").Raw != `["m.login.email.identity"]` {
		t.Fatalf("%d %s", got.status, got.raw)
	}
	body["auth"] = m{"type": "m.login.terms", "session": first.body["session"]}
	got := s.v3("POST", "/register", "", body).ok()
	if list := s.v3("GET", "/account/3pid", gjson.Get(got.raw, "access_token").Str, nil).ok(); gjson.Get(list.raw, "threepids.0.address").Str != "carol@example.org" {
		t.Error(list.raw)
	}
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	s, l := mailing(t)
	p, other := s.register("alice"), s.register("bob")
	sid := s.askToken("/account/3pid", "alice@example.org", nil).ok().sid()
	s.confirm(l, "alice@example.org")
	s.byPassword(p, "/account/3pid/add", m{"sid": sid, "client_secret": "s3cret"}).ok()

	reset := s.askToken("/account/password", "alice@example.org", nil).ok().sid()
	if reset == sid {
		t.Error("both are one session")
	}
	body := m{"new_password": "another password"}
	first := s.v3("POST", "/account/password", "", body)
	if flows := gjson.Get(first.raw, "flows").Raw; flows != `[{"stages":["m.login.password"]},{"stages":["m.login.email.identity"]}]` {
		t.Errorf("%d %s", first.status, first.raw)
	}
	body["auth"] = m{"type": "m.login.email.identity", "session": first.body["session"], "threepid_creds": m{"sid": reset, "client_secret": "s3cret"}}
	s.v3("POST", "/account/password", "", body).refused(401, "M_UNAUTHORIZED")
	if _, text := s.page("GET", l.to("alice@example.org")[1]); !strings.Contains(text, "@alice:") {
		t.Errorf("the page does not say whose password it is: %s", text)
	}
	s.confirm(l, "alice@example.org")
	// Nobody else sets a password with it, and nothing else can be done with it.
	s.byPassword(other, "/account/3pid/add", m{"sid": reset, "client_secret": "s3cret"}).refused(400, "M_THREEPID_AUTH_FAILED")
	s.v3("POST", "/account/password", "", body).ok()
	s.v3("GET", "/account/whoami", p.token, nil).refused(401, "M_UNKNOWN_TOKEN")
	s.v3("POST", "/login", "", m{"type": "m.login.password", "identifier": m{"type": "m.id.user", "user": "alice"}, "password": "another password"}).ok()
	// Once.
	again := m{"new_password": "a third password"}
	second := s.v3("POST", "/account/password", "", again)
	again["auth"] = m{"type": "m.login.email.identity", "session": second.body["session"], "threepid_creds": m{"sid": reset, "client_secret": "s3cret"}}
	s.v3("POST", "/account/password", "", again).refused(401, "M_UNAUTHORIZED")
	s.v3("GET", "/account/whoami", other.token, nil).ok()
}
