package cluster

import (
	"context"
	"slices"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// close sets closed and posts the mark; the caller holds mu.
func (a *activation) close(failure error, reason string) {
	a.closed, a.failure, a.reason = true, failure, reason
	a.send(stopMark)
}

// stop ends the activation when the current message is handled.
func (a *activation) stop(failure error, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		if a.failure == nil {
			a.failure = failure // a planned stop in which something went wrong
		}
		return
	}
	a.close(failure, reason)
	if a.phase == activating {
		a.cancel() // Load may return early
	}
}

// idle asks the behaviour.
func (a *activation) idle() bool {
	idle := false
	a.guarded("Idle", func() { idle = a.behavior.Idle() })
	return idle
}

// rest ends the activation if nothing waits in it; else it is looked at again after another IdleAfter.
func (a *activation) rest() {
	if a.phase == active && a.idle() && a.node.rest.due(a) && a.closeEmpty(endIdle) {
		a.end()
		return
	}
	a.shard.mu.Lock()
	a.node.rest.add(a)
	a.shard.mu.Unlock()
}

// drain lets the behaviour finish what it has begun before a planned stop.
func (a *activation) drain() {
	if a.phase != active || a.hasDrain {
		return // loaded comes back to it
	}
	a.hasDrain = true
	d, ok := a.behavior.(Drainer)
	if !ok {
		a.stop(nil, endPlanned)
		return
	}
	a.guarded("Drain", d.Drain)
	a.finishDraining()
}

func (a *activation) finishDraining() {
	if a.idle() && a.closeEmpty(endPlanned) {
		a.end()
	}
}

// closeEmpty closes the activation if nothing is queued in it.
func (a *activation) closeEmpty(reason string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.queued > 0 {
		return false
	}
	a.closed, a.reason = true, reason
	return true
}

// end is the last thing the mailbox does before protoactor stops it.
func (a *activation) end() {
	if a.phase == ended {
		return
	}
	wasActive := a.phase == active
	a.mu.Lock()
	a.phase = ended
	a.mu.Unlock()
	if wasActive {
		a.guarded("Stopping", a.behavior.Stopping)
	}
	a.cancel()
	a.mu.Lock()
	left, timers, failure, reason := a.begun.take(), a.timers, a.failure, a.reason
	a.timers = nil
	a.mu.Unlock()
	for t := range timers {
		t.stop()
	}
	if failure == nil {
		failure = Retry()
	} else if reason != endLoad {
		a.node.report(a.id, failure, "an actor stopped with an error")
	}
	for _, c := range left {
		c.settle(FailureOf(failure))
	}
	a.node.system.Root.Stop(a.pid)
}

// retire forgets a stopped activation and hands what waits to the next one.
func (n *Node) retire(a *activation) {
	s := a.shard
	s.mu.Lock()
	a.mu.Lock()
	a.gone = true
	left := slices.DeleteFunc(append(a.bounced, a.waiting...), (*envelope).abandoned)
	a.bounced, a.waiting = nil, nil
	stopped := a.stopped
	a.mu.Unlock()
	delete(s.actors, a.id)
	n.rest.remove(a)
	a.kind.metrics.endings[a.reason].Inc()
	if len(left) > 0 && !n.closing.Load() && n.takes(a.id) {
		next := n.activate(s, a.kind, a.id)
		for i, m := range left {
			if next.accept(m) != accepted {
				m.refuse(mxerr.LimitExceeded(retryAfter))
			}
			left[i] = nil
		}
		go next.load()
	}
	s.mu.Unlock()
	for _, m := range left {
		if m != nil {
			m.refuse(n.errElsewhere())
		}
	}
	if stopped != nil {
		close(stopped)
	}
}

// drained asks the activation to stop and waits until it has; it reports false when the context ended first.
// After the grace, or at the end of the context, the stop no longer waits for what the behaviour has begun.
func (a *activation) drained(ctx context.Context) bool {
	a.mu.Lock()
	if a.gone {
		a.mu.Unlock()
		return true
	}
	if a.stopped == nil {
		a.stopped = make(chan struct{})
	}
	stopped := a.stopped
	if !a.draining && !a.closed {
		a.draining = true
		a.send(mustDrain)
	}
	a.mu.Unlock()

	grace, over := context.WithTimeout(ctx, a.node.opts.DrainGrace)
	defer over()
	select {
	case <-stopped:
		return true
	case <-grace.Done():
	}
	a.stop(nil, endPlanned)
	select {
	case <-stopped:
		return true
	case <-ctx.Done():
		return false
	}
}
