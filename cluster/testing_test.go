package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wall is a clock that tests move. Its timers fire in order, on the goroutine that moves it.
type wall struct {
	mu     sync.Mutex
	now    time.Time
	timers []*wallTimer
}

type wallTimer struct {
	at      time.Time
	f       func()
	stopped bool
}

func newWall() *wall { return &wall{now: time.Unix(1_700_000_000, 0)} }

func (w *wall) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *wall) AfterFunc(d time.Duration, f func()) func() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &wallTimer{at: w.now.Add(d), f: f}
	w.timers = append(w.timers, t)
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		was := !t.stopped
		t.stopped = true
		return was
	}
}

// advance moves the clock, firing what becomes due at its own time.
func (w *wall) advance(d time.Duration) {
	w.mu.Lock()
	until := w.now.Add(d)
	for {
		w.timers = slices.DeleteFunc(w.timers, func(t *wallTimer) bool { return t.stopped })
		i := -1
		for j, t := range w.timers {
			if !t.at.After(until) && (i < 0 || t.at.Before(w.timers[i].at)) {
				i = j
			}
		}
		if i < 0 {
			break
		}
		t := w.timers[i]
		t.stopped = true
		if t.at.After(w.now) {
			w.now = t.at
		}
		w.mu.Unlock()
		t.f()
		w.mu.Lock()
	}
	w.now = until
	w.mu.Unlock()
}

// script is a behaviour made of functions; what is nil does the obvious.
type script struct {
	load     func(context.Context, Self) error
	receive  func(Self, Message)
	idle     func() bool
	stopping func()
	inspect  func(*messages.Summary)
	self     Self
}

func (s *script) Load(ctx context.Context, self Self) error {
	s.self = self
	if s.load != nil {
		return s.load(ctx, self)
	}
	return nil
}

func (s *script) Receive(m Message) {
	if s.receive != nil {
		s.receive(s.self, m)
		return
	}
	m.Reply(&messages.Done{})
}

func (s *script) Idle() bool { return s.idle == nil || s.idle() }

func (s *script) Stopping() {
	if s.stopping != nil {
		s.stopping()
	}
}

func (s *script) Inspect(sum *messages.Summary) {
	if s.inspect != nil {
		s.inspect(sum)
	}
}

// startNode is a node with one kind, "room", stopped at the end of the test.
func startNode(t testing.TB, o Options, k Kind) *Node {
	t.Helper()
	o.Name = "a"
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	n := NewNode(o)
	k.Name = KindRoom
	if k.Bound == 0 {
		k.Bound = 1 << 20
	}
	if err := n.Register(k); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

func room(id string) Identity { return Identity{KindRoom, id} }

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wantDone(t testing.TB, answer proto.Message, err error) {
	t.Helper()
	if _, ok := answer.(*messages.Done); err != nil || !ok {
		t.Errorf("answer %v, error %v; want Done", answer, err)
	}
}

func wantError(t testing.TB, err error, status int, code string) {
	t.Helper()
	var e *mxerr.Error
	ok := errors.As(err, &e)
	if !ok || e.Status != status || e.Code != code {
		t.Errorf("error %v; want %d %s", err, status, code)
	}
}

// eventually waits for something that another goroutine does soon.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
