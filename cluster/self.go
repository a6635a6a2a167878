package cluster

import (
	"context"
	"sync/atomic"
	"time"
)

// activation is what its behaviour knows as Self.
var _ Self = (*activation)(nil)

// timer is one After of an activation.
type timer struct {
	actor     *activation
	body      any
	stop      func() bool
	cancelled atomic.Bool
}

func (a *activation) Identity() Identity { return a.id }

func (a *activation) Context() context.Context { return a.ctx }

func (a *activation) Send(body any) { a.accept(&envelope{body: body, source: fromSelf}) }

func (a *activation) Stop(err error) {
	if err == nil {
		a.stop(nil, endPlanned)
		return
	}
	a.stop(err, endError)
}

func (a *activation) After(d time.Duration, body any) (cancel func()) {
	t := &timer{actor: a, body: body}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.gone {
		return func() {}
	}
	if a.timers == nil {
		a.timers = map[*timer]struct{}{}
	}
	a.timers[t] = struct{}{}
	t.stop = a.node.opts.Clock.AfterFunc(d, t.fire)
	return t.cancel
}

func (t *timer) fire() { t.actor.accept(&envelope{body: t.body, timer: t, source: fromSelf}) }

func (t *timer) cancel() {
	t.cancelled.Store(true)
	a := t.actor
	a.mu.Lock()
	defer a.mu.Unlock()
	t.stop()
	delete(a.timers, t)
}
