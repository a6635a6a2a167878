package media

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// A download that is shared counts for one after the other of those who wait for it, and ends for none of them before it must.
func TestTransfersAreShared(t *testing.T) {
	t.Parallel()
	var ts transfers
	refusal := errors.New("no more")
	type user struct {
		may, taken int
		*asker
		leave context.CancelFunc
		got   chan error
	}
	fetches, pieces, counted := 0, make(chan int), make(chan error)
	ask := func(may int) *user {
		ctx, cancel := context.WithCancel(t.Context())
		u := &user{may: may, leave: cancel, got: make(chan error, 1)}
		take := func(_ context.Context, kib int) error {
			if u.taken+kib > u.may {
				return refusal
			}
			u.taken += kib
			return nil
		}
		shared, who := ts.join(ctx, "other.example/abc", 0, take, func(ctx context.Context, shared *transfer) (schema.Media, error) {
			fetches++
			for kib := range pieces {
				if kib == 0 {
					break
				}
				err := shared.take(ctx, kib)
				counted <- err
				if err != nil {
					return schema.Media{}, err
				}
			}
			return schema.Media{MediaID: "abc"}, nil
		})
		u.asker = who
		go func() {
			row, err := shared.await(ctx, who)
			if err == nil && row.MediaID != "abc" {
				err = errors.New("it got something else")
			}
			u.got <- err
		}()
		return u
	}
	come := func(kib int) error {
		pieces <- kib
		return <-counted
	}
	get := func(u *user, want error) {
		t.Helper()
		if err := <-u.got; !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	counts := func(u *user, want int) {
		t.Helper()
		if u.taken != want {
			t.Errorf("%d KiB, want %d", u.taken, want)
		}
	}
	all := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}

	alice, bob, carol := ask(100), ask(1000), ask(1000)
	all(come(64))
	counts(alice, 64)
	all(come(64)) // more than Alice may
	get(alice, refusal)
	counts(alice, 64+32+4) // what she had left, so that she begins no other
	counts(bob, 64)
	bob.leave()
	get(bob, context.Canceled)
	all(come(10))
	counts(bob, 64)
	counts(carol, 10)
	carol.leave()
	get(carol, context.Canceled)
	all(come(10)) // nobody waits
	counts(carol, 20)
	dave, erin := ask(1000), ask(0)
	all(come(10))
	counts(carol, 20)
	counts(dave, 10)
	pieces <- 0
	get(dave, nil)
	get(erin, nil)
	if fetches != 1 {
		t.Errorf("it was fetched %d times", fetches)
	}

	frank, grace := ask(0), ask(10)
	if err := come(64); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
	get(frank, refusal)
	get(grace, refusal)
	heidi := ask(1000)
	pieces <- 0
	get(heidi, nil)
	if fetches != 3 || len(ts.of) > 1 {
		t.Errorf("it was fetched %d times, %d go on", fetches, len(ts.of))
	}
}

// patient is another server, whose media is not there until somebody waits for it.
type patient struct {
	waits   []time.Duration
	proceed chan struct{}
}

// Fetch implements Remote.
func (p *patient) Fetch(_ context.Context, _, _ string, wait time.Duration) (*RemoteFile, error) {
	p.waits = append(p.waits, wait)
	<-p.proceed
	if wait == 0 {
		return nil, mxerr.New(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "not yet")
	}
	return nil, mxerr.NotFound("never")
}

// Who waits longer than the one who asked first asks again.
func TestTransfersWaitForThePatient(t *testing.T) {
	t.Parallel()
	other := &patient{proceed: make(chan struct{})}
	m := New(Options{Remote: other})
	ask := func(wait time.Duration) chan error {
		got := make(chan error)
		go func() {
			r := &api.Request{Ctx: t.Context(), Session: &api.Session{Unlimited: true}}
			_, err := m.fetch(r, "other.example", "abc", wait)
			got <- err
		}()
		return got
	}
	asking := func(n int) {
		for {
			m.fetching.mu.Lock()
			there := m.fetching.of["other.example/abc"]
			enough := there != nil && len(there.askers) == n
			m.fetching.mu.Unlock()
			if enough {
				return
			}
			runtime.Gosched()
		}
	}
	hasty := ask(0)
	asking(1)
	waiting := ask(time.Hour)
	asking(2)
	other.proceed <- struct{}{}
	var e *mxerr.Error
	if err := <-hasty; !errors.As(err, &e) || e.Code != "M_NOT_YET_UPLOADED" {
		t.Errorf("%v", err)
	}
	other.proceed <- struct{}{}
	if err := <-waiting; !errors.As(err, &e) || e.Code != "M_NOT_FOUND" {
		t.Errorf("%v", err)
	}
	if len(other.waits) != 2 || other.waits[0] != 0 || other.waits[1] > time.Hour || other.waits[1] < time.Minute {
		t.Errorf("%v", other.waits)
	}
}
