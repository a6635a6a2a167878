package push

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// pushersAtOnce is to how many of a user's pushers is delivered at a time.
const pushersAtOnce = 8

// New gives the behaviour of push actors: there is one for each user who has something to be delivered.
func New(d Deps) func(cluster.Identity) cluster.Behavior {
	return func(id cluster.Identity) cluster.Behavior {
		return &actor{deps: d, userID: id.ID, lines: map[key]*line{}, badge: &badge{deps: d, userID: id.ID}}
	}
}

// actor delivers a user's pushes. The mailbox only notes what is to be done; one round at a time runs beside it.
type actor struct {
	deps   Deps
	userID string
	self   cluster.Self

	running  bool
	again    bool // something came while a round ran
	draining atomic.Bool
	waiting  bool   // a round is due later
	cancel   func() // of the timer, nil when there is none

	// Only the running round uses these.
	lines map[key]*line
	badge *badge
	left  atomic.Int64 // items, as of the last round
	last  atomic.Pointer[string]
}

// key names a pusher of the user.
type key struct{ appID, pushkey string }

// Messages of the actor to itself.
type (
	roundDone struct {
		next time.Duration // until the next round is due; 0: nothing waits
		err  error
	}
	roundDue struct{}
)

// Load implements cluster.Behavior.
func (a *actor) Load(_ context.Context, self cluster.Self) error {
	a.self = self
	return nil
}

// Receive implements cluster.Behavior.
func (a *actor) Receive(m cluster.Message) {
	switch body := m.Body.(type) {
	case *messages.DeliverPushes:
		m.Reply(&messages.Done{})
		a.start()
	case roundDue:
		a.cancel, a.waiting = nil, false
		a.start()
	case roundDone:
		a.running, a.waiting = false, body.next > 0
		switch {
		case body.err != nil && a.self.Context().Err() == nil:
			a.deps.Log.Error("push notifications could not be delivered", "user", a.userID, "error", body.err)
			a.self.Stop(body.err) // the items are there for the next activation
		case a.again:
			a.start()
		case body.next > 0:
			a.cancel = a.self.After(body.next, roundDue{})
		}
	default:
		m.Fail(mxerr.Unknown("a push actor knows no %T", body))
	}
}

// start begins a round unless one runs.
func (a *actor) start() {
	if a.running {
		a.again = true
		return
	}
	if a.draining.Load() {
		return
	}
	if a.cancel != nil {
		a.cancel()
		a.cancel = nil
	}
	a.running, a.again = true, false
	go func() {
		next, err := a.round(a.self.Context())
		a.self.Send(roundDone{next, err})
	}()
}

// round delivers what waits, and says when the next round is due.
func (a *actor) round(ctx context.Context) (time.Duration, error) {
	pushers, err := schema.Pushers.All(ctx, a.deps.Store, persistence.Range[schema.Pusher]{Prefix: schema.Pusher{UserID: a.userID}, Keys: 1})
	if err != nil {
		return 0, err
	}
	known := map[key]bool{}
	var group errgroup.Group
	group.SetLimit(pushersAtOnce)
	for _, p := range pushers {
		k := key{p.AppID, p.Pushkey}
		known[k] = true
		l := a.lines[k]
		if l == nil {
			l = &line{actor: a}
			a.lines[k] = l
		}
		group.Go(func() error { return l.run(ctx, p) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	next, left := time.Duration(0), 0
	now := a.deps.Now()
	for k, l := range a.lines {
		if !known[k] {
			delete(a.lines, k)
			continue
		}
		if left += l.left; l.left > 0 {
			wait := max(l.next.Sub(now), time.Millisecond)
			if next == 0 || wait < next {
				next = wait
			}
		}
	}
	a.left.Store(int64(left))
	return next, a.dropOrphans(ctx, known)
}

// dropOrphans deletes items of pushers that are gone: they were made while the pusher went. A pusher that has come since the round began
// is not among the known.
func (a *actor) dropOrphans(ctx context.Context, known map[key]bool) error {
	q := persistence.Range[schema.PushItem]{Prefix: schema.PushItem{UserID: a.userID}, Keys: 1}
	var gone []persistence.Mutation
	for row, err := range schema.PushItems.Scan(ctx, a.deps.Store, q) {
		if err != nil {
			return err
		}
		of := key{row.AppID, row.Pushkey}
		is, looked := known[of]
		if !looked {
			if _, is, err = schema.Pushers.Get(ctx, a.deps.Store, schema.Pusher{UserID: a.userID, AppID: row.AppID, Pushkey: row.Pushkey}); err != nil {
				return err
			}
			known[of] = is
		}
		if !is {
			gone = append(gone, schema.PushItems.Delete(row))
		}
		if len(gone) == mostWrites {
			break
		}
	}
	return a.remove(ctx, gone)
}

// remove deletes items.
func (a *actor) remove(ctx context.Context, gone []persistence.Mutation) error {
	if len(gone) == 0 {
		return nil
	}
	_, err := persistence.Await(ctx, a.deps.Store, &persistence.Commit{Write: gone})
	return err
}

// Idle implements cluster.Behavior.
func (a *actor) Idle() bool { return !a.running && (a.draining.Load() || !a.waiting && !a.again) }

// Drain implements cluster.Drainer: what is being sent is finished, the rest waits for the next activation.
func (a *actor) Drain() { a.draining.Store(true) }

// Stopping implements cluster.Behavior.
func (a *actor) Stopping() {}

// Inspect implements cluster.Behavior.
func (a *actor) Inspect(s *messages.Summary) {
	s.Details = map[string]string{"waiting": strconv.FormatInt(a.left.Load(), 10), "delivering": strconv.FormatBool(a.running)}
	if last := a.last.Load(); last != nil {
		s.Details["last_failure"] = *last
	}
}
