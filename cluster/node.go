package cluster

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Options configure a node. The zero value of each but Name is replaced by the default that stands beside it.
type Options struct {
	Name          string        // stable name of the node
	Clock         Clock         // the system's
	Logger        *slog.Logger  // slog.Default()
	AskTimeout    time.Duration // 30 s: deadline of an Ask whose context has none
	LoadTimeout   time.Duration // 60 s: how long Load may take
	Passivations  int           // 2000: how many idle actors are put to rest per second
	DrainGrace    time.Duration // 2 s: how long a Drainer may finish what it has begun
	DrainParallel int           // 256: how many actors Stop drains at a time
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	setDefault(&o.AskTimeout, 30*time.Second)
	setDefault(&o.LoadTimeout, time.Minute)
	setDefault(&o.Passivations, 2000)
	setDefault(&o.DrainGrace, 2*time.Second)
	setDefault(&o.DrainParallel, 256)
	return o
}

func setDefault[T int | time.Duration](value *T, to T) {
	if *value <= 0 {
		*value = to
	}
}

// shardCount spreads the identities over locks.
const shardCount = 64

// Node runs the actors that live in this process.
//
// An identity has at most one activation at a time. It goes through three states: activating (Load runs, messages wait
// in order), active, and stopping (nothing new is begun; what arrives waits for the next activation, which starts
// when the old one has stopped for good). Each activation is one protoactor actor.
type Node struct {
	opts     Options
	system   *actor.ActorSystem
	kinds    atomic.Pointer[map[string]*kind]
	register sync.Mutex
	shards   [shardCount]shard
	seed     maphash.Seed
	started  time.Time
	metrics  *metrics
	failures failures
	closing  atomic.Bool
	// membership is set while the node is part of a cluster.
	membership atomic.Pointer[Membership]
	rest       rester
	workers    *workers
}

// kind is a registered Kind with what the node keeps for it.
type kind struct {
	Kind
	metrics kindMetrics
	spans   sync.Map // reflect.Type of a request → name of its span
}

// shard holds the activations whose identity hashes to it.
type shard struct {
	mu      sync.Mutex
	actors  map[Identity]*activation
	resting restQueue
	// next is what props makes the actor of: spawning happens under mu, so that one Props serves all.
	next  *activation
	props *actor.Props
}

var _ Caller = (*Node)(nil)

// NewNode starts a node without kinds.
func NewNode(o Options) *Node {
	o = o.withDefaults()
	n := &Node{opts: o, seed: maphash.MakeSeed(), started: o.Clock.Now(), metrics: newMetrics(), workers: newWorkers()}
	n.system = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(onlyWarnings{o.Logger.Handler()}) }),
		actor.WithDeadLetterRequestLogging(false),
	)
	n.kinds.Store(&map[string]*kind{})
	for i := range n.shards {
		s := &n.shards[i]
		s.actors = map[Identity]*activation{}
		s.props = actor.PropsFromProducer(func() actor.Actor { return s.next }, actor.WithDispatcher(n.workers))
	}
	n.failures.byIdentity = map[Identity][]Failure{}
	n.metrics.countActive = n.countActive
	n.rest.start(n)
	return n
}

// Name is the node's stable name.
func (n *Node) Name() string { return n.opts.Name }

// Register makes a kind known; before that its actors cannot be spoken to. A name can be registered once.
func (n *Node) Register(k Kind) error {
	if k.Name == "" || k.New == nil || k.Bound <= 0 {
		return fmt.Errorf("kind %q needs a name, New and a positive Bound", k.Name)
	}
	if k.Notices <= 0 {
		k.Notices = 16 * k.Bound
	}
	n.register.Lock()
	defer n.register.Unlock()
	old := *n.kinds.Load()
	if _, ok := old[k.Name]; ok {
		return fmt.Errorf("kind %q is registered already", k.Name)
	}
	kinds := maps.Clone(old)
	kinds[k.Name] = &kind{Kind: k, metrics: n.metrics.of(k.Name)}
	n.kinds.Store(&kinds)
	return nil
}

func (n *Node) kind(name string) *kind { return (*n.kinds.Load())[name] }

func (n *Node) shard(id Identity) *shard {
	return &n.shards[maphash.String(n.seed, id.ID)%shardCount]
}

// now is the time since the node started, by a monotonic clock.
func (n *Node) now() time.Duration { return n.opts.Clock.Now().Sub(n.started) }

// active is the identity's activation, if there is one.
func (n *Node) active(id Identity) *activation {
	s := n.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.actors[id]
}

// activations is a copy of what is active now, in no order.
func (n *Node) activations() []*activation {
	var all []*activation
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		for _, a := range s.actors {
			all = append(all, a)
		}
		s.mu.Unlock()
	}
	return all
}

func (n *Node) countActive() map[string]int {
	counts := map[string]int{}
	for name := range *n.kinds.Load() {
		counts[name] = 0
	}
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		for id := range s.actors {
			counts[id.Kind]++
		}
		s.mu.Unlock()
	}
	return counts
}

// Deactivate ends the identity's activation, if there is one, and waits until it has stopped. The next message
// activates the actor anew.
func (n *Node) Deactivate(ctx context.Context, id Identity) error {
	a := n.active(id)
	if a == nil {
		return nil
	}
	return n.stopAll(ctx, []*activation{a})
}

// Stop ends the node: requests are refused from now on, and all actors stop, a bounded number at a time. When the
// context ends first, those left are stopped without grace, and the error says how many had not stopped yet.
func (n *Node) Stop(ctx context.Context) error {
	n.closing.Store(true)
	n.rest.stop()
	err := n.stopAll(ctx, n.activations())
	if !n.system.IsStopped() {
		n.system.Shutdown()
	}
	n.workers.end()
	return err
}

// stopAll drains the activations with DrainParallel of them in progress.
func (n *Node) stopAll(ctx context.Context, all []*activation) error {
	slots := make(chan struct{}, n.opts.DrainParallel)
	var left atomic.Int64
	var wg sync.WaitGroup
	for _, a := range all {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			if !a.drained(ctx) {
				left.Add(1)
			}
		}()
	}
	wg.Wait()
	if left.Load() > 0 {
		return fmt.Errorf("%d actors had not stopped: %w", left.Load(), ctx.Err())
	}
	return nil
}

// onlyWarnings keeps protoactor's notes on its everyday life out of the log.
type onlyWarnings struct{ slog.Handler }

func (h onlyWarnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h onlyWarnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return onlyWarnings{h.Handler.WithAttrs(attrs)}
}

func (h onlyWarnings) WithGroup(name string) slog.Handler {
	return onlyWarnings{h.Handler.WithGroup(name)}
}
