package console_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/actors/node"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/http/console"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

const thePassword = "correct horse <battery>"

// world is a server with a console, seen by a browser without scripts.
type world struct {
	*clienttest.World
	t   *testing.T
	url string
	log *book
}

// book is what was logged.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: clienttest.New(t), t: t, log: &book{}}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	passwords, err := password.New(password.Parameters{MemoryKiB: 8, Iterations: 1, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := passwords.Hash(t.Context(), thePassword)
	if err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string]schema.Account{"root": {Admin: true}, "carol": {}} {
		flags.UserID, flags.PasswordHash = "@"+name+":"+clienttest.ServerName, hash
		w.Write(schema.Accounts.Put(flags))
	}
	if err := w.Node.Register(cluster.Kind{Name: cluster.KindNode, Bound: 100, New: node.New(node.Deps{Node: w.Node,
		Typing: func(*messages.RoomNotice) {}, Limit: func(string, string, int) error { return nil },
		Position: func() persistence.Position { return w.Store.Position() }, Version: "test", Started: time.Now()})}); err != nil {
		t.Fatal(err)
	}
	limits := api.NewLimits(map[api.Limit]api.Rate{api.LimitLoginFailed: {PerSecond: 0.001, Burst: 3}}, w.Clock.Now)
	t.Cleanup(limits.Close)
	a := api.New(api.Options{Auth: w.Tokens, Limits: limits, Log: log, Now: w.Clock.Now})
	a.Add(api.Admin, console.Endpoints(console.Options{Version: "test", Auth: w.Tokens, Log: log, Operator: admin.Operator{Deps: admin.Deps{
		ServerName: clienttest.ServerName, Store: w.Store, Node: w.Node, Passwords: passwords, Sessions: w.Tokens, Log: log,
		Registrations: func() *appservice.Set { return services }}}})...)
	server := httptest.NewServer(a.Handler(api.Admin))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// browser keeps cookies, and sends with each form where it comes from.
type browser struct {
	*world
	http *http.Client
	csrf string
}

func (w *world) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{world: w, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request; form is nil for GET. change changes it before it is sent.
func (b *browser) do(path string, form url.Values, change ...func(*http.Request)) answer {
	b.t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.url)
		if b.csrf != "" {
			r.Header.Set("X-CSRF-Token", b.csrf)
		}
	}
	for _, f := range change {
		f(r)
	}
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		b.t.Fatalf("%s: %d %v %s", path, resp.StatusCode, err, b.log)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

func (b *browser) page(path string, wanted ...string) string {
	b.t.Helper()
	a := b.do(console.Base+path, nil)
	if a.status != http.StatusOK {
		b.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	for _, text := range wanted {
		if !strings.Contains(a.body, text) {
			b.t.Errorf("%s: no %q in %s", path, text, a.body)
		}
	}
	return a.body
}

var csrfIn = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// login logs in, and learns what forms send along.
func (b *browser) login(user string) answer {
	b.t.Helper()
	a := b.do(console.Base+"/login", url.Values{"user": {user}, "password": {thePassword}})
	if a.status == http.StatusSeeOther {
		found := csrfIn.FindStringSubmatch(b.page(""))
		if found == nil {
			b.t.Fatal("the page has no token for forms")
		}
		b.csrf = found[1]
	}
	return a
}

func fragmentOf(target string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("HX-Request", "true")
		r.Header.Set("HX-Target", target)
	}
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	if a := b.do(console.Base+"/rooms?match=x", nil); a.status != http.StatusSeeOther || a.header.Get("Location") != console.Base+"/login?next="+url.QueryEscape(console.Base+"/rooms?match=x") {
		t.Errorf("without a session: %d %v", a.status, a.header)
	}
	if a := b.do(console.Base, nil, fragmentOf("live")); a.status != http.StatusUnauthorized || a.header.Get("HX-Redirect") != console.Base+"/login" {
		t.Errorf("a fragment without a session: %d %v", a.status, a.header)
	}
	b.page("/login", "Log in", `autocomplete="current-password"`)
	for _, form := range []url.Values{{"user": {"root"}, "password": {"wrong"}}, {"user": {"nobody"}, "password": {thePassword}}, {"user": {""}, "password": {""}}, {"user": {"@root:elsewhere"}, "password": {thePassword}}} {
		if a := b.do(console.Base+"/login", form); a.status != http.StatusForbidden || !strings.Contains(a.body, "the user name or the password is wrong") || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%v: %d %s", form, a.status, a.body)
		}
	}
	if a := b.login("carol"); a.status != http.StatusForbidden || !strings.Contains(a.body, "not an administrator") || a.header.Get("Set-Cookie") != "" {
		t.Errorf("no administrator: %d %s", a.status, a.body)
	}
	a := b.login("root")
	cookie := a.header.Get("Set-Cookie")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != console.Base {
		t.Fatalf("%d %v", a.status, a.header)
	}
	for _, attribute := range []string{"HttpOnly", "SameSite=Strict", "Path=" + console.Base, "Max-Age=43200"} {
		if !strings.Contains(cookie, attribute) {
			t.Errorf("the cookie lacks %s: %s", attribute, cookie)
		}
	}
	if strings.Contains(cookie, "Secure") {
		t.Errorf("without TLS the browser would not keep %s", cookie)
	}
	devices, err := schema.Devices.All(t.Context(), w.Store, persistence.Range[schema.Device]{Prefix: schema.Device{UserID: "@root:" + clienttest.ServerName}, Keys: 1})
	if err != nil || len(devices) != 1 || devices[0].DisplayName != "Matrixon console" {
		t.Errorf("devices: %v %v", devices, err)
	}
	if a := b.do(console.Base+"/logout", url.Values{"csrf": {b.csrf}}); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("%d %v", a.status, a.header)
	}
	devices, err = schema.Devices.All(t.Context(), w.Store, persistence.Range[schema.Device]{Prefix: schema.Device{UserID: "@root:" + clienttest.ServerName}, Keys: 1})
	if err != nil || len(devices) != 0 {
		t.Errorf("devices after the logout: %v %v", devices, err)
	}
	if a := b.do(console.Base, nil); a.status != http.StatusSeeOther {
		t.Errorf("after the logout: %d", a.status)
	}
	if a := b.do(console.Base, nil, func(r *http.Request) { r.Header.Set("Cookie", strings.Split(cookie, ";")[0]) }); a.status != http.StatusSeeOther {
		t.Errorf("the token still works: %d", a.status)
	}
}

func TestAfterTheLoginComesThePageThatWasWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for next, to := range map[string]string{
		console.Base + "/rooms/%21a%2Fb?x=%2F": console.Base + "/rooms/%21a%2Fb?x=%2F", "https://evil.example/" + console.Base + "/": console.Base,
		"//evil.example" + console.Base + "/": console.Base, "/_matrix/x": console.Base, "": console.Base, console.Base + "evil": console.Base, "\n": console.Base, `/\evil.example`: console.Base,
	} {
		a := w.browser().do(console.Base+"/login", url.Values{"user": {"@root:" + clienttest.ServerName}, "password": {thePassword}, "next": {next}})
		if a.status != http.StatusSeeOther || a.header.Get("Location") != to {
			t.Errorf("%q: %d %v", next, a.status, a.header["Location"])
		}
	}
}

func TestGuessingIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		if a := w.browser().do(console.Base+"/login", url.Values{"user": {"root"}, "password": {"x"}}); a.status != http.StatusForbidden {
			t.Fatalf("%d", a.status)
		}
	}
	if a := w.browser().do(console.Base+"/login", url.Values{"user": {"root"}, "password": {thePassword}}); a.status != http.StatusTooManyRequests {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestForgedForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	b.login("root")
	lock := url.Values{"change": {"lock"}}
	path := console.Base + "/users/@carol:" + clienttest.ServerName
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			if value == "" {
				r.Header.Del(name)
				return
			}
			r.Header.Set(name, value)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"another origin": header("Origin", "https://evil.example"), "another site": header("Sec-Fetch-Site", "cross-site"),
		"another subdomain": header("Sec-Fetch-Site", "same-site"), "no token": header("X-CSRF-Token", ""), "a wrong token": header("X-CSRF-Token", "x"),
	} {
		if a := b.do(path, lock, change); a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.browser().do(console.Base+"/login", url.Values{"user": {"root"}, "password": {thePassword}}, header("Origin", "https://evil.example")); a.status != http.StatusForbidden || a.header.Get("Set-Cookie") != "" {
		t.Errorf("a login from elsewhere: %d %v", a.status, a.header)
	}
	carol, _, err := schema.Accounts.Get(t.Context(), w.Store, schema.Account{UserID: "@carol:" + clienttest.ServerName})
	if err != nil || carol.Locked {
		t.Errorf("%v %v", carol, err)
	}
	if a := b.do(path, lock); a.status != http.StatusOK {
		t.Errorf("the form itself: %d %s", a.status, a.body)
	}
}

func TestSessionsThatMayNoLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	b.login("root")
	root, _, err := schema.Accounts.Get(t.Context(), w.Store, schema.Account{UserID: "@root:" + clienttest.ServerName})
	if err != nil {
		t.Fatal(err)
	}
	become := func(change func(*schema.Account)) {
		now := root
		change(&now)
		w.Write(schema.Accounts.Put(now))
		w.Tokens.Forget(root.UserID)
	}
	become(func(a *schema.Account) { a.Suspended = true })
	b.page("/users", "@carol")
	if a := b.do(console.Base+"/users/@carol:"+clienttest.ServerName, url.Values{"change": {"lock"}}); a.status != http.StatusForbidden {
		t.Errorf("suspended: %d", a.status)
	}
	become(func(a *schema.Account) { a.Locked = true })
	if a := b.do(console.Base+"/users", nil); a.status != http.StatusSeeOther {
		t.Errorf("locked: %d", a.status)
	}
	b = w.browser()
	if a := b.login("root"); a.status != http.StatusForbidden {
		t.Errorf("a login while locked: %d", a.status)
	}
	become(func(*schema.Account) {})
	b.login("root")
	become(func(a *schema.Account) { a.Admin = false })
	if a := b.do(console.Base+"/users", nil); a.status != http.StatusForbidden || strings.Contains(a.body, "@carol") {
		t.Errorf("no administrator any more: %d %s", a.status, a.body)
	}
	become(func(*schema.Account) {})
	w.Clock.Advance(13 * time.Hour)
	if a := b.do(console.Base+"/users", nil); a.status != http.StatusSeeOther {
		t.Errorf("after half a day: %d", a.status)
	}
}

// services are the application services of the world: one that wants no traffic, and one whose actor is at rest.
var services = appservice.NewSet(clienttest.ServerName,
	&appservice.Registration{ID: "irc<b>", SenderLocalpart: "_irc", ASToken: "secret 1", HSToken: "secret 2"},
	&appservice.Registration{ID: "telegram", URL: "http://somebody:secret@127.0.0.1:1", SenderLocalpart: "_tg", ASToken: "secret 3", HSToken: "secret 4",
		Users: []appservice.Namespace{{Exclusive: true, Regexp: regexp.MustCompile("^(?:@_tg_.*)")}}})

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat", "name": "<script>alert(1)</script>", "topic": "T & U"})
	alice.Say(roomID, "hello")
	bob.Join(roomID)
	bob.Post(clienttest.Room(roomID, "report"), clienttest.J{"reason": "it is <b>loud</b>"}).OK()
	b := w.browser()
	b.login("root")
	const name = "&lt;script&gt;alert(1)&lt;/script&gt;"
	b.page("", "runs alone", "serving", "Active rooms")
	b.page("/actors?sort=rate&kind=room", roomID, `aria-sort="descending"`)
	if body := b.page("/actors?match=bob"); strings.Contains(body, roomID) || !strings.Contains(body, bob.ID) {
		t.Errorf("actors that match: %s", body)
	}
	b.page("/actors/room/"+url.PathEscape(roomID), "Last errors", "Journal position", "Put to rest", "active")
	b.page("/actors/user/"+url.PathEscape("@nobody:x"), "at rest")
	b.page("/rooms", name, roomID)
	if body := b.page("/rooms?match=nothing+like+it"); strings.Contains(body, roomID) {
		t.Errorf("rooms that match: %s", body)
	}
	b.page("/rooms/"+url.PathEscape(roomID), name, "T &amp; U", "Extremities (1)", alice.ID, bob.ID, ">12<")
	b.page("/rooms/"+url.PathEscape(roomID)+"/members?match=bob", bob.ID)
	b.page("/appservices", "irc&lt;b&gt;", "no traffic", "@_irc:"+clienttest.ServerName, "telegram", "Try now")
	body := b.page("/appservices/telegram", "@_tg_.*", "exclusive", "http://somebody:xxxxx@127.0.0.1:1", "Its actor")
	if strings.Contains(body, "secret") {
		t.Errorf("a secret is shown: %s", body)
	}
	b.page("/users", alice.ID, "administrator", "Deactivate")
	b.page("/users/"+url.PathEscape(alice.ID), alice.ID, "Lock")
	b.page("/reports", "it is &lt;b&gt;loud&lt;/b&gt;", roomID, bob.ID)
	for path, status := range map[string]int{
		"/rooms/!none": 404, "/appservices/none": 404, "/users/none": 404, "/users/!x": 400, "/actors/node/a": 404, "/actors?sort=x": 400, "/actors?kind=x": 400, "/actors?node=x": 404,
		"/reports?from=x": 400, "/static/x": 404, "/static/..%2Fconsole.go": 404, "/rebalance": 400,
	} {
		if a := b.do(console.Base+path, nil); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestFragments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(clienttest.J{})
	b := w.browser()
	b.login("root")
	room := console.Base + "/rooms/" + url.PathEscape(roomID)
	for path, target := range map[string]string{console.Base: "live", console.Base + "/actors": "live", room: "live", room + "/members": "members",
		console.Base + "/actors/room/" + url.PathEscape(roomID): "live", console.Base + "/users/alice": "live"} {
		if a := b.do(path, nil, fragmentOf(target)); a.status != http.StatusOK || strings.Contains(a.body, "<html") || len(a.body) < 50 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	a := b.do(console.Base+"/rooms/!none", nil, fragmentOf("live"))
	if a.status != http.StatusNotFound || a.header.Get("X-Console") != "notice" || a.header.Get("HX-Reswap") != "none" || !strings.Contains(a.body, "there is no room") {
		t.Errorf("a refusal: %d %v %s", a.status, a.header, a.body)
	}
}

func TestMembersArePaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	for i := range 55 {
		w.Register("m" + string(rune('a'+i/26)) + string(rune('a'+i%26))).Join(roomID)
	}
	b := w.browser()
	b.login("root")
	path := console.Base + "/rooms/" + url.PathEscape(roomID) + "/members?membership=join"
	first := b.do(path, nil, fragmentOf("members"))
	more := regexp.MustCompile(`hx-get="([^"]+)"`).FindStringSubmatch(first.body)
	if more == nil || strings.Count(first.body, "<tr><td") != 50 {
		t.Fatalf("%s", first.body)
	}
	second := b.do(strings.ReplaceAll(more[1], "&amp;", "&"), nil, fragmentOf("more"))
	if strings.Count(second.body, "<tr><td") != 6 || strings.Contains(second.body, "<table") || strings.Contains(second.body, "More members") {
		t.Errorf("%s", second.body)
	}
}

func TestButtons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.Register("alice")
	roomID := alice.CreateRoom(clienttest.J{})
	alice.Post(clienttest.Room(roomID, "report"), clienttest.J{"reason": "x"}).OK()
	b := w.browser()
	b.login("root")
	user := console.Base + "/users/" + url.PathEscape(alice.ID)
	for _, change := range []struct {
		name, told string
		is         func(schema.Account) bool
	}{
		{"lock", "is locked", func(a schema.Account) bool { return a.Locked }},
		{"unlock", "is unlocked", func(a schema.Account) bool { return !a.Locked }},
		{"suspend", "is suspended", func(a schema.Account) bool { return a.Suspended }},
		{"unsuspend", "no longer suspended", func(a schema.Account) bool { return !a.Suspended }},
		{"promote", "is an administrator", func(a schema.Account) bool { return a.Admin }},
		{"demote", "no longer an administrator", func(a schema.Account) bool { return !a.Admin }},
		{"deactivate", "is deactivated", func(a schema.Account) bool { return a.Deactivated }},
	} {
		a := b.do(user, url.Values{"change": {change.name}})
		now, _, err := schema.Accounts.Get(context.Background(), w.Store, schema.Account{UserID: alice.ID})
		if a.status != http.StatusOK || !strings.Contains(a.body, change.told) || !strings.Contains(a.body, `<tr data-id="`+alice.ID) || err != nil || !change.is(now) {
			t.Errorf("%s: %d %s %+v %v", change.name, a.status, a.body, now, err)
		}
	}
	for path, form := range map[string]url.Values{
		console.Base + "/users/@root:" + clienttest.ServerName: {"change": {"demote"}}, console.Base + "/users/root": {"change": {"demote"}},
		user:                           {"change": {"explode"}},
		console.Base + "/users/nobody": {"change": {"lock"}},
		console.Base + "/actors/room/" + url.PathEscape(roomID) + "/move": {"to": {"b"}},
		console.Base + "/nodes/a/drain":                                   {"draining": {"true"}},
		console.Base + "/nodes/b/drain":                                   {"draining": {"maybe"}},
		console.Base + "/rebalance":                                       {"done": {"0"}, "id": {"!a"}, "kind": {"room"}, "from": {"a"}, "to": {""}, "why": {""}},
		console.Base + "/reports/x/close":                                 {},
		console.Base + "/appservices/none/retry":                          {},
		console.Base + "/destinations/b.example/explode":                  {},
		console.Base + "/appservices/irc%3Cb%3E/retry":                    {},
		console.Base + "/actors/room/!none/stop":                          {},
	} {
		if a := b.do(path, form, fragmentOf("x")); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, "notice bad") {
			t.Errorf("%s %v: %d %s", path, form, a.status, a.body)
		}
	}
	if a := b.do(console.Base+"/actors/room/"+url.PathEscape(roomID)+"/stop", url.Values{}); a.status != http.StatusOK || a.header.Get("HX-Trigger") != "tick" || a.header.Get("HX-Reswap") != "none" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if _, err := w.Node.Inspect(context.Background(), cluster.Identity{Kind: cluster.KindRoom, ID: roomID}); err == nil {
		t.Error("the room is still awake")
	}
	closeURL := regexp.MustCompile(`hx-post="([^"]+/close)"`).FindStringSubmatch(b.page("/reports"))
	if closeURL == nil {
		t.Fatal("no report")
	}
	if a := b.do(closeURL[1], url.Values{}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.page("/reports", "Nobody has reported anything")
}

func TestPlansAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	b.login("root")
	many := url.Values{"done": {"0"}}
	for range 201 {
		for _, name := range []string{"id", "kind", "from", "to", "why"} {
			many.Add(name, "x")
		}
	}
	one := func(done string) url.Values {
		return url.Values{"done": {done}, "id": {"!a"}, "kind": {"room"}, "from": {"a"}, "to": {"b"}, "why": {"w"}}
	}
	short := one("0")
	short.Add("id", "!b")
	for _, form := range []url.Values{{}, many, one("1"), one("-1"), one("x"), short} {
		if a := b.do(console.Base+"/rebalance", form); a.status != http.StatusBadRequest {
			t.Errorf("%.200v: %d %s", form, a.status, a.body)
		}
	}
	// A move that fails ends the plan.
	if a := b.do(console.Base+"/rebalance", one("0")); a.status != http.StatusOK || !strings.Contains(a.body, "A move failed") || strings.Contains(a.body, "hx-trigger") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Whatever the console answers, a browser may only show it, no other page may have it in a frame, and nothing in it is secret.
func TestWhatBrowsersAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	token := regexp.MustCompile(`matrixon_console=([^;]+)`).FindStringSubmatch(b.login("root").header.Get("Set-Cookie"))[1]
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script>|javascript:|hx-on`)
	for _, path := range []string{"", "/login", "/actors", "/rooms", "/users", "/reports", "/users/@root:" + clienttest.ServerName, "/rooms/!none", "/static/console.css", "/static/console.js", "/static/htmx.min.js", "/static/icon.svg"} {
		a := b.do(console.Base+path, nil)
		policy := a.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") || a.header.Get("X-Content-Type-Options") != "nosniff" ||
			a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Content-Type") == "" {
			t.Errorf("%s: %v", path, a.header)
		}
		static := strings.HasPrefix(path, "/static/")
		if !static && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %v", path, a.header)
		}
		if strings.Contains(a.body, token) || strings.Contains(a.body, thePassword) {
			t.Errorf("%s tells a secret", path)
		}
		if !static && inline.MatchString(a.body) {
			t.Errorf("%s has an inline script or style: %s", path, inline.FindString(a.body))
		}
	}
	b.do(console.Base+"/login", url.Values{"user": {"root"}, "password": {"wrong " + thePassword}})
	if log := w.log.String(); strings.Contains(log, token) || strings.Contains(log, thePassword) || !strings.Contains(log, "path=") {
		t.Errorf("the log tells a secret:\n%s", log)
	}
	for _, change := range []func(*http.Request){func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }} {
		a := w.browser().do(console.Base+"/login", url.Values{"user": {"root"}, "password": {thePassword}}, change)
		if !strings.Contains(a.header.Get("Set-Cookie"), "Secure") {
			t.Errorf("behind a proxy with TLS: %v", a.header)
		}
	}
}
