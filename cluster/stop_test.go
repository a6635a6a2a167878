package cluster

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

func TestNoActivationBesideAStoppingOne(t *testing.T) {
	t.Parallel()
	var alive, activations atomic.Int32
	var got []int64
	stopping, release := make(chan struct{}), make(chan struct{})
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		first := activations.Add(1) == 1
		return &script{
			load: func(context.Context, Self) error {
				if alive.Add(1) != 1 {
					t.Error("two activations at a time")
				}
				return nil
			},
			receive: func(self Self, m Message) {
				switch body := m.Body.(type) {
				case *messages.Forget:
					self.Stop(nil)
				case *messages.SetTyping:
					got = append(got, body.TimeoutMs)
				default:
					m.Reply(&messages.Done{})
				}
			},
			stopping: func() {
				if first {
					close(stopping)
					<-release
				}
				alive.Add(-1)
			},
		}
	}})
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	forgot := make(chan error, 1)
	go func() {
		_, err := n.Ask(deadline(t), room("!a"), &messages.Forget{}) // Retry, from the end; the second activation stops too
		forgot <- err
	}()
	<-stopping
	for i := range 20 {
		n.Tell(room("!a"), typing(i))
	}
	if n.TellActive(room("!a"), typing(99)) {
		t.Fatal("a stopping actor takes notices")
	}
	if s := n.Actors(Filter{})[0]; s.State != "stopping" {
		t.Fatalf("state %s", s.State)
	}
	close(release)
	answer, err = n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	if len(got) != 20 || !slices.IsSorted(got) {
		t.Fatalf("handled %v", got)
	}
	if err := n.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-forgot, 503, "M_UNKNOWN")
}

func TestStopWithAnErrorTellsWhoWaits(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(self Self, m Message) {
			if _, ok := m.Body.(*messages.Forget); ok {
				self.Stop(errors.New("fenced"))
				return
			}
			m.Reply(&messages.Done{})
		}}
	}})
	_, err := n.Ask(deadline(t), room("!a"), &messages.Forget{})
	wantError(t, err, 500, "M_UNKNOWN")
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	s, err := n.Inspect(deadline(t), room("!a"))
	if err != nil || s.LastError != "fenced" {
		t.Fatalf("%v %v", s, err)
	}
}

// hangs is a behaviour whose commits are in flight at a stop.
type hangs struct {
	script
	drained chan Self
	busy    atomic.Bool
}

func (h *hangs) Drain() { h.drained <- h.self }

func TestStopLetsADrainerFinish(t *testing.T) {
	t.Parallel()
	h := &hangs{drained: make(chan Self, 1)}
	var held Message
	h.idle = func() bool { return !h.busy.Load() }
	h.receive = func(_ Self, m Message) {
		if m.Body == "committed" {
			h.busy.Store(false)
			held.Reply(&messages.Done{})
			return
		}
		h.busy.Store(true)
		held = m
	}
	n := startNode(t, Options{DrainGrace: time.Minute}, Kind{New: func(Identity) Behavior { return h }})
	type result struct {
		answer proto.Message
		err    error
	}
	asked := make(chan result, 1)
	go func() {
		answer, err := n.Ask(deadline(t), room("!a"), &messages.SendEvent{})
		asked <- result{answer, err}
	}()
	eventually(t, "busy", h.busy.Load)
	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop(deadline(t)) }()
	self := <-h.drained
	_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantError(t, err, 503, "M_UNKNOWN")
	self.Send("committed")
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	r := <-asked
	wantDone(t, r.answer, r.err)
}

func TestStopDoesNotWaitForEverForTheBusy(t *testing.T) {
	t.Parallel()
	h := &hangs{drained: make(chan Self, 1)}
	h.idle = func() bool { return false }
	h.receive = func(Self, Message) {}
	n := startNode(t, Options{DrainGrace: time.Millisecond}, Kind{New: func(Identity) Behavior { return h }})
	answers := make(chan error, 1)
	go func() {
		_, err := n.Ask(deadline(t), room("!a"), &messages.SendEvent{})
		answers <- err
	}()
	eventually(t, "asked", func() bool { l := n.Actors(Filter{}); return len(l) == 1 && l[0].Handled == 1 })
	if err := n.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-answers, 503, "M_UNKNOWN")
}

func TestStopCancelsLoads(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{DrainGrace: time.Millisecond}, Kind{New: func(Identity) Behavior {
		return &script{load: func(ctx context.Context, _ Self) error { <-ctx.Done(); return ctx.Err() }}
	}})
	answers := make(chan error, 1)
	go func() {
		_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
		answers <- err
	}()
	eventually(t, "asked", func() bool { return len(n.Actors(Filter{})) == 1 })
	if err := n.Stop(deadline(t)); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-answers, 503, "M_UNKNOWN")
}

func TestStopSaysWhatIsStuck(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	n := startNode(t, Options{DrainGrace: time.Millisecond}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(Self, Message) { <-gate }}
	}})
	n.Tell(room("!a"), &messages.Done{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if err := n.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	close(gate)
}

func TestPanicInAPlannedStopIsNotRetried(t *testing.T) {
	t.Parallel()
	var handled atomic.Int32
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(self Self, m Message) {
			handled.Add(1)
			self.Stop(nil)
			panic("boom")
		}}
	}})
	_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantError(t, err, 500, "M_UNKNOWN")
	if handled.Load() != 1 {
		t.Fatalf("handled %d times", handled.Load())
	}
}
