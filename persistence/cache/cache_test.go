package cache_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/matrixon/matrixon/persistence/cache"
)

type key struct {
	room string
	seq  uint64
}

func TestHoldsWhatWasPutIn(t *testing.T) {
	t.Parallel()
	c := cache.New(cache.Options[key, []byte]{Size: 10})
	if _, ok := c.Get(key{"!a", 1}); ok {
		t.Error("an empty cache has a value")
	}
	c.Set(key{"!a", 1}, []byte("one"))
	c.Set(key{"!a", 2}, nil)
	if v, ok := c.Get(key{"!a", 1}); !ok || string(v) != "one" {
		t.Errorf("got %q, %v", v, ok)
	}
	if v, ok := c.Get(key{"!a", 2}); !ok || v != nil {
		t.Errorf("a nil value is a value: %q, %v", v, ok)
	}
	c.Set(key{"!a", 1}, []byte("uno"))
	if v, _ := c.Get(key{"!a", 1}); string(v) != "uno" {
		t.Errorf("the later value holds, not %q", v)
	}
	c.Delete(key{"!a", 1})
	if _, ok := c.Get(key{"!a", 1}); ok {
		t.Error("a deleted key has a value")
	}
	c.Clear()
	if _, ok := c.Get(key{"!a", 2}); ok {
		t.Error("a cleared cache has a value")
	}
}

func TestMakesOnce(t *testing.T) {
	t.Parallel()
	c := cache.New(cache.Options[string, *int]{Size: 10})
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if v := c.GetOrMake("k", func() *int { n := int(made.Add(1)); return &n }); *v != 1 {
				t.Errorf("got the %dth value", *v)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

// kept counts the entries that are left of so many.
func kept(c *cache.Cache[int, string], of int) (n int) {
	for k := range of {
		if _, ok := c.Get(k); ok {
			n++
		}
	}
	return n
}

func TestIsBounded(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]cache.Options[int, string]{
		"by number": {Size: 100},
		"by weight": {Size: 1000, Weigh: func(_ int, v string) uint32 { return uint32(len(v)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := cache.New(o)
				for k := range 10_000 {
					c.Set(k, "ten bytes.")
				}
				synctest.Wait() // evicting is done beside
				if n := kept(c, 10_000); n == 0 || n > 100 {
					t.Errorf("%d entries are kept", n)
				}
			})
		})
	}
}
