package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/node"
	"github.com/matrixon/matrixon/actors/room"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/docs"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// world is a server with the admin API, and an administrator.
type world struct {
	*clienttest.World
	t    *testing.T
	deps admin.Deps
	url  string
	root *clienttest.User
	log  *book
	dir  *directory // of the cluster, if it is one
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
	passwords, err := password.New(password.Parameters{MemoryKiB: 8, Iterations: 1, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.speak(w.Node)
	balancer, err := node.NewRebalancer(w.Node, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	even := cluster.Balance{Tolerance: 0.1, Moves: 3}
	w.deps = admin.Deps{ServerName: clienttest.ServerName, Store: w.Store, Node: w.Node, Passwords: passwords, Sessions: w.Tokens, Log: log, Description: docs.AdminAPI,
		Rebalance: func(ctx context.Context, dryRun bool) ([]cluster.PlannedMove, error) {
			if dryRun {
				return balancer.Plan(ctx, even)
			}
			return balancer.Rebalance(ctx, even)
		}}
	w.root = w.Register("root")
	w.Write(schema.Accounts.Put(schema.Account{UserID: w.root.ID, Admin: true}))
	w.serve(func(*admin.Deps) {})
	return w
}

// serve serves the admin API with some of what it needs changed.
func (w *world) serve(change func(*admin.Deps)) {
	w.t.Helper()
	change(&w.deps)
	a := api.New(api.Options{Auth: w.Tokens, Log: slog.New(slog.DiscardHandler), Now: w.Clock.Now})
	a.Add(api.Admin, admin.Endpoints(w.deps)...)
	server := httptest.NewServer(a.Handler(api.Admin))
	w.t.Cleanup(server.Close)
	w.url = server.URL
}

// speak has the node answer for itself.
func (w *world) speak(n *cluster.Node) {
	w.t.Helper()
	kind := cluster.Kind{Name: cluster.KindNode, Bound: 1000, New: node.New(node.Deps{Node: n, Typing: func(*messages.RoomNotice) {},
		Limit: func(string, string, int) error { return nil }, Position: w.Store.Position, Version: "test", Started: time.Now()})}
	broken := cluster.Kind{Name: "faulty", Bound: 10, New: func(cluster.Identity) cluster.Behavior { return faulty{} }}
	if err := errors.Join(n.Register(kind), n.Register(broken)); err != nil {
		w.t.Fatal(err)
	}
}

// faulty is an actor that cannot begin.
type faulty struct{}

func (faulty) Load(context.Context, cluster.Self) error { return mxerr.Unknown("its journal is torn") }
func (faulty) Receive(cluster.Message)                  {}
func (faulty) Idle() bool                               { return true }
func (faulty) Stopping()                                {}
func (faulty) Inspect(*messages.Summary)                {}

// cluster makes the node one of two, a and b, with the same store.
func (w *world) cluster() {
	w.t.Helper()
	other := cluster.NewNode(cluster.Options{Name: "b", Logger: slog.New(slog.DiscardHandler)})
	w.speak(other)
	if err := other.Register(cluster.Kind{Name: cluster.KindRoom, Bound: 1000, New: room.New(room.Deps{Store: w.Store, Typing: func(*messages.RoomNotice) {},
		ServerName: clienttest.ServerName, Key: signing.NewKey("a_test", make([]byte, 32)), Now: w.Clock.Now})}); err != nil {
		w.t.Fatal(err)
	}
	w.dir = &directory{members: map[string]cluster.Member{}, overrides: map[cluster.Identity]cluster.Override{}, watchers: map[string]func(cluster.Observation){}}
	for _, n := range []*cluster.Node{w.Node, other} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		weight := map[string]float64{"a": 1}[n.Name()] // b gets only what is moved there
		m, err := n.Join(w.t.Context(), cluster.Joining{Directory: &desk{directory: w.dir}, Listener: ln, Version: "test", Weight: weight,
			CatchUp: func(context.Context) error { return nil }, Lost: func(err error) { w.t.Errorf("%s is lost: %v", n.Name(), err) }})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() {
			if err := m.Leave(context.Background()); err != nil {
				w.t.Error(err)
			}
			if n == other {
				if err := n.Stop(context.Background()); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
}

// directory is a cluster.Directory in memory.
type directory struct {
	mu        sync.Mutex
	members   map[string]cluster.Member
	overrides map[cluster.Identity]cluster.Override
	watchers  map[string]func(cluster.Observation)
}

func (d *directory) change(f func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	var all []cluster.Member
	for _, m := range d.members {
		all = append(all, m)
	}
	for _, changed := range d.watchers {
		changed(cluster.Observation{View: cluster.NewView(all, maps.Clone(d.overrides)), Reachable: true})
	}
	return nil
}

// desk is one node's side of the directory.
type desk struct {
	*directory
	self string
}

func (d *desk) Join(_ context.Context, self cluster.Member, changed func(cluster.Observation)) error {
	d.self = self.Name
	return d.change(func() { d.members[self.Name], d.watchers[self.Name] = self, changed })
}

func (d *desk) Leave(context.Context) error {
	return d.change(func() {
		delete(d.members, d.self)
		delete(d.watchers, d.self)
	})
}

func (d *desk) update(name string, f func(*cluster.Member)) error {
	return d.change(func() {
		m := d.members[name]
		f(&m)
		d.members[name] = m
	})
}

func (d *desk) Rejoin(_ context.Context, incarnation string) error {
	return d.update(d.self, func(m *cluster.Member) { m.Incarnation = incarnation })
}

func (d *desk) SetWeight(_ context.Context, weight float64) error {
	return d.update(d.self, func(m *cluster.Member) { m.Weight = weight })
}

func (d *desk) SetDraining(_ context.Context, member string, draining bool) error {
	return d.update(member, func(m *cluster.Member) { m.Draining = draining })
}

func (d *desk) Move(_ context.Context, id cluster.Identity, to cluster.Override) error {
	return d.change(func() {
		if d.overrides[id] = to; to == (cluster.Override{}) {
			delete(d.overrides, id)
		}
	})
}

// ask makes a request as somebody, which must be answered with this status.
func (w *world) ask(u *clienttest.User, method, path string, body any, status int) gjson.Result {
	w.t.Helper()
	got, raw := w.request(u.Token, method, path, body)
	if got != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, path, got, raw, status)
	}
	return gjson.ParseBytes(raw)
}

func (w *world) request(token, method, path string, body any) (status int, answer []byte) {
	w.t.Helper()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = strings.NewReader(string(raw))
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+admin.Base+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	checkDescribed(w.t, method, path, resp.StatusCode, raw)
	return resp.StatusCode, raw
}

func (w *world) get(path string) gjson.Result {
	w.t.Helper()
	return w.ask(w.root, http.MethodGet, path, nil, http.StatusOK)
}

// account is a user with an account as registration makes it.
func (w *world) account(userID string) schema.Account {
	w.t.Helper()
	a, ok, err := schema.Accounts.Get(w.t.Context(), w.Store, schema.Account{UserID: userID})
	if err != nil || !ok {
		w.t.Fatal(ok, err)
	}
	return a
}

func actorPath(kind, id string) string { return "/actors/" + kind + "/" + url.PathEscape(id) }
