package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matrixon/matrixon/messages"
)

func TestIdleActorsRest(t *testing.T) {
	t.Parallel()
	clock := newWall()
	var busy atomic.Bool
	n := startNode(t, Options{Clock: clock}, Kind{IdleAfter: time.Minute, New: func(id Identity) Behavior {
		return &script{idle: func() bool { return id.ID != "!busy" || !busy.Load() }}
	}})
	busy.Store(true)
	for _, id := range []string{"!busy", "!used", "!idle", "!noticed"} {
		answer, err := n.Ask(deadline(t), room(id), &messages.Done{})
		wantDone(t, answer, err)
	}
	for range 3 {
		clock.advance(30 * time.Second)
		answer, err := n.Ask(deadline(t), room("!used"), &messages.Done{})
		wantDone(t, answer, err)
		n.TellActive(room("!noticed"), &messages.UserNotice{})
	}
	if n.active(room("!used")) == nil {
		t.Fatal("a used actor was put to rest")
	}
	eventually(t, "only the busy one is left", func() bool {
		clock.advance(10 * time.Second)
		return len(n.Actors(Filter{})) == 1
	})
	if n.active(room("!busy")) == nil {
		t.Fatal("a busy actor was put to rest")
	}
	busy.Store(false)
	eventually(t, "all rest", func() bool {
		clock.advance(10 * time.Second)
		return len(n.Actors(Filter{})) == 0
	})
	answer, err := n.Ask(deadline(t), room("!idle"), &messages.Done{})
	wantDone(t, answer, err)
}

func TestRestingIsCappedAndSpread(t *testing.T) {
	t.Parallel()
	clock := newWall()
	const actors, perSecond = 500, 100
	n := startNode(t, Options{Clock: clock, Passivations: perSecond}, Kind{IdleAfter: time.Second, New: func(Identity) Behavior { return &script{} }})
	for i := range actors {
		answer, err := n.Ask(deadline(t), room(fmt.Sprint("!", i)), &messages.Done{})
		wantDone(t, answer, err)
	}
	clock.advance(time.Second)
	ticks := 0
	for left := actors; left > 0; ticks++ {
		clock.advance(tick)
		left = len(n.Actors(Filter{}))
		if rested, most := actors-left, (ticks+1)*perSecond/10; rested > most {
			t.Fatalf("%d rest after %d ticks, more than %d", rested, ticks+1, most)
		}
	}
	if ticks < actors*10/perSecond {
		t.Fatalf("all rest after %d ticks", ticks)
	}
}

// TestRestUnderFire asks actors that rest all the time: every request is answered, by one activation at a time.
func TestRestUnderFire(t *testing.T) {
	t.Parallel()
	const actors, callers, asks = 4, 8, 300
	var alive [actors]atomic.Int32
	var activations atomic.Int32
	n := startNode(t, Options{Passivations: 1 << 20}, Kind{IdleAfter: time.Nanosecond, New: func(id Identity) Behavior {
		mine := &alive[id.ID[0]-'0']
		activations.Add(1)
		return &script{
			load: func(context.Context, Self) error {
				if mine.Add(1) != 1 {
					t.Error("two activations at a time")
				}
				return nil
			},
			stopping: func() { mine.Add(-1) },
		}
	}})
	over := make(chan struct{})
	var resting sync.WaitGroup
	resting.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				for i := range actors {
					id := room(string(rune('0' + i)))
					if a := n.active(id); a != nil {
						a.post(mayRest)
					}
					answer, err := n.Ask(deadline(t), id, &messages.Done{}) // so that no more than one is under way
					wantDone(t, answer, err)
				}
			}
		}
	})
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range asks {
				id := room(string(rune('0' + (c+i)%actors)))
				answer, err := n.Ask(deadline(t), id, &messages.Done{})
				wantDone(t, answer, err)
				if i%10 == 0 {
					if err := n.Deactivate(deadline(t), id); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	close(over)
	resting.Wait()
	if activations.Load() < 2*actors {
		t.Fatalf("only %d activations: nothing was tested", activations.Load())
	}
}
