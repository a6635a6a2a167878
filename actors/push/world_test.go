package push_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/actors/push"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.periodicCleanUp[...]"))
}

type j = actortest.J

// patience is how long something may take that takes no time.
const patience = 30 * time.Second

// gateway is a push gateway. It answers as it is set to when the test looks at what came.
type gateway struct {
	t        testing.TB
	came     chan request
	down     bool
	rejected []string
}

// request is a notification that waits for its answer.
type request struct {
	body   string
	answer chan func() ([]string, error)
}

var errDown = errors.New("the gateway is down")

func (g *gateway) Notify(ctx context.Context, _ string, body []byte) ([]string, error) {
	r := request{string(body), make(chan func() ([]string, error), 1)}
	select {
	case g.came <- r:
		return (<-r.answer)()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gateway) set(down bool, rejected ...string) { g.down, g.rejected = down, rejected }

// take answers a request and gives what it says.
func (g *gateway) take(r request) gjson.Result {
	down, rejected := g.down, g.rejected
	r.answer <- func() ([]string, error) {
		if down {
			return nil, errDown
		}
		return rejected, nil
	}
	return gjson.Get(r.body, "notification")
}

// next is the notification that comes next.
func (g *gateway) next() gjson.Result {
	g.t.Helper()
	select {
	case r := <-g.came:
		return g.take(r)
	case <-time.After(patience):
		g.t.Fatal("no notification came")
		return gjson.Result{}
	}
}

// later is the notification that comes next, while time passes.
func (w *world) later() gjson.Result {
	w.t.Helper()
	end := time.After(patience)
	for {
		select {
		case r := <-w.gateway.came:
			return w.gateway.take(r)
		case <-time.After(time.Millisecond):
			w.Clock.Advance(push.FirstPause)
		case <-end:
			w.t.Fatal("no notification came")
		}
	}
}

// world is a server with push gateways.
type world struct {
	*actortest.World
	t          *testing.T
	gateway    *gateway
	mail       chan letter
	mailDown   bool
	dispatcher *push.Dispatcher
	alice, bob *actortest.Device
	room       string
}

// newWorld makes a room of three: bob, who speaks, alice, who has a phone, and carol. What has happened so far is nothing to phones that come.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := unseen(t)
	w.look()
	return w
}

// unseen is the world before the dispatcher has looked at it.
func unseen(t *testing.T) *world {
	t.Helper()
	w := &world{World: actortest.OnDisk(t, t.TempDir()), t: t}
	w.begin()
	w.alice, w.bob = w.User("alice"), w.User("bob")
	w.room = w.bob.Create(j{"preset": "public_chat", "name": "Kitchen"})
	w.alice.Join(w.room)
	w.User("carol").Join(w.room)
	return w
}

func (w *world) begin() {
	w.t.Helper()
	w.gateway = &gateway{t: w.t, came: make(chan request)}
	w.mail = make(chan letter)
	counter := unread.New(w.Store, "")
	deps := push.Deps{Store: w.Store, Reader: w.Reader, Unread: counter, Caller: w.Node, Gateways: w.gateway, Mail: w.take,
		ServerName: actortest.ServerName, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler)}
	w.dispatcher = push.NewDispatcher(deps, func(cluster.Identity) bool { return true })
	if err := w.Node.Register(cluster.Kind{Name: cluster.KindPush, Bound: 64, New: push.New(deps)}); err != nil {
		w.t.Fatal(err)
	}
}

// take is the post.
func (w *world) take(ctx context.Context, to string, d push.Digest) error {
	if to != "alice@example.org" || d.UserID != w.alice.User {
		w.t.Errorf("a message for %s went to %s", d.UserID, to)
	}
	l := letter{d, make(chan error, 1)}
	select {
	case w.mail <- l:
		return <-l.answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

// letter is a message that waits for its answer.
type letter struct {
	digest push.Digest
	answer chan error
}

// open answers a message and gives what it says.
func (w *world) open(l letter) push.Digest {
	if w.mailDown {
		l.answer <- errDown
	} else {
		l.answer <- nil
	}
	return l.digest
}

// letter is the message that comes when the time has come.
func (w *world) letter() push.Digest {
	w.t.Helper()
	select {
	case l := <-w.mail:
		return w.open(l)
	case <-time.After(patience):
		w.t.Fatal("no message came")
		return push.Digest{}
	}
}

// restart is a server that died and starts again.
func (w *world) restart() {
	w.t.Helper()
	w.Restart()
	w.begin()
}

// look has the dispatcher look for what was committed.
func (w *world) look() {
	w.t.Helper()
	w.Settle()
	if err := w.dispatcher.Look(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.Settle()
	if n := len(rows(w.t, w.Store, schema.PushTasks)); n != 0 {
		w.t.Errorf("%d tasks are left", n)
	}
}

// phone gives a user a pusher.
func (w *world) phone(d *actortest.Device, pushkey string, change ...func(*messages.SetPusher)) {
	w.t.Helper()
	p := &messages.SetPusher{AppId: "org.app", Pushkey: pushkey, Kind: "http", Lang: "en", Enabled: true, DeviceId: d.ID,
		Data: []byte(`{"url":"https://push.example.org/_matrix/push/v1/notify","brand":"x"}`)}
	for _, f := range change {
		f(p)
	}
	actortest.Must[*messages.Done](d, p)
}

func data(raw string) func(*messages.SetPusher) {
	return func(p *messages.SetPusher) { p.Data = []byte(raw) }
}

// rows reads a whole table.
func rows[R any](t *testing.T, store persistence.Store, table *persistence.Table[R]) []R {
	t.Helper()
	all, err := table.All(context.Background(), store, persistence.Range[R]{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// same compares the raw JSON of a member.
func same(t *testing.T, n gjson.Result, path, want string) {
	t.Helper()
	if got := n.Get(path).Raw; got != want {
		t.Errorf("%s is %s, not %s, in %s", path, got, want, n.Raw)
	}
}
