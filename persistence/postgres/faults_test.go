package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
	"github.com/matrixon/matrixon/tests/line"
)

// output is a log that a test reads.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) count(text string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Count(o.text.String(), text)
}

// writer is a stream that says one number after the other, each in a commit, and remembers what it was told of them.
type writer struct {
	store  *Store
	stream persistence.Stream
	told   map[int]bool // number: committed for certain (true), refused for certain (false); neither when that is open
}

// setting is a row with a number: nothing but one commit writes it.
func setting(stream persistence.Stream, n int) schema.Setting {
	return schema.Setting{Name: fmt.Sprintf("%s/%d", stream.ID, n), Value: "x"}
}

// run commits until ctx ends. A stream that is not where it should be is claimed again, as an actor would be activated again.
func (w *writer) run(ctx context.Context, t *testing.T) {
	var a persistence.Activation
	active := false
	for n := 0; ctx.Err() == nil; n++ {
		if !active {
			var err error
			if a, err = w.store.Claim(context.Background(), w.stream); err != nil {
				if !errors.Is(err, persistence.ErrUnavailable) {
					t.Errorf("claiming: %v", err)
					return
				}
				time.Sleep(10 * time.Millisecond)
				n--
				continue
			}
			active = true
		}
		c := &persistence.Commit{Stream: w.stream, Epoch: a.Epoch, Seq: a.Seq, Advance: 1,
			Write: []persistence.Mutation{schema.Settings.Put(setting(w.stream, n))}, Notices: []proto.Message{wrapperspb.String(setting(w.stream, n).Name)}}
		_, err := persistence.Await(context.Background(), w.store, c)
		switch {
		case err == nil:
			w.told[n] = true
			a.Seq++
		case errors.Is(err, persistence.ErrFenced), errors.Is(err, persistence.ErrConflict):
			w.told[n] = false
			active = false
		default: // its fate is open
			active = false
		}
		time.Sleep(time.Millisecond)
	}
}

// listener is what a store tells of commits.
type listener struct {
	mu   sync.Mutex
	told []string
}

func (l *listener) hear(_ persistence.Position, notices []proto.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range notices {
		if s, ok := n.(*wrapperspb.StringValue); ok {
			l.told = append(l.told, s.Value)
		}
	}
}

// trial is two stores that commit and listen while something is broken, and what must hold afterwards.
type trial struct {
	stores    []*Store
	listeners []*listener
	writers   []*writer
}

func newTrial(t *testing.T, log *slog.Logger, urls ...string) *trial {
	t.Helper()
	r := &trial{}
	for i, url := range urls {
		s := openAt(t, Options{URL: url, Log: log, Node: string(rune('a' + i))})
		l := &listener{}
		s.Follow(l.hear)
		r.stores, r.listeners = append(r.stores, s), append(r.listeners, l)
		for n := range 4 {
			r.writers = append(r.writers, &writer{store: s, stream: persistence.Stream{Kind: "test", ID: string(rune('a'+i)) + string(rune('0'+n))}, told: map[int]bool{}})
		}
	}
	return r
}

// during has everybody write while f breaks something.
func (r *trial) during(t *testing.T, f func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, w := range r.writers {
		all.Go(func() { w.run(ctx, t) })
	}
	f()
	stop()
	all.Wait()
}

// check wants every acknowledged commit to be there, every refused one not, and every store to have been told of all that is there,
// once, in one order.
func (r *trial) check(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Connections that were cut while nobody used them fail once more.
	for _, s := range r.stores {
		for unbroken := 0; unbroken < 2*int(s.pool.Config().MaxConns); unbroken++ {
			if _, err := s.CatchUp(ctx); errors.Is(err, persistence.ErrUnavailable) {
				unbroken = 0
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	there := map[string]bool{}
	for row, err := range schema.Settings.Scan(ctx, r.stores[0], persistence.Range[schema.Setting]{}) {
		if err != nil {
			t.Fatal(err)
		}
		there[row.Name] = true
	}
	sure := 0
	for _, w := range r.writers {
		for n, committed := range w.told {
			if committed {
				sure++
			}
			if name := setting(w.stream, n).Name; there[name] != committed {
				t.Errorf("%s was told committed: %v, and is there: %v", name, committed, there[name])
			}
		}
	}
	for i, s := range r.stores {
		if _, err := s.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
		l := r.listeners[i]
		l.mu.Lock()
		once := map[string]bool{}
		for _, name := range l.told {
			if once[name] {
				t.Errorf("store %d was told of %s twice", i, name)
			}
			once[name] = true
			if !there[name] {
				t.Errorf("store %d was told of %s, which is not there", i, name)
			}
		}
		if len(once) != len(there) {
			t.Errorf("store %d was told of %d commits of %d", i, len(once), len(there))
		}
		if first := r.listeners[0].told; i > 0 && strings.Join(first, " ") != strings.Join(l.told, " ") {
			t.Errorf("stores 0 and %d were told in different orders", i)
		}
		l.mu.Unlock()
	}
	t.Logf("%d commits are there, %d of them acknowledged", len(there), sure)
	if sure == 0 {
		t.Error("nothing was acknowledged")
	}
}

func pause(least, more int) {
	time.Sleep(time.Duration(least+rand.IntN(more)) * time.Millisecond)
}

// A line that is reset at random moments leaves open whether a commit happened; the store finds out.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	url := place(t)
	lines := []*line.Line{line.New(t, server.Address), line.New(t, server.Address)}
	r := newTrial(t, slog.New(slog.DiscardHandler), strings.Replace(url, server.Address, lines[0].Address, 1), strings.Replace(url, server.Address, lines[1].Address, 1))
	r.during(t, func() {
		for range 40 {
			pause(10, 60)
			lines[rand.IntN(2)].Reset()
		}
	})
	r.check(t)
}

// Silence on the line is an outage: it is told in two lines, and the other node is not held up for long.
func TestSilentLine(t *testing.T) {
	t.Parallel()
	url := place(t)
	cut := line.New(t, server.Address)
	var log output
	r := newTrial(t, slog.New(slog.NewTextHandler(&log, nil)), strings.Replace(url, server.Address, cut.Address, 1), url)
	r.during(t, func() {
		pause(200, 100)
		cut.Pull()
		pause(3000, 1000)
		cut.Mend()
		pause(500, 100)
	})
	r.check(t)
	if lost, back := log.count("the database cannot be reached"), log.count("the database can be reached again"); lost != back || lost > 2 {
		t.Errorf("one outage was told %d times, and its end %d times", lost, back)
	}
}

// A server that crashes loses nothing of what it acknowledged.
func TestCrashedServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	own, err := local.StartPostgres(ctx, filepath.Join(t.TempDir(), "data"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	url := own.URL(own.Address, "matrixon")
	var log output
	r := newTrial(t, slog.New(slog.NewTextHandler(&log, nil)), url, url)
	r.during(t, func() {
		for range 3 {
			pause(200, 200)
			own.Kill()
			_, _, err := schema.Settings.Get(ctx, r.stores[0], schema.Setting{Name: "x"})
			if !errors.Is(err, persistence.ErrUnavailable) {
				t.Errorf("reading without a server: %v", err)
			}
			if r.stores[0].Reachable() {
				t.Error("a store without its server says that it is reachable")
			}
			if err := own.Start(ctx); err != nil {
				t.Error(err)
			}
		}
		pause(300, 100)
	})
	r.check(t)
	if !r.stores[0].Reachable() {
		t.Error("the store does not find its server again")
	}
}

// Whoever is fenced in a batch does not disturb the others in it.
func TestFencedNeighbour(t *testing.T) {
	t.Parallel()
	s := openAt(t, Options{URL: place(t)})
	ctx := context.Background()
	fenced, good := persistence.Stream{Kind: "test", ID: "fenced"}, persistence.Stream{Kind: "test", ID: "good"}
	old, err := s.Claim(ctx, fenced)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, fenced); err != nil {
		t.Fatal(err)
	}
	a, err := s.Claim(ctx, good)
	if err != nil {
		t.Fatal(err)
	}
	const many = 200
	type fate struct {
		bad bool
		err error
	}
	fates := make(chan fate, 2*many)
	for n := range many {
		s.Submit(&persistence.Commit{Stream: fenced, Epoch: old.Epoch, Seq: uint64(n), Advance: 1, Write: []persistence.Mutation{schema.Settings.Put(setting(fenced, n))}},
			func(_ persistence.Position, err error) { fates <- fate{true, err} })
		s.Submit(&persistence.Commit{Stream: good, Epoch: a.Epoch, Seq: uint64(n), Advance: 1, Write: []persistence.Mutation{schema.Settings.Put(setting(good, n))}},
			func(_ persistence.Position, err error) { fates <- fate{false, err} })
	}
	for range 2 * many {
		f := <-fates
		if f.bad && !errors.Is(f.err, persistence.ErrFenced) || !f.bad && f.err != nil {
			t.Fatalf("fenced: %v, and the fate: %v", f.bad, f.err)
		}
	}
	rows, err := schema.Settings.All(ctx, s, persistence.Range[schema.Setting]{})
	if err != nil || len(rows) != many {
		t.Errorf("%d rows are there: %v", len(rows), err)
	}
}
