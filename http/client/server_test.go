package client_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/hub"
	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

const serverName = "example.org"

// clock is the time of a test's server.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// server is the real router over real user actors and the memory store; rooms note what they are asked.
type server struct {
	t      *testing.T
	http   *httptest.Server
	store  persistence.Store
	node   *cluster.Node
	clock  *clock
	tokens *api.Tokens
	deps   client.Deps
	seen   *api.LastSeen

	mu    sync.Mutex
	rooms []roomCall
}

type roomCall struct {
	room    string
	action  messages.ChangeMembership_Action
	target  string
	content string
}

// room is a room that agrees to everything.
type room struct {
	server *server
	id     string
}

func (r room) Load(context.Context, cluster.Self) error { return nil }
func (r room) Receive(m cluster.Message) {
	if change, ok := m.Body.(*messages.ChangeMembership); ok {
		r.server.mu.Lock()
		r.server.rooms = append(r.server.rooms, roomCall{r.id, change.Action, change.Target, string(change.Content)})
		r.server.mu.Unlock()
		m.Reply(&messages.EventSent{EventId: "$e"})
	}
}
func (r room) Idle() bool                { return true }
func (r room) Stopping()                 {}
func (r room) Inspect(*messages.Summary) {}

func (s *server) roomCalls() []roomCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.rooms
	s.rooms = nil
	return calls
}

type setup struct {
	account      client.AccountOptions
	registration client.RegistrationOptions
	limits       *api.Limits
}

func newServer(t *testing.T, change ...func(*setup)) *server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &server{t: t, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, store: memory.New(memory.Options{})}
	s.node = cluster.NewNode(cluster.Options{Name: "a", Logger: log})
	h := hub.New(s.node)
	s.store.Follow(h.Publish)
	kinds := []cluster.Kind{
		{Name: cluster.KindUser, Bound: 100, New: user.New(user.Deps{Store: s.store, Hub: h, Now: s.clock.Now, Log: log}, account.Handlers(account.Options{})...)},
		{Name: cluster.KindRoom, Bound: 100, New: func(id cluster.Identity) cluster.Behavior { return room{s, id.ID} }},
	}
	for _, k := range kinds {
		if err := s.node.Register(k); err != nil {
			t.Fatal(err)
		}
	}
	passwords, err := password.New(password.Parameters{MemoryKiB: 8, Iterations: 1, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.deps = client.Deps{ServerName: serverName, Store: s.store, Caller: s.node, Now: s.clock.Now, Log: log,
		Notices: client.Notices{UserID: "@_server:" + serverName}}
	s.tokens = api.NewTokens(api.TokensOptions{Store: s.store, Now: s.clock.Now, Remember: time.Minute, FirstUse: client.ConfirmRefresh(s.deps)})
	s.seen = api.NewLastSeen(client.WriteSightings(s.deps))
	c := setup{registration: client.RegistrationOptions{Open: true, SharedSecret: "shared"}, account: client.AccountOptions{
		Sessions: s.tokens, Passwords: passwords,
		UIA:            &uia.Engine{ServerName: serverName, Store: s.store, Passwords: passwords},
		AccessLifetime: time.Hour,
	}}
	for _, f := range change {
		f(&c)
	}
	c.account.Registration = func() client.RegistrationOptions { return c.registration }
	a := api.New(api.Options{Auth: s.tokens, Limits: c.limits, Seen: s.seen, Log: log, Now: s.clock.Now})
	a.Add(api.Client, client.Accounts(s.deps, c.account)...)
	a.Add(api.Admin, client.SharedSecretRegistration(s.deps, c.account)...)
	s.http = httptest.NewServer(a.Handler(api.Client, api.Admin))
	t.Cleanup(func() {
		s.http.Close()
		s.tokens.Close()
		c.limits.Close()
		if err := s.node.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// m is a JSON object.
type m = map[string]any

type answer struct {
	t      *testing.T
	call   string
	status int
	body   m
	raw    string
	header http.Header
}

// do makes a request; body is marshalled unless it is a string or nil.
func (s *server) do(method, path, token string, body any) answer {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b, json.Deterministic(true))
		if err != nil {
			s.t.Fatal(err)
		}
		reader = strings.NewReader(string(raw))
	}
	req, err := http.NewRequest(method, s.http.URL+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.http.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{t: s.t, call: method + " " + path, status: resp.StatusCode, raw: string(raw), header: resp.Header}
	if err := json.Unmarshal(raw, &a.body); err != nil {
		s.t.Fatalf("%s: the answer is no JSON object: %v\n%s", a.call, err, raw)
	}
	return a
}

// v3 is do below /_matrix/client/v3.
func (s *server) v3(method, path, token string, body any) answer {
	s.t.Helper()
	return s.do(method, "/_matrix/client/v3"+path, token, body)
}

// ok fails the test unless the status is 200.
func (a answer) ok() answer {
	a.t.Helper()
	if a.status != 200 {
		a.t.Fatalf("%s: %d %s", a.call, a.status, a.raw)
	}
	return a
}

// refused fails the test unless the status and errcode are these.
func (a answer) refused(status int, code string) answer {
	a.t.Helper()
	if got, _ := a.body["errcode"].(string); a.status != status || got != code {
		a.t.Fatalf("%s: %d %s, want %d %s", a.call, a.status, a.raw, status, code)
	}
	return a
}

// text is a member that must be a string.
func (a answer) text(name string) string {
	a.t.Helper()
	s, ok := a.body[name].(string)
	if !ok {
		a.t.Fatalf("%s: no string %q in %s", a.call, name, a.raw)
	}
	return s
}

const pass = "correct horse"

// person is a registered user with a session.
type person struct{ id, token, device string }

func (s *server) register(name string) person {
	s.t.Helper()
	a := s.v3("POST", "/register", "", m{"username": name, "password": pass, "auth": m{"type": "m.login.dummy"}}).ok()
	return person{a.text("user_id"), a.text("access_token"), a.text("device_id")}
}

func (s *server) login(p person, more m) answer {
	s.t.Helper()
	body := m{"type": "m.login.password", "identifier": m{"type": "m.id.user", "user": p.id}, "password": pass}
	for k, v := range more {
		body[k] = v
	}
	return s.v3("POST", "/login", "", body)
}

// prove adds to the body what the 401 of the first call asks for.
func (s *server) prove(method, path string, p person, body m) answer {
	s.t.Helper()
	first := s.do(method, path, p.token, body)
	if first.status != 401 {
		s.t.Fatalf("%s: %d %s, want a challenge", first.call, first.status, first.raw)
	}
	with := m{"auth": m{"type": "m.login.password", "identifier": m{"type": "m.id.user", "user": p.id}, "password": pass, "session": first.text("session")}}
	for k, v := range body {
		with[k] = v
	}
	return s.do(method, path, p.token, with)
}

// write commits rows as if some actor had.
func (s *server) write(rows ...persistence.Mutation) {
	s.t.Helper()
	if _, err := persistence.Await(context.Background(), s.store, &persistence.Commit{Write: rows}); err != nil {
		s.t.Fatal(err)
	}
}

// member makes someone a member of a room.
func (s *server) member(userID, roomID, membership string) {
	s.t.Helper()
	s.write(schema.Memberships.Put(schema.Membership{UserID: userID, RoomID: roomID, Membership: membership}))
}

func (s *server) whoami(token string) answer {
	s.t.Helper()
	return s.v3("GET", "/account/whoami", token, nil)
}

// has reports whether the store holds rows below the prefix.
func has[R any](s *server, t *persistence.Table[R], prefix R, keys int) bool {
	s.t.Helper()
	rows, err := t.All(context.Background(), s.store, persistence.Range[R]{Prefix: prefix, Keys: keys, Limit: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(rows) > 0
}
