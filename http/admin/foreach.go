package admin

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// atOnce is for how many things at a time one request does what it does for each of many.
const atOnce = 16

// forEach does something for each of the ids, some at a time. It gives those with which it went well, and notes in failed why it did not with
// others. Its error is that of the context: what has not been begun by then is not.
func forEach(ctx context.Context, ids []string, failed map[string]string, do func(id string) error) (done []string, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := semaphore.NewWeighted(atOnce)
	done = []string{}
	for _, id := range ids {
		if slots.Acquire(ctx, 1) != nil {
			break // whoever asked is gone
		}
		all.Go(func() {
			defer slots.Release(1)
			err := do(id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[id] = err.Error()
				return
			}
			done = append(done, id)
		})
	}
	all.Wait()
	return done, ctx.Err()
}
