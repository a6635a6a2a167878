package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

// phase is where an activation stands in its life.
type phase uint8

const (
	activating phase = iota
	active
	ended
)

// Why an activation ended, as metrics name it.
const (
	endIdle    = "idle"
	endPlanned = "planned"
	endLoad    = "load"
	endPanic   = "panic"
	endError   = "error"
	endOverrun = "overrun"
	endAway    = "away"
)

var errOverrun = errors.New("more notices waited than the actor may fall behind")

// activation is one life of an actor on this node.
//
// What arrives is posted to the protoactor mailbox under mu, and a stop sets closed and posts its mark under mu too.
// So the mark is the last message of a mailbox: what lies before it and was not begun is handed to the next activation, in
// order and before what arrived after closed was set. Nothing is lost between two activations, and they never overlap.
type activation struct {
	node     *Node
	kind     *kind
	shard    *shard
	id       Identity
	pid      *actor.PID
	behavior Behavior
	ctx      context.Context
	cancel   context.CancelFunc
	born     time.Duration

	used   atomic.Int64 // when it was last spoken to from outside, as Node.now
	restAt int          // place in shard.resting, guarded by shard.mu

	// Only the mailbox uses these; phase is read by others under mu.
	phase    phase
	hasTried bool        // Load is over, well or not
	stash    []*envelope // what came before that
	endNext  bool        // the mark came before that
	hasDrain bool        // the behaviour was told to drain
	loadErr  error       // set before the control message hasLoaded is posted

	mu       sync.Mutex
	closed   bool // nothing new is begun; what comes waits for the next activation
	draining bool // nothing new is taken from outside
	gone     bool // it has stopped for good and the shard has forgotten it
	reason   string
	failure  error
	pending  int // from outside: accepted, and neither answered nor (a Tell) handled
	notices  int // from the node: accepted and not handled
	queued   int // in the mailbox or the stash
	begun    callList
	bounced  []*envelope // came before closed, was not begun
	waiting  []*envelope // came after closed or draining
	timers   map[*timer]struct{}
	stopped  chan struct{} // made when somebody waits for the stop
	stats    stats
}

// control is a message of the node to an activation; it passes closed.
type control uint8

const (
	hasLoaded control = iota
	mayRest
	mustDrain
	stopMark
)

// activate makes the identity's activation. The caller holds s.mu and has seen that there is none. It starts load once the activation
// has taken what it was made for: one that cannot load would otherwise end before, and another be made for the same message.
func (n *Node) activate(s *shard, k *kind, id Identity) *activation {
	a := &activation{node: n, kind: k, shard: s, id: id, born: n.now(), restAt: -1}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.stats.lastError = n.failures.last(id)
	a.used.Store(int64(a.born))
	s.next = a
	a.pid = n.system.Root.Spawn(s.props)
	s.next = nil
	s.actors[id] = a
	n.rest.add(a)
	k.metrics.activations.Inc()
	return a
}

// load runs beside the mailbox.
func (a *activation) load() {
	ctx, cancel := context.WithTimeout(a.ctx, a.node.opts.LoadTimeout)
	defer cancel()
	a.loadErr = a.tryLoad(ctx)
	a.post(hasLoaded)
}

func (a *activation) tryLoad(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = a.panicked("Load", p)
		}
	}()
	a.behavior = a.kind.New(a.id)
	return a.behavior.Load(ctx, a)
}

// post sends a control message unless the activation has ended: protoactor would make it a dead letter.
func (a *activation) post(c control) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase != ended {
		a.send(c)
	}
}

func (a *activation) send(message any) { a.node.system.Root.Send(a.pid, message) }

// verdict is what became of an envelope.
type verdict uint8

const (
	accepted verdict = iota
	refused          // over the bound
	absent           // for a notice: nobody is there who needs it
	tryAgain         // the activation is gone
)

// accept takes an envelope into the mailbox, or keeps it for the next activation.
func (a *activation) accept(e *envelope) verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.gone:
		return tryAgain
	case e.source == fromOutside && (a.closed || a.draining):
		if a.pending+len(a.bounced)+len(a.waiting) >= a.kind.Bound {
			return refused
		}
		a.waiting = append(a.waiting, e)
		return accepted
	case a.closed:
		return absent
	}
	switch e.source {
	case fromOutside:
		if a.pending >= a.kind.Bound {
			return refused
		}
		a.pending++
		a.used.Store(int64(a.node.now()))
	case fromNode:
		if a.notices >= a.kind.Notices {
			a.close(errOverrun, endOverrun)
			return absent
		}
		a.notices++
	}
	a.queued++
	a.send(e)
	return accepted
}

// Receive is the protoactor side: one message at a time.
func (a *activation) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *envelope:
		if !a.hasTried && m.source != fromOperator {
			a.stash = append(a.stash, m)
			return
		}
		a.handle(m)
	case control:
		a.obey(m)
	case *actor.Stopped:
		a.node.retire(a)
	}
}

func (a *activation) obey(c control) {
	switch c {
	case hasLoaded:
		a.loaded()
	case mayRest:
		a.rest()
	case mustDrain:
		a.drain()
	case stopMark:
		if a.hasTried {
			a.end()
		} else {
			a.endNext = true
		}
	}
}

// loaded opens the actor for what has waited, or refuses it when Load failed.
func (a *activation) loaded() {
	stash := a.stash
	a.stash, a.hasTried = nil, true
	if a.loadErr != nil {
		a.notLoaded(stash)
		return
	}
	a.mu.Lock()
	a.phase = active
	draining := a.draining
	a.mu.Unlock()
	for _, m := range stash {
		a.handle(m)
	}
	switch {
	case a.endNext:
		a.end()
	case draining:
		a.drain()
	}
}

// notLoaded ends an activation whose Load failed. What waited gets the error, unless a stop was the reason: then the
// next activation may do better, as it may for what still lies in the mailbox before the mark.
func (a *activation) notLoaded(stash []*envelope) {
	a.mu.Lock()
	stopping := a.closed || a.draining
	if !a.closed {
		a.close(a.loadErr, endLoad)
	}
	for _, m := range stash {
		a.queued--
		if stopping {
			a.bounce(m)
		}
	}
	a.mu.Unlock()
	if !stopping {
		a.node.report(a.id, a.loadErr, "an actor could not be loaded")
		for _, m := range stash {
			m.refuse(a.loadErr)
		}
	}
	if a.endNext {
		a.end()
	}
}

// handle begins one message, unless a stop came first or nobody waits for it any more.
func (a *activation) handle(m *envelope) {
	if !a.begin(m) {
		return
	}
	if _, ok := m.body.(*messages.Inspect); ok && m.call != nil {
		m.call.reply(a.summary())
		a.finish(m, 0, false)
		return
	}
	start := a.node.now()
	a.invoke(m)
	if a.finish(m, a.node.now()-start, true) {
		a.finishDraining()
	}
}

func (a *activation) begin(m *envelope) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queued--
	if m.timer != nil {
		delete(a.timers, m.timer)
		if m.timer.cancelled.Load() {
			return false
		}
	}
	if a.closed {
		a.bounce(m)
		return false
	}
	if m.call == nil {
		return true
	}
	if m.abandoned() {
		a.release(m)
		return false
	}
	m.call.owner = a
	a.begun.add(m.call)
	return true
}

// bounce keeps what was not begun for the next activation, as far as that needs it.
func (a *activation) bounce(m *envelope) {
	a.release(m)
	switch m.source {
	case fromOutside:
		a.bounced = append(a.bounced, m)
	case fromOperator:
		m.refuse(Retry())
	}
}

// release gives the message's place under its bound free.
func (a *activation) release(m *envelope) {
	switch m.source {
	case fromOutside:
		a.pending--
	case fromNode:
		a.notices--
	}
}

// finish accounts for a handled message; it reports whether the activation is draining.
func (a *activation) finish(m *envelope, took time.Duration, counts bool) bool {
	if counts {
		a.kind.metrics.handling.Observe(took.Seconds())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.call == nil {
		a.release(m)
	}
	if counts {
		a.stats.handled(reflect.TypeOf(m.body), a.node.now(), took)
	}
	return a.draining && !a.closed
}

// answered gives the place of a call free.
func (a *activation) answered(c *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun.remove(c) && !c.unbounded {
		a.pending--
	}
}

func (a *activation) invoke(m *envelope) {
	defer func() {
		if p := recover(); p != nil {
			a.stop(a.panicked(messageName(reflect.TypeOf(m.body)), p), endPanic)
		}
	}()
	var reply func(proto.Message)
	if m.call != nil {
		reply = m.call.reply
	}
	a.behavior.Receive(Message{m.body, reply})
}

// panicError is a panic that has been logged where its stack was known.
type panicError struct{ text string }

func (e panicError) Error() string { return e.text }

// panicked logs a panic of the behaviour with its stack and makes it an error.
func (a *activation) panicked(in string, p any) error {
	a.node.opts.Logger.Error("an actor panicked", "kind", a.id.Kind, "id", a.id.ID, "in", in, "panic", p, "stack", string(debug.Stack()))
	a.kind.metrics.panics.Inc()
	return panicError{fmt.Sprintf("panic in %s: %v", in, p)}
}

// guarded runs a part of the behaviour that is not about one message.
func (a *activation) guarded(what string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			a.stop(a.panicked(what, p), endPanic)
		}
	}()
	f()
}
