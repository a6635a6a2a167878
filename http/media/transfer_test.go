package media

import (
	"context"
	"errors"
	"testing"

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
		shared, who := ts.join(ctx, "other.example/abc", take, func(ctx context.Context, shared *transfer) (schema.Media, error) {
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
