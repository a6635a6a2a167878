package cluster

import (
	"sync"
	"sync/atomic"
)

// workers run what actors have to do: it is protoactor's dispatcher. A goroutine goes on with the next actor's work when it is done with
// one, because a new one begins with a small stack, which most messages outgrow: growing it for every burst of messages costs more
// than handing the work over. Nothing waits: when no worker is free, there will be one more.
type workers struct {
	next    chan func()
	idle    atomic.Int32
	ended   chan struct{}
	endOnce sync.Once
}

const (
	idleWorkers = 32  // that wait for work at most
	throughput  = 300 // messages of an actor in a row, after which others get their turn; protoactor's default
)

func newWorkers() *workers { return &workers{next: make(chan func()), ended: make(chan struct{})} }

// Schedule implements actor.Dispatcher.
func (w *workers) Schedule(work func()) {
	select {
	case w.next <- work:
	default:
		go w.run(work)
	}
}

// Throughput implements actor.Dispatcher.
func (w *workers) Throughput() int { return throughput }

func (w *workers) run(work func()) {
	for {
		work()
		if w.idle.Add(1) > idleWorkers {
			w.idle.Add(-1)
			return
		}
		select {
		case work = <-w.next:
			w.idle.Add(-1)
		case <-w.ended:
			w.idle.Add(-1)
			return
		}
	}
}

// end has those who wait go home.
func (w *workers) end() { w.endOnce.Do(func() { close(w.ended) }) }
