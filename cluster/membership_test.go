package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

// registry is a directory in memory, shared by the nodes of a test.
type registry struct {
	mu        sync.Mutex
	members   map[string]Member
	overrides map[Identity]Override
	draining  map[string]bool
	watchers  map[string]func(Observation)
	down      map[string]bool // by node: the directory does not answer it
}

func newRegistry() *registry {
	return &registry{members: map[string]Member{}, overrides: map[Identity]Override{}, draining: map[string]bool{},
		watchers: map[string]func(Observation){}, down: map[string]bool{}}
}

// tell gives everybody the view. The caller holds mu.
func (r *registry) tell() {
	var all []Member
	for _, m := range r.members {
		m.Draining = r.draining[m.Name]
		all = append(all, m)
	}
	for name, changed := range r.watchers {
		if !r.down[name] {
			changed(Observation{View: NewView(all, maps.Clone(r.overrides)), Reachable: true})
		}
	}
}

func (r *registry) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.tell()
}

// cutOff has the directory not answer the node any more, and the others do without it.
func (r *registry) cutOff(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	watcher := r.watchers[name]
	r.down[name] = true
	var all []Member
	for _, m := range r.members {
		all = append(all, m)
	}
	watcher(Observation{View: NewView(all, nil), Reachable: false})
	delete(r.members, name)
	r.tell()
}

// desk is one node's side of the registry.
type desk struct {
	*registry
	self Member
}

func (d *desk) Join(_ context.Context, self Member, changed func(Observation)) error {
	d.self = self
	d.change(func() { d.members[self.Name], d.watchers[self.Name] = self, changed })
	return nil
}

func (d *desk) Leave(context.Context) error {
	d.change(func() {
		delete(d.members, d.self.Name)
		delete(d.watchers, d.self.Name)
	})
	return nil
}

func (d *desk) Rejoin(_ context.Context, incarnation string) error {
	d.change(func() {
		d.self.Incarnation = incarnation
		d.members[d.self.Name] = d.self
		delete(d.down, d.self.Name)
	})
	return nil
}

func (d *desk) SetWeight(_ context.Context, weight float64) error {
	d.change(func() {
		d.self.Weight = weight
		d.members[d.self.Name] = d.self
	})
	return nil
}

func (d *desk) SetDraining(_ context.Context, member string, draining bool) error {
	d.change(func() { d.draining[member] = draining })
	return nil
}

func (d *desk) Move(_ context.Context, id Identity, to Override) error {
	d.change(func() {
		if d.overrides[id] = to; to == (Override{}) {
			delete(d.overrides, id)
		}
	})
	return nil
}

// ledger is the store of the actors of a test: it knows who may write, and counts.
type ledger struct {
	mu     sync.Mutex
	epochs map[string]int
	counts map[string]int
	homes  map[string]string
}

// counter is an actor that counts in the ledger what it is asked.
type counter struct {
	ledger *ledger
	node   string
	id     string
	epoch  int
}

func (c *counter) Load(context.Context, Self) error {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.ledger.epochs[c.id]++
	c.epoch = c.ledger.epochs[c.id]
	c.ledger.homes[c.id] = c.node
	return nil
}

func (c *counter) Receive(m Message) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	if c.ledger.epochs[c.id] != c.epoch {
		m.Fail(Retry())
		return
	}
	c.ledger.counts[c.id]++
	m.Reply(&messages.EventSent{EventId: c.node, Seq: uint64(c.ledger.counts[c.id])})
}

func (c *counter) Idle() bool                { return true }
func (c *counter) Stopping()                 {}
func (c *counter) Inspect(*messages.Summary) {}

// fleet is several nodes in one process.
type fleet struct {
	t        testing.TB
	registry *registry
	ledger   *ledger
	nodes    map[string]*Node
	members  map[string]*Membership
	lost     chan error
}

func newFleet(t testing.TB, names ...string) *fleet {
	f := &fleet{t: t, registry: newRegistry(), nodes: map[string]*Node{}, members: map[string]*Membership{}, lost: make(chan error, 8),
		ledger: &ledger{epochs: map[string]int{}, counts: map[string]int{}, homes: map[string]string{}}}
	for _, name := range names {
		f.start(name, "the secret")
	}
	return f
}

func (f *fleet) start(name, secret string) (*Node, *Membership) {
	f.t.Helper()
	n := NewNode(Options{Name: name, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	err := n.Register(Kind{Name: KindRoom, Bound: 1000, New: func(id Identity) Behavior {
		return &counter{ledger: f.ledger, node: name, id: id.ID}
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	config, err := SecretTLS(secret)
	if err != nil {
		f.t.Fatal(err)
	}
	m, err := n.Join(context.Background(), Joining{Directory: &desk{registry: f.registry}, Listener: ln, TLS: config, Weight: 1,
		CatchUp: func(context.Context) error { return nil }, Lost: func(err error) { f.lost <- err }})
	if err != nil {
		f.t.Fatal(err)
	}
	f.nodes[name], f.members[name] = n, m
	f.t.Cleanup(func() { f.end(name) })
	return n, m
}

// end is a planned departure.
func (f *fleet) end(name string) {
	m, n := f.members[name], f.nodes[name]
	if m == nil {
		return
	}
	delete(f.members, name)
	delete(f.nodes, name)
	ctx := context.Background()
	if err := m.Leave(ctx); err != nil {
		f.t.Error(err)
	}
	if err := n.Stop(ctx); err != nil {
		f.t.Error(err)
	}
}

func roomID(i int) Identity { return Identity{KindRoom, fmt.Sprintf("!%d", i)} }

// ask asks an actor from a node and gives where it was answered.
func (f *fleet) ask(from string, id Identity) (home string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := Ask[*messages.EventSent](ctx, f.nodes[from], id, &messages.SendEvent{})
	if err != nil {
		f.t.Fatalf("%s asked for %v: %v", from, id, err)
	}
	return answer.EventId
}

func TestEveryNodeFindsEveryActor(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c")
	homes := map[string]int{}
	for i := range 90 {
		home := f.ask("a", roomID(i))
		homes[home]++
		for _, from := range []string{"b", "c"} {
			if again := f.ask(from, roomID(i)); again != home {
				t.Fatalf("room %d lives on %s for a and on %s for %s", i, home, again, from)
			}
		}
	}
	if len(homes) != 3 {
		t.Errorf("rooms live on %v", homes)
	}
	// Whoever leaves gives its actors to the others; nobody else's move.
	before := maps.Clone(f.ledger.homes)
	f.end("b")
	for i := range 90 {
		home := f.ask("a", roomID(i))
		if was := before[roomID(i).ID]; was != "b" && was != home {
			t.Errorf("room %d moved from %s to %s", i, was, home)
		}
	}
}

func TestErrorsCrossNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	if _, err := f.nodes["a"].Ask(context.Background(), Identity{"planet", "x"}, &messages.SendEvent{}); err == nil {
		t.Error("an actor of an unknown kind answered")
	}
	for i := range 10 { // whose answer is of another type
		if _, err := Ask[*messages.Done](context.Background(), f.nodes["a"], roomID(i), &messages.SendEvent{}); err == nil {
			t.Error("an answer of another type was taken")
		}
	}
}

// TestMovesFailNothing moves, drains, adds and removes nodes while everybody asks: no request fails, and none is counted
// twice.
func TestMovesFailNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c")
	const rooms = 12
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var asked [rooms]atomic.Int64
	var all sync.WaitGroup
	for _, from := range []string{"a", "b", "c"} {
		n := f.nodes[from]
		for worker := range 4 {
			all.Go(func() {
				for i := worker; ctx.Err() == nil; i++ {
					id := roomID(i % rooms)
					if _, err := n.Ask(context.Background(), id, &messages.SendEvent{}); err != nil {
						t.Errorf("%s asked for %v: %v", from, id, err)
						return
					}
					asked[i%rooms].Add(1)
				}
			})
		}
	}
	for i := range 30 {
		id := roomID(i % rooms)
		home := f.members["a"].View().Owner(id)
		to := []string{"a", "b", "c"}[i%3]
		if err := f.members[home].Move(ctx, id, Override{Member: to}); err != nil {
			t.Fatal(err)
		}
		if now := f.ask("b", id); now != to {
			t.Errorf("%v lives on %s after its move to %s", id, now, to)
		}
	}
	if err := f.members["a"].Drain(ctx, "b", true); err != nil {
		t.Fatal(err)
	}
	if err := f.members["b"].Empty(ctx); err != nil {
		t.Fatal(err)
	}
	if f.members["b"].Serving() == nil {
		t.Error("a node that is drained says that it serves")
	}
	for i := range rooms {
		if home := f.ask("b", roomID(i)); home == "b" {
			t.Errorf("room %d lives on a drained node", i)
		}
	}
	if err := f.members["a"].Drain(ctx, "b", false); err != nil {
		t.Fatal(err)
	}
	stop()
	all.Wait()
	f.start("d", "the secret")
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	for i := range rooms {
		if counted, expected := int64(f.ledger.counts[roomID(i).ID]), asked[i].Load(); counted < expected {
			t.Errorf("room %d counted %d of %d", i, counted, expected)
		}
	}
}

func TestAStrangerIsNotHeard(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a")
	stranger, _ := f.start("b", "another secret")
	var theirs Identity
	for i := 0; theirs.ID == ""; i++ {
		if id := roomID(i); f.members["a"].View().Owner(id) == "a" {
			theirs = id
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := stranger.Ask(ctx, theirs, &messages.SendEvent{}); err == nil {
		t.Error("a node with another secret was answered")
	}
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	if f.ledger.counts[theirs.ID] != 0 {
		t.Error("a node with another secret was heard")
	}
}

func TestANodeThatTheClusterForgotComesBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	first := f.members["b"].member().Incarnation
	f.registry.change(func() { delete(f.registry.members, "b") })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := f.members["a"].until(ctx, func(v *View) bool {
		b, ok := v.Member("b")
		return ok && b.Incarnation != first
	})
	if err != nil {
		t.Fatal("it did not come back")
	}
	for i := range 20 {
		f.ask("a", roomID(i))
		f.ask("b", roomID(i))
	}
}

// A node that the directory does not answer, but the peers do, follows them.
func TestACutOffNodeFollowsItsPeers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	f.registry.cutOff("b")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := f.members["b"].until(ctx, func(v *View) bool {
		_, there := v.Member("b")
		return !there && len(v.Members()) == 1
	})
	if err != nil {
		t.Fatal("it goes on as if nothing had happened")
	}
	for i := range 20 {
		if home := f.ask("b", roomID(i)); home != "a" {
			t.Errorf("room %d lives on %s", i, home)
		}
	}
}

// What a peer said while the directory was silent does not count any more once the directory has spoken.
func TestAPeersViewThatComesTooLate(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	var mended sync.Once
	looked := make(chan struct{})
	look := f.members["a"].server.look
	f.members["a"].server.look = func() *messages.PeerView {
		said := look()
		mended.Do(func() {
			self := f.members["b"].member()
			f.registry.change(func() {
				f.registry.members["b"] = self
				delete(f.registry.down, "b")
			})
			close(looked)
		})
		return said
	}
	f.registry.cutOff("b")
	<-looked
	for i := range 20 {
		if from, home := f.ask("a", roomID(i)), f.ask("b", roomID(i)); from != home {
			t.Errorf("room %d lives on %s for a and on %s for b", i, from, home)
		}
	}
}

func TestTwoProcessesWithOneName(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	f.registry.change(func() {
		m := f.registry.members["b"]
		m.Incarnation = "another"
		f.registry.members["b"] = m
	})
	select {
	case err := <-f.lost:
		t.Log(err)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed")
	}
}

// hearer is a node's own actor.
type hearer struct {
	counter
	heard chan proto.Message
}

func (h *hearer) Load(context.Context, Self) error { return nil }
func (h *hearer) Receive(m Message)                { h.heard <- m.Body.(proto.Message) }

func TestBroadcast(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c")
	heard := make(chan proto.Message, 8)
	for _, n := range f.nodes {
		if err := n.Register(Kind{Name: KindNode, Bound: 100, New: func(Identity) Behavior { return &hearer{heard: heard} }}); err != nil {
			t.Fatal(err)
		}
	}
	f.members["a"].Broadcast(&messages.RoomNotice{RoomId: "!x"})
	for range 2 {
		select {
		case m := <-heard:
			if n, ok := m.(*messages.RoomNotice); !ok || n.RoomId != "!x" {
				t.Errorf("heard %v", m)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a broadcast was not heard")
		}
	}
}

func TestViewsSpreadByWeight(t *testing.T) {
	t.Parallel()
	count := func(v *View) map[string]int {
		homes := map[string]int{}
		for i := range 30_000 {
			homes[v.Owner(roomID(i))]++
		}
		return homes
	}
	members := []Member{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 2}, {Name: "d", Weight: 1, Draining: true}}
	v := NewView(members, map[Identity]Override{roomID(1): {Member: "a", Pinned: true}, roomID(2): {Member: "d"}, roomID(3): {Member: "nobody"}})
	for name, want := range map[string]int{"a": 7500, "b": 7500, "c": 15_000, "d": 0} {
		if got := count(v)[name]; got < want*95/100 || got > want*105/100 {
			t.Errorf("%s has %d actors, want about %d", name, got, want)
		}
	}
	if v.Owner(roomID(1)) != "a" || v.Owner(roomID(2)) == "d" || v.Owner(roomID(3)) == "nobody" {
		t.Error("an override is not kept, or kept though its member takes nothing")
	}
	if !v.Pinned(roomID(1)) || v.Pinned(roomID(2)) || v.Pinned(roomID(9)) {
		t.Error("pins are not kept")
	}
	if v.Owner(Identity{KindNode, "x"}) != "x" {
		t.Error("a node does not live on itself")
	}
	// The order in which the members are listed does not matter.
	slices.Reverse(members)
	other := NewView(members, nil)
	for i := 10; i < 1000; i++ {
		if v.Owner(roomID(i)) != other.Owner(roomID(i)) {
			t.Fatal("two nodes disagree")
		}
	}
	if NewView(nil, nil).Owner(roomID(1)) != "" {
		t.Error("nobody owns something")
	}
}
