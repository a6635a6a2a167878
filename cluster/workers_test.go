package cluster

import (
	"sync"
	"testing"
)

// Work that waits for other work hinders none, however much there is; and what ends leaves no goroutine (see TestMain).
func TestWorkersNeverMakeWorkWait(t *testing.T) {
	t.Parallel()
	w := newWorkers()
	defer w.end()
	for range 3 {
		const n = 4 * idleWorkers
		var all, done sync.WaitGroup
		all.Add(n)
		done.Add(n)
		for range n {
			w.Schedule(func() {
				defer done.Done()
				all.Done()
				all.Wait()
			})
		}
		done.Wait()
	}
}
