package cluster

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

// tick is how often the node looks for actors to put to rest.
const tick = 100 * time.Millisecond

// rester puts idle actors to rest.
//
// Each activation of a kind with IdleAfter stands once in its shard's heap, at the time at which it has to be looked at.
// Speaking to an actor does not move it; only when its time has come and it turns out to have been used meanwhile, it
// goes back with a later time. So a message costs nothing here, an idle actor costs one look per IdleAfter, and
// a tick looks only at those that are due, at most Passivations per second, going round the shards.
type rester struct {
	node  *Node
	mu    sync.Mutex
	halt  func() bool
	over  bool
	turn  int
	owing float64 // fractions of a passivation carried from tick to tick
}

func (r *rester) start(n *Node) {
	r.node = n
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halt = n.opts.Clock.AfterFunc(tick, r.tick)
}

func (r *rester) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.halt()
}

func (r *rester) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.owing += float64(r.node.opts.Passivations) * tick.Seconds()
	budget := int(r.owing)
	r.owing -= float64(budget)
	for visited := 0; visited < shardCount && budget > 0; visited++ {
		budget -= r.restDue(&r.node.shards[r.turn], budget)
		if budget > 0 {
			r.turn = (r.turn + 1) % shardCount
		}
	}
	r.halt = r.node.opts.Clock.AfterFunc(tick, r.tick)
}

// restDue asks up to budget actors of a shard to rest.
func (r *rester) restDue(s *shard, budget int) int {
	now := r.node.now()
	asked := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for asked < budget && len(s.resting) > 0 && s.resting[0].at <= now {
		a := s.resting[0].actor
		if idleUntil := a.idleUntil(); idleUntil > now {
			s.resting[0].at = idleUntil + spread(a.kind.IdleAfter)
			heap.Fix(&s.resting, 0)
			continue
		}
		heap.Pop(&s.resting)
		a.post(mayRest)
		asked++
	}
	return asked
}

// add makes sure that the activation is looked at when it may have been idle for long enough; the caller holds
// the shard's lock.
func (r *rester) add(a *activation) {
	if a.kind.IdleAfter <= 0 || a.restAt >= 0 {
		return
	}
	at := max(a.idleUntil(), r.node.now()+a.kind.IdleAfter/2)
	heap.Push(&a.shard.resting, resting{at + spread(a.kind.IdleAfter), a})
}

// remove takes the activation out; the caller holds the shard's lock.
func (r *rester) remove(a *activation) {
	if a.restAt >= 0 {
		heap.Remove(&a.shard.resting, a.restAt)
	}
}

// due reports whether nobody spoke to the actor for IdleAfter.
func (r *rester) due(a *activation) bool { return a.idleUntil() <= r.node.now() }

func (a *activation) idleUntil() time.Duration {
	return time.Duration(a.used.Load()) + a.kind.IdleAfter
}

// spread is a random part of an eighth, so that actors that woke together do not rest together.
func spread(d time.Duration) time.Duration { return rand.N(d/8 + 1) }

type resting struct {
	at    time.Duration
	actor *activation
}

// restQueue is a heap by time.
type restQueue []resting

func (q restQueue) Len() int           { return len(q) }
func (q restQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q restQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].actor.restAt, q[j].actor.restAt = i, j
}

func (q *restQueue) Push(x any) {
	r := x.(resting)
	r.actor.restAt = len(*q)
	*q = append(*q, r)
}

func (q *restQueue) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = resting{}
	*q = (*q)[:last]
	r.actor.restAt = -1
	return r
}
