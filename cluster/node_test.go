package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// typing is a message that carries a number.
func typing(i int) *messages.SetTyping { return &messages.SetTyping{TimeoutMs: int64(i)} }

func TestAskAndTypedAsk(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{}, Kind{New: func(id Identity) Behavior {
		return &script{receive: func(_ Self, m Message) {
			m.Reply(&messages.EventSent{EventId: id.ID + m.Body.(*messages.SendEvent).TxnId})
			m.Reply(&messages.Done{}) // a second answer changes nothing
		}}
	}})
	sent, err := Ask[*messages.EventSent](deadline(t), n, room("!a"), &messages.SendEvent{TxnId: "1"})
	if err != nil || sent.EventId != "!a1" {
		t.Fatalf("%v, %v", sent, err)
	}
	_, err = Ask[*messages.Done](deadline(t), n, room("!a"), &messages.SendEvent{TxnId: "1"})
	wantError(t, err, 500, "M_UNKNOWN")
	_, err = n.Ask(deadline(t), Identity{"tree", "x"}, &messages.Done{})
	wantError(t, err, 500, "M_UNKNOWN")
}

func TestAskCarriesTheRefusal(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(_ Self, m Message) { m.Fail(mxerr.Forbidden("no").With("n", int64(7))) }}
	}})
	_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantError(t, err, 403, "M_FORBIDDEN")
	if got := mxerr.From(err).Fields["n"]; got != int64(7) {
		t.Fatalf("field n is %T %v", got, got)
	}
}

func TestColdActorIsActivatedOnce(t *testing.T) {
	t.Parallel()
	var activations, inside atomic.Int32
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		activations.Add(1)
		return &script{receive: func(_ Self, m Message) {
			if inside.Add(1) != 1 {
				t.Error("two messages at a time")
			}
			inside.Add(-1)
			m.Reply(&messages.Done{})
		}}
	}})
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			answer, err := n.Ask(deadline(t), room("!cold"), &messages.Done{})
			wantDone(t, answer, err)
		})
	}
	wg.Wait()
	if activations.Load() != 1 {
		t.Fatalf("%d activations", activations.Load())
	}
}

func TestMessagesWaitInOrderWhileLoading(t *testing.T) {
	t.Parallel()
	load := make(chan struct{})
	var got []int64
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{
			load: func(_ context.Context, self Self) error { <-load; return nil },
			receive: func(_ Self, m Message) {
				if s, ok := m.Body.(*messages.SetTyping); ok {
					got = append(got, s.TimeoutMs)
				}
				m.Reply(&messages.Done{})
			},
		}
	}})
	for i := range 50 {
		n.Tell(room("!a"), typing(i))
	}
	if !n.TellActive(room("!a"), typing(50)) {
		t.Fatal("a loading actor does not hear notices")
	}
	if s := n.Actors(Filter{})[0]; s.State != "activating" || s.Depth != 51 {
		t.Fatalf("%+v", s)
	}
	close(load)
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	if len(got) != 51 || !slices.IsSorted(got) {
		t.Fatalf("handled %v", got)
	}
}

func TestLoadFailureIsTheAnswerAndTheNextMessageTriesAgain(t *testing.T) {
	t.Parallel()
	fail := make(chan struct{})
	var tries atomic.Int32
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{
			load: func(context.Context, Self) error {
				if tries.Add(1) == 1 {
					<-fail
					return errors.New("disk on fire")
				}
				return nil
			},
			stopping: func() {
				if tries.Load() == 1 {
					t.Error("Stopping after a failed Load")
				}
			},
		}
	}})
	errs := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
			errs <- err
		}()
	}
	eventually(t, "all wait", func() bool { l := n.Actors(Filter{}); return len(l) == 1 && l[0].Depth == 10 })
	close(fail)
	for range 10 {
		err := <-errs
		wantError(t, err, 500, "M_UNKNOWN")
		if strings.Contains(err.Error(), "fire") {
			t.Fatal("the cause leaks to the caller")
		}
	}
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	if s := n.Actors(Filter{})[0]; s.LastError != "disk on fire" {
		t.Fatalf("last error %q", s.LastError)
	}
}

// TestUnluckyActorsAnswerEverybody has many callers of an actor whose every other Load fails, and which panics and stops
// now and then: everybody gets an answer before the deadline.
func TestUnluckyActorsAnswerEverybody(t *testing.T) {
	t.Parallel()
	var activations atomic.Int32
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		lucky := activations.Add(1)%2 == 0
		handled := 0
		return &script{
			load: func(context.Context, Self) error {
				if !lucky {
					return errors.New("bad luck")
				}
				return nil
			},
			receive: func(self Self, m Message) {
				switch handled++; {
				case handled > 40:
					panic("enough")
				case handled == 20 && activations.Load()%4 == 0:
					self.Stop(nil)
				default:
					m.Reply(&messages.Done{})
				}
			},
		}
	}})
	var wg sync.WaitGroup
	var done, failed atomic.Int32
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if _, err := n.Ask(deadline(t), room("!a"), &messages.Done{}); err == nil {
					done.Add(1)
				} else {
					wantError(t, err, 500, "M_UNKNOWN")
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if done.Load() == 0 || failed.Load() == 0 {
		t.Fatalf("%d answers, %d failures: nothing was tested", done.Load(), failed.Load())
	}
}

func TestPanicEndsTheActivationAndLosesNoAnswer(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	var held []Message
	var activations atomic.Int32
	gate := make(chan struct{})
	n := startNode(t, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, Kind{New: func(Identity) Behavior {
		activations.Add(1)
		return &script{receive: func(_ Self, m Message) {
			switch m.Body.(type) {
			case *messages.SyncAsk:
				held = append(held, m) // answered never
			case *messages.Forget:
				<-gate
				panic("boom")
			default:
				m.Reply(&messages.Done{})
			}
		}}
	}})
	type result struct {
		answer proto.Message
		err    error
	}
	ask := func(request proto.Message, depth int) chan result {
		c := make(chan result, 1)
		go func() {
			answer, err := n.Ask(deadline(t), room("!a"), request)
			c <- result{answer, err}
		}()
		eventually(t, "asked", func() bool { l := n.Actors(Filter{}); return len(l) == 1 && l[0].Pending == depth })
		return c
	}
	waits, panics, behind := ask(&messages.SyncAsk{}, 1), ask(&messages.Forget{}, 2), ask(&messages.Done{}, 3)
	close(gate)
	wantError(t, (<-waits).err, 500, "M_UNKNOWN")
	wantError(t, (<-panics).err, 500, "M_UNKNOWN")
	r := <-behind // was not begun: the next activation answers it
	wantDone(t, r.answer, r.err)
	if activations.Load() != 2 {
		t.Fatalf("%d activations", activations.Load())
	}
	if s := n.Actors(Filter{})[0]; s.LastError != "panic in Forget: boom" {
		t.Fatalf("last error %q", s.LastError)
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "node_test.go") {
		t.Fatalf("logged %s", text)
	}
}

func TestPanicInLoadIsAFailure(t *testing.T) {
	t.Parallel()
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{load: func(context.Context, Self) error { panic("boom") }}
	}})
	_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantError(t, err, 500, "M_UNKNOWN")
}

func TestBoundCountsWhatIsUnanswered(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var held []Message
	n := startNode(t, Options{}, Kind{Bound: 3, New: func(Identity) Behavior {
		return &script{receive: func(self Self, m Message) {
			if _, own := m.Body.(int); own {
				return
			}
			for i := range 100 {
				self.Send(i) // outside the bound
			}
			mu.Lock()
			held = append(held, m)
			mu.Unlock()
		}}
	}})
	answers := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
			answers <- err
		}()
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(held) }
	eventually(t, "three are held", func() bool { return count() == 3 })
	_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantError(t, err, 429, "M_LIMIT_EXCEEDED")
	if mxerr.From(err).Fields["retry_after_ms"] == nil {
		t.Fatal("no retry_after_ms")
	}
	mu.Lock()
	held[0].Reply(&messages.Done{})
	mu.Unlock()
	if err := <-answers; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
		answers <- err
	}()
	eventually(t, "a fourth is let in", func() bool { return count() == 4 })
	for _, m := range held[1:] {
		m.Reply(&messages.Done{})
	}
	for range 3 {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadlineAnswersTheCallerAndSkipsWhatWasNotBegun(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	var handled atomic.Int32
	n := startNode(t, Options{}, Kind{Bound: 2, New: func(Identity) Behavior {
		return &script{receive: func(_ Self, m Message) {
			<-gate
			handled.Add(1)
			m.Reply(&messages.Done{})
		}}
	}})
	n.Tell(room("!a"), &messages.Done{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	_, err := n.Ask(ctx, room("!a"), &messages.Done{})
	wantError(t, err, 504, "M_UNKNOWN")
	close(gate)
	eventually(t, "all done", func() bool { return n.Actors(Filter{})[0].Pending == 0 })
	if handled.Load() != 1 {
		t.Fatalf("handled %d", handled.Load())
	}
}

func TestRetryIsAskedAgain(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	n := startNode(t, Options{}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(_ Self, m Message) {
			if tries.Add(1) < 4 {
				m.Fail(Retry())
				return
			}
			m.Reply(&messages.Done{})
		}}
	}})
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	tries.Store(-1 << 30)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = n.Ask(ctx, room("!a"), &messages.Done{})
	wantError(t, err, 504, "M_UNKNOWN")
}

func TestNoticesBeyondTheBoundEndTheActivation(t *testing.T) {
	t.Parallel()
	gate, begun := make(chan struct{}), make(chan struct{})
	var activations, heard atomic.Int32
	n := startNode(t, Options{}, Kind{Bound: 1, Notices: 5, New: func(Identity) Behavior {
		activations.Add(1)
		return &script{receive: func(_ Self, m Message) {
			switch m.Body.(type) {
			case *messages.Forget:
				close(begun)
				<-gate
			case *messages.UserNotice:
				heard.Add(1)
			default:
				m.Reply(&messages.Done{})
			}
		}}
	}})
	if n.TellActive(room("!a"), &messages.UserNotice{}) {
		t.Fatal("nobody is active")
	}
	n.Tell(room("!a"), &messages.Forget{})
	<-begun
	for i := range 5 {
		if !n.TellActive(room("!a"), &messages.UserNotice{}) {
			t.Fatalf("notice %d was refused", i)
		}
	}
	if n.TellActive(room("!a"), &messages.UserNotice{}) {
		t.Fatal("a notice beyond the bound was taken")
	}
	close(gate)
	eventually(t, "the actor stopped", func() bool { return len(n.Actors(Filter{})) == 0 })
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	if activations.Load() != 2 || heard.Load() != 0 {
		t.Fatalf("%d activations, %d notices handled", activations.Load(), heard.Load())
	}
	if s := n.Actors(Filter{})[0]; s.LastError != errOverrun.Error() {
		t.Fatalf("last error %q", s.LastError)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	clock := newWall()
	var got []any
	var kept Self
	n := startNode(t, Options{Clock: clock}, Kind{New: func(Identity) Behavior {
		return &script{receive: func(self Self, m Message) {
			kept = self
			switch m.Body.(type) {
			case *messages.CreateAlias:
				self.After(time.Second, "first")
				self.After(time.Second, "cancelled")()
				self.After(3*time.Second, "after the end")
			case *messages.Forget:
				self.Stop(nil)
				self.After(0, "too late")()
			case string:
				got = append(got, m.Body)
			}
			m.Reply(&messages.Done{})
		}}
	}})
	for _, step := range []struct {
		request proto.Message
		then    time.Duration
	}{{&messages.CreateAlias{}, 2 * time.Second}, {&messages.Forget{}, 2 * time.Second}, {&messages.Done{}, 2 * time.Second}} {
		answer, err := n.Ask(deadline(t), room("!a"), step.request)
		wantDone(t, answer, err)
		clock.advance(step.then)
	}
	old := kept
	answer, err := n.Ask(deadline(t), room("!a"), &messages.Done{})
	wantDone(t, answer, err)
	if fmt.Sprint(got) != "[first]" {
		t.Fatalf("timers gave %v", got)
	}
	if err := n.Deactivate(deadline(t), room("!a")); err != nil {
		t.Fatal(err)
	}
	if old.Context().Err() == nil {
		t.Fatal("the context outlives the activation")
	}
	old.Send("dropped")
	old.Stop(nil)
	if len(n.Actors(Filter{})) != 0 {
		t.Fatal("a message to a stopped activation activates it")
	}
}
