package appservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// How long an actor waits after a failure: the first time, and at most. Each further failure doubles it, and up to half of it is
// left to chance, so that many do not come back at once.
const (
	firstPause = time.Second
	lastPause  = 2 * time.Minute
)

// Deps are what the actors need.
type Deps struct {
	Store  persistence.Store
	Reader *reader.Reader
	Board  *Board
	// Set gives the application services as they are registered now.
	Set func() *appservice.Set
	// Introduce makes the account of an application service's own user.
	Introduce func(context.Context, *appservice.Registration) error
	// Send sends a transaction; an error says that it was not acknowledged.
	Send func(ctx context.Context, r *appservice.Registration, txnID string, body []byte) error
	Now  func() time.Time
	Log  *slog.Logger
	// LastPause bounds the waits after failures; 0 is two minutes.
	LastPause time.Duration
}

// New gives the behaviours of application services.
func New(d Deps) func(cluster.Identity) cluster.Behavior {
	if d.LastPause == 0 {
		d.LastPause = lastPause
	}
	return func(id cluster.Identity) cluster.Behavior { return &actor{deps: d, id: id.ID} }
}

type actor struct {
	deps   Deps
	id     string
	self   cluster.Self
	desk   *desk
	pump   *pump
	status atomic.Pointer[status] // what the pump says of itself

	running  bool // the pump is at work, beside the mailbox
	again    bool // something came meanwhile
	draining bool
	failures atomic.Int64
	due      time.Time // of the next attempt, while one is waited for
	cancel   func()    // of that
	failure  string    // the last one, empty when all is well
	halt     context.CancelFunc
	working  context.Context
}

// Messages of the actor to itself.
type (
	woken    struct{}
	finished struct{ err error }
	retryDue struct{}
)

// errUnregistered says that there is no such application service, or that it wants no traffic.
var errUnregistered = errors.New("appservice: not registered, or without a URL")

// Load claims the queue. A new application service is told what happens from now on.
func (a *actor) Load(ctx context.Context, self cluster.Self) error {
	a.self = self
	r := a.deps.Set().ByID(a.id)
	if r == nil || r.URL == "" {
		return errUnregistered
	}
	if err := a.deps.Introduce(ctx, r); err != nil {
		return err
	}
	claimed, err := a.deps.Store.Claim(ctx, persistence.Stream{Kind: cluster.KindAppservice, ID: a.id})
	if err != nil {
		return err
	}
	a.pump = &pump{deps: a.deps, id: a.id, epoch: claimed.Epoch, seq: claimed.Seq, publish: a.status.Store}
	if err := a.pump.load(ctx); err != nil {
		return err
	}
	a.working, a.halt = context.WithCancel(self.Context())
	a.desk = a.deps.Board.enter(a.id, func() { self.Send(woken{}) }, a.figures)
	a.pump.desk = a.desk
	return nil
}

// Receive implements cluster.Behavior.
func (a *actor) Receive(m cluster.Message) {
	switch body := m.Body.(type) {
	case woken:
		a.desk.look()
		a.start()
	case retryDue:
		a.cancel = nil
		a.start()
	case finished:
		a.finish(body.err)
	case *messages.WakeAppservice:
		if body.Retry && a.cancel != nil {
			a.cancel()
			a.cancel = nil
			a.failures.Store(0)
		}
		a.start()
		m.Reply(&messages.Done{})
	default:
		m.Fail(fmt.Errorf("appservice: a message of type %T", body))
	}
}

// start sets the pump to work, unless it is, or waits after a failure.
func (a *actor) start() {
	if a.running {
		a.again = true
		return
	}
	if a.draining || a.cancel != nil {
		return
	}
	a.running, a.again = true, false
	go func() { a.self.Send(finished{a.pump.run(a.working)}) }()
}

// finish takes in what became of the pump's work.
func (a *actor) finish(err error) {
	a.running = false
	switch {
	case a.draining:
	case err == nil:
		if a.failures.Load() > 0 {
			a.deps.Log.Info("an application service takes transactions again", "appservice", a.id)
		}
		a.failures.Store(0)
		a.failure = ""
		if a.again {
			a.start()
		}
	case errors.Is(err, errUncertain):
		a.self.Stop(err)
	case errors.Is(err, errUnregistered):
		a.self.Stop(nil)
	default:
		if a.failures.Add(1) == 1 {
			a.deps.Log.Warn("an application service does not take its transactions; they are kept and tried again", "appservice", a.id, "error", err)
		}
		a.failure = err.Error()
		pause := a.pause()
		a.due = a.deps.Now().Add(pause)
		a.cancel = a.self.After(pause, retryDue{})
	}
}

// pause is how long to wait after so many failures.
func (a *actor) pause() time.Duration {
	pause := min(firstPause<<min(a.failures.Load()-1, 16), a.deps.LastPause)
	return pause - rand.N(pause/2+1)
}

// Idle implements cluster.Behavior.
func (a *actor) Idle() bool { return !a.running }

// Drain implements cluster.Drainer: a transaction on its way is given up; whoever comes next sends it again.
func (a *actor) Drain() {
	a.draining = true
	a.halt()
}

// Stopping implements cluster.Behavior.
func (a *actor) Stopping() {
	a.halt()
	a.deps.Board.leave(a.id, a.desk)
}

// Inspect implements cluster.Behavior. Neither tokens nor what is sent are part of it.
func (a *actor) Inspect(s *messages.Summary) {
	at := a.status.Load()
	s.Epoch, s.Seq = at.epoch, at.seq
	if s.Details == nil {
		s.Details = map[string]string{}
	}
	s.Details["state"] = a.state()
	s.Details["position"] = strconv.FormatUint(at.queue.Pos, 10)
	s.Details["behind"] = strconv.FormatUint(behind(a.deps.Store.Position(), at.queue), 10)
	s.Details["transaction"] = strconv.FormatUint(at.queue.TxnID, 10)
	s.Details["unacknowledged_bytes"] = strconv.Itoa(len(at.queue.Body))
	s.Details["events"] = strconv.FormatUint(at.queue.Events, 10)
	s.Details["rooms"] = strconv.Itoa(at.rooms)
	s.Details["failures"] = strconv.FormatInt(a.failures.Load(), 10)
	if a.failure != "" {
		s.Details["last_failure"] = a.failure
	}
	if a.cancel != nil {
		s.Details["next_attempt_ts"] = strconv.FormatInt(a.due.UnixMilli(), 10)
	}
	if at.queue.SentTS > 0 {
		s.Details["acknowledged_ts"] = strconv.FormatInt(at.queue.SentTS, 10)
	}
}

func (a *actor) state() string {
	switch {
	case a.cancel != nil:
		return "waiting after a failure"
	case a.running:
		return "sending"
	}
	return "up to date"
}

// behind is how many commits there have been since those that the queue is past.
func behind(now persistence.Position, q schema.AppserviceQueue) uint64 {
	if uint64(now) < q.Pos {
		return 0
	}
	return uint64(now) + 1 - q.Pos
}
