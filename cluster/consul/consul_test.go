package consul

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/deploy/local"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Connections that the HTTP clients of the package and of Consul's keep for the next request.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func start(t *testing.T) *local.Consul {
	t.Helper()
	c, err := local.StartConsul(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// node is one node's side.
type node struct {
	*Directory
	t    *testing.T
	name string

	mu   sync.Mutex
	now  cluster.Observation
	past []cluster.Observation // and now
	left bool
}

func join(t *testing.T, address, server, name, incarnation string) *node {
	t.Helper()
	d, err := New(Options{Address: address, ServerName: server, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Directory: d, t: t, name: name}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = d.Join(ctx, cluster.Member{Name: name, Incarnation: incarnation, Address: "127.0.0.1:1", Version: "v", Weight: 1.5}, n.see)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.leave)
	return n
}

func (n *node) leave() {
	n.mu.Lock()
	left := n.left
	n.left = true
	n.mu.Unlock()
	if !left {
		_ = n.Leave(context.Background()) // Consul may be gone
	}
}

func (n *node) see(o cluster.Observation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now, n.past = o, append(n.past, o)
}

// sees waits until the node sees exactly these members and the condition holds.
func (n *node) sees(names []string, also func(cluster.Observation) bool) time.Duration {
	n.t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := n.until(ctx, func(o cluster.Observation) bool {
		var seen []string
		for _, m := range o.View.Members() {
			seen = append(seen, m.Name)
		}
		return slices.Equal(seen, names) && (also == nil || also(o))
	})
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.t.Fatalf("%s does not see %v but %+v (reachable: %v)", n.name, names, n.now.View.Members(), n.now.Reachable)
	}
	return time.Since(begin)
}

func reachable(o cluster.Observation) bool { return o.Reachable }

func TestNodesSeeEachOther(t *testing.T) {
	t.Parallel()
	c := start(t)
	a := join(t, c.Address, "one.example", "a", "a1")
	b := join(t, c.Address, "one.example", "b", "b1")
	other := join(t, c.Address, "two.example", "a", "x1")
	a.sees([]string{"a", "b"}, reachable)
	b.sees([]string{"a", "b"}, reachable)
	other.sees([]string{"a"}, reachable)
	if m, _ := a.now.View.Member("b"); m != (cluster.Member{Name: "b", Incarnation: "b1", Address: "127.0.0.1:1", Version: "v", Weight: 1.5}) {
		t.Errorf("a sees b as %+v", m)
	}

	ctx := context.Background()
	room := cluster.Identity{Kind: "room", ID: "!a/b c:example"}
	if err := a.Move(ctx, room, cluster.Override{Member: "b", Pinned: true}); err != nil {
		t.Fatal(err)
	}
	b.sees([]string{"a", "b"}, func(o cluster.Observation) bool { return o.View.Owner(room) == "b" && o.View.Pinned(room) })
	if err := b.Move(ctx, room, cluster.Override{}); err != nil {
		t.Fatal(err)
	}
	a.sees([]string{"a", "b"}, func(o cluster.Observation) bool { return len(o.View.Overrides()) == 0 })
	if err := a.SetDraining(ctx, "b", true); err != nil {
		t.Fatal(err)
	}
	b.sees([]string{"a", "b"}, func(o cluster.Observation) bool { m, _ := o.View.Member("b"); return m.Draining })

	if err := b.SetWeight(ctx, 3); err != nil {
		t.Fatal(err)
	}
	a.sees([]string{"a", "b"}, func(o cluster.Observation) bool { m, _ := o.View.Member("b"); return m.Weight == 3 })
	if err := b.Rejoin(ctx, "b2"); err != nil {
		t.Fatal(err)
	}
	a.sees([]string{"a", "b"}, func(o cluster.Observation) bool { m, _ := o.View.Member("b"); return m.Incarnation == "b2" })
	b.leave()
	if took := a.sees([]string{"a"}, nil); took > 2*time.Second {
		t.Errorf("a planned departure was seen after %v", took)
	}
	// It gave away what it had, and nothing was given back to it when it left.
	drained := false
	a.mu.Lock()
	past := a.past
	a.mu.Unlock()
	for _, o := range past {
		m, there := o.View.Member("b")
		if drained && there && !m.Draining {
			t.Error("b seemed to take actors again when it left")
		}
		drained = there && m.Draining
	}
	// Whoever comes again is not drained any more.
	b = join(t, c.Address, "one.example", "b", "b3")
	b.sees([]string{"a", "b"}, func(o cluster.Observation) bool { m, _ := o.View.Member("b"); return !m.Draining })
}

func TestANodeThatDiesDisappears(t *testing.T) {
	t.Parallel()
	c := start(t)
	a := join(t, c.Address, "example", "a", "a1")
	b := join(t, c.Address, "example", "b", "b1")
	a.sees([]string{"a", "b"}, nil)
	b.stop() // as kill -9 does
	b.running.Wait()
	a.sees([]string{"a"}, reachable)
	b.mu.Lock()
	b.taken = true // so that Leave leaves the rest to Consul
	b.mu.Unlock()
}

func TestAConsulThatForgets(t *testing.T) {
	t.Parallel()
	c := start(t)
	names := []string{"a", "b", "c"}
	nodes := map[string]*node{}
	for _, name := range names {
		nodes[name] = join(t, c.Address, "example", name, name+"1")
	}
	room := cluster.Identity{Kind: "room", ID: "!r"}
	ctx := context.Background()
	for _, n := range nodes {
		n.sees(names, reachable)
	}
	if err := nodes["a"].Move(ctx, room, cluster.Override{Member: "c"}); err != nil {
		t.Fatal(err)
	}
	if err := nodes["a"].SetDraining(ctx, "b", true); err != nil {
		t.Fatal(err)
	}
	kept := func(o cluster.Observation) bool {
		b, _ := o.View.Member("b")
		return o.Reachable && o.View.Owner(room) == "c" && b.Draining
	}
	for _, n := range nodes {
		n.sees(names, kept)
	}
	c.Stop()
	nodes["a"].sees(names, func(o cluster.Observation) bool { return !o.Reachable })
	// From now on nobody may disappear, not even for a moment.
	var missed sync.Map
	for name, n := range nodes {
		n.mu.Lock()
		see := n.changed
		n.mu.Unlock()
		n.Directory.mu.Lock()
		n.changed = func(o cluster.Observation) {
			if len(o.View.Members()) != 3 || o.View.Owner(room) != "c" {
				missed.Store(name, o.View.Members())
			}
			see(o)
		}
		n.Directory.mu.Unlock()
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.sees(names, kept)
	}
	time.Sleep(7 * time.Second) // until the time to register again is over
	for _, n := range nodes {
		n.sees(names, kept)
	}
	missed.Range(func(name, members any) bool { t.Errorf("%v saw only %v for a while", name, members); return true })
	// Now it is for good: who leaves is gone.
	nodes["b"].leave()
	nodes["a"].sees([]string{"a", "c"}, reachable)
}

func TestAConsulThatHangs(t *testing.T) {
	t.Parallel()
	c := start(t)
	a := join(t, c.Address, "example", "a", "a1")
	b := join(t, c.Address, "example", "b", "b1")
	a.sees([]string{"a", "b"}, reachable)
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	a.sees([]string{"a", "b"}, func(o cluster.Observation) bool { return !o.Reachable })
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	a.sees([]string{"a", "b"}, reachable)
	b.sees([]string{"a", "b"}, reachable)
}

func TestWithoutConsul(t *testing.T) {
	t.Parallel()
	d, err := New(Options{Address: "127.0.0.1:1", ServerName: "example", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := d.Join(ctx, cluster.Member{Name: "a", Incarnation: "a1", Weight: 1}, func(cluster.Observation) {}); err == nil {
		t.Fatal("it joined nothing")
	}
}

func TestTwoProcessesWithOneName(t *testing.T) {
	t.Parallel()
	c := start(t)
	first := join(t, c.Address, "example", "a", "a1")
	second := join(t, c.Address, "example", "a", "a2")
	is := func(o cluster.Observation) bool { m, _ := o.View.Member("a"); return m.Incarnation == "a2" }
	first.sees([]string{"a"}, is)
	second.sees([]string{"a"}, is)
	if err := first.Leave(context.Background()); err != nil { // it takes nothing from the other
		t.Fatal(err)
	}
	first.left = true
	second.sees([]string{"a"}, is)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	e := entries{overrides: map[cluster.Identity]cluster.Override{}, draining: map[string]bool{}}
	id := cluster.Identity{Kind: "room", ID: "!a/ü:b"}
	for key, ok := range map[string]bool{placementKey(id): true, drainKey("a b"): true, "placement/room": false, "placement/%zz/x": false, "else": false, "draining/%": false} {
		if e.read(key, "node pinned") != ok {
			t.Errorf("key %q: %v", key, !ok)
		}
	}
	if e.read(placementKey(cluster.Identity{Kind: "user", ID: "@a"}), "") {
		t.Error("an override to nobody is taken")
	}
	if want := map[cluster.Identity]cluster.Override{id: {Member: "node", Pinned: true}}; !maps.Equal(e.overrides, want) || !e.draining["a b"] {
		t.Errorf("read %+v", e)
	}
}
