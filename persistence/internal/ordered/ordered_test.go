package ordered

import (
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOrder(t *testing.T) {
	t.Parallel()
	const posters, each = 8, 200
	var q Queue
	var ran [posters][]int // not guarded: the race detector sees two functions at once
	var all sync.WaitGroup
	total := 0
	for p := range posters {
		all.Go(func() {
			for i := range each {
				q.Post(func() {
					total++
					ran[p] = append(ran[p], i)
				})
			}
		})
	}
	all.Wait()
	q.Wait()
	if total != posters*each {
		t.Errorf("%d of %d functions ran", total, posters*each)
	}
	for p := range posters {
		if !slices.IsSorted(ran[p]) {
			t.Errorf("poster %d's functions ran as %v", p, ran[p])
		}
	}
}

// TestLocks posts while it holds a lock that the function takes.
func TestLocks(t *testing.T) {
	t.Parallel()
	var q Queue
	var mu sync.Mutex
	n := 0
	mu.Lock()
	for range 100 {
		q.Post(func() {
			mu.Lock()
			defer mu.Unlock()
			n++
			q.Post(func() { n++ })
		})
	}
	mu.Unlock()
	q.Wait()
	q.Wait()
	if n != 200 {
		t.Errorf("%d functions ran", n)
	}
}
