package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// retryAfter is what an overloaded actor's callers are told to wait, in milliseconds.
const retryAfter = 1000

// The pauses between attempts of one Ask: doubled from the first to the last, each cut by a random part.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

func errClosing() *mxerr.Error {
	return mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "the server is shutting down")
}

func errDeadline() *mxerr.Error {
	return mxerr.New(http.StatusGatewayTimeout, "M_UNKNOWN", "no answer in time")
}

// Ask sends the request until an activation answers something other than Retry, at the latest until the deadline.
//
// On this node an attempt is not lost, so it lasts until the deadline; what an activation did not begin before it
// stopped goes to the next one without the caller's doing.
func (n *Node) Ask(ctx context.Context, to Identity, request proto.Message) (proto.Message, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.opts.AskTimeout)
		defer cancel()
	}
	k := n.kind(to.Kind)
	if k == nil {
		return nil, unknownKind(to)
	}
	ctx, end := k.trace(ctx, request)
	start := n.now()
	answer, err := n.askUntil(ctx, k, to, request)
	k.metrics.asking.Observe((n.now() - start).Seconds())
	end(err)
	return answer, err
}

func (n *Node) askUntil(ctx context.Context, k *kind, to Identity, request proto.Message) (proto.Message, error) {
	pause := firstPause
	for {
		seen := n.view()
		answer, err := n.attempt(ctx, k, to, request)
		if !retryable(err) {
			return answer, err
		}
		k.metrics.retries.Inc()
		timer := time.NewTimer(rand.N(pause) + 1)
		select {
		case <-timer.C:
			pause = min(2*pause, lastPause)
		case <-n.viewAfter(seen): // the actor may live elsewhere now
			timer.Stop()
			pause = firstPause
		case <-ctx.Done():
			timer.Stop()
			return nil, errDeadline()
		}
	}
}

// view is the cluster as this node sees it, nil for a node that is alone.
func (n *Node) view() *View {
	if m := n.membership.Load(); m != nil {
		return m.View()
	}
	return nil
}

// viewAfter is closed when this node sees another cluster than it saw.
func (n *Node) viewAfter(seen *View) <-chan struct{} {
	m := n.membership.Load()
	if m == nil {
		return nil
	}
	next := m.nextView()
	if m.View() != seen {
		return closed
	}
	return next
}

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func retryable(err error) bool {
	var e *mxerr.Error
	return errors.As(err, &e) && e.Code == CodeRetry
}

// attempt asks where the actor lives.
func (n *Node) attempt(ctx context.Context, k *kind, to Identity, request proto.Message) (proto.Message, error) {
	switch owner := n.owner(to); {
	case owner == n.opts.Name:
		return n.attemptHere(ctx, k, to, request)
	case owner == "":
		return nil, Retry()
	default:
		return n.membership.Load().peers.ask(ctx, owner, to, request)
	}
}

// owner is the member that the actor lives on, as this node sees it; alone it is this node.
func (n *Node) owner(id Identity) string {
	if m := n.membership.Load(); m != nil {
		return m.View().Owner(id)
	}
	return n.opts.Name
}

// attemptHere asks the activation on this node.
func (n *Node) attemptHere(ctx context.Context, k *kind, to Identity, request proto.Message) (proto.Message, error) {
	c := newCall()
	if err := n.deliver(k, to, &envelope{body: request, call: c}); err != nil {
		return nil, err
	}
	return c.wait(ctx)
}

// wait gives the answer, or the error that it is.
func (c *call) wait(ctx context.Context) (proto.Message, error) {
	var answer proto.Message
	select {
	case answer = <-c.answer:
	case <-ctx.Done():
		if c.abandon() {
			return nil, errDeadline()
		}
		answer = <-c.answer
	}
	if f, ok := answer.(*messages.Failure); ok {
		return nil, ErrorOf(f)
	}
	return answer, nil
}

// Tell sends without waiting. What is over the bound, or cannot be placed, is dropped and counted.
func (n *Node) Tell(to Identity, message proto.Message) {
	k := n.kind(to.Kind)
	if k == nil {
		n.report(to, unknownKind(to), "a message was dropped")
		return
	}
	if owner := n.owner(to); owner != n.opts.Name && owner != "" {
		if !n.membership.Load().peers.tell(owner, to, message) {
			k.metrics.dropped.Inc()
		}
		return
	}
	if err := n.deliver(k, to, &envelope{body: message}); err != nil {
		k.metrics.dropped.Inc()
	}
}

// TellActive hands a notice to the identity's activation on this node. One that falls too far behind is stopped
// (Kind.Notices); one that stops does not get it, since the next activation reads the store.
func (n *Node) TellActive(to Identity, message proto.Message) bool {
	e := &envelope{body: message, source: fromNode}
	for {
		a := n.active(to)
		if a == nil {
			return false
		}
		if v := a.accept(e); v != tryAgain {
			return v == accepted
		}
	}
}

// deliver puts an envelope from outside into the actor's mailbox, activating it if need be.
func (n *Node) deliver(k *kind, to Identity, e *envelope) error {
	s := n.shard(to)
	for {
		a, fresh, err := n.activation(s, k, to)
		if err != nil {
			return err
		}
		v := a.accept(e)
		if fresh {
			go a.load()
		}
		switch v {
		case accepted:
			return nil
		case refused:
			k.metrics.refused.Inc()
			return mxerr.LimitExceeded(retryAfter)
		}
	}
}

// takes reports whether the actor may live here now.
func (n *Node) takes(id Identity) bool {
	if m := n.membership.Load(); m != nil && !m.takes(id) {
		return false
	}
	return n.owner(id) == n.opts.Name
}

// activation is the identity's activation, made if there is none; then it is fresh, and has to be loaded.
func (n *Node) activation(s *shard, k *kind, id Identity) (a *activation, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock: whoever stops actors, because the node stops or they live elsewhere from now on, says so before it looks at
	// the shards, so it sees every activation made before.
	if n.closing.Load() {
		return nil, false, errClosing()
	}
	if !n.takes(id) {
		return nil, false, Retry()
	}
	if a := s.actors[id]; a != nil {
		return a, false, nil
	}
	return n.activate(s, k, id), true, nil
}

func unknownKind(to Identity) *mxerr.Error {
	return mxerr.Unknown("there are no actors of kind %q", to.Kind)
}

// errElsewhere is for what waited for an actor that does not live here any more: in a cluster it lives on another node.
func (n *Node) errElsewhere() *mxerr.Error {
	if n.membership.Load() != nil {
		return Retry()
	}
	return errClosing()
}
