// Package ordered runs functions one after another in the order in which they were posted, away from the poster's
// goroutine, so that a poster may hold locks that the functions take.
package ordered

import "sync"

// Queue runs what is posted to it. The zero value is ready. It has no bound of its own: backends bound what they post.
type Queue struct {
	mu      sync.Mutex
	waiting []func()
	running bool
}

// Post queues f and returns at once.
func (q *Queue) Post(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, f)
	if !q.running {
		q.running = true
		go q.run()
	}
}

// Wait returns when everything that was posted before has run. Functions in the queue must not call it.
func (q *Queue) Wait() {
	done := make(chan struct{})
	q.Post(func() { close(done) })
	<-done
}

// run lives while there is something to run, so that an idle queue needs no closing.
func (q *Queue) run() {
	var batch []func()
	for {
		q.mu.Lock()
		clear(batch)
		batch, q.waiting = q.waiting, batch[:0]
		if len(batch) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, f := range batch {
			f()
		}
	}
}
