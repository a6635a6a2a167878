// Package cache keeps a bounded number of values in memory, those that are used most. It is otter behind a thin type: otter is a large
// generic library, which the compiler writes out again for every pair of types in every package that names one, a tenth of the program
// in the end. Here it is written out once.
package cache

import (
	"iter"
	"time"

	"github.com/maypok86/otter/v2"
)

// Options say how much a cache holds, and for how long. Size is needed, everything else may be left out.
type Options[K comparable, V any] struct {
	// Size is how many entries are kept, or what they may weigh together if there is Weigh.
	Size int
	// Weigh tells the weight of an entry. It is called when the entry is put in, and must not change afterwards.
	Weigh func(K, V) uint32
	// Written is how long after it was put in an entry is forgotten; Accessed is how long after its last use. At most one is given.
	Written, Accessed time.Duration
}

// Cache holds values by key. It is safe for use by many goroutines.
type Cache[K comparable, V any] struct{ store store }

// store hides otter's type from the packages that use a cache, which would otherwise compile it too.
type store interface {
	get(key any) (any, bool)
	set(key, value any)
	getOrMake(key any, make func() any) any
	remove(key any)
	all() iter.Seq2[any, any]
	clear()
	close()
}

// New makes an empty cache. It panics if the options make no sense, which only a mistake in the program can bring about.
func New[K comparable, V any](o Options[K, V]) *Cache[K, V] {
	var weigh func(key, value any) uint32
	if o.Weigh != nil {
		weigh = func(key, value any) uint32 { return o.Weigh(key.(K), value.(V)) }
	}
	return &Cache[K, V]{store: open(o.Size, weigh, o.Written, o.Accessed)}
}

// Get returns the value of the key and whether there is one.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	value, ok := c.store.get(key)
	if !ok {
		var none V
		return none, false
	}
	return value.(V), true
}

// Set puts the value in, in the place of one that may be there.
func (c *Cache[K, V]) Set(key K, value V) { c.store.set(key, value) }

// GetOrMake returns the value of the key; one that is not there is made first, once however many ask.
func (c *Cache[K, V]) GetOrMake(key K, make func() V) V {
	return c.store.getOrMake(key, func() any { return make() }).(V)
}

// Delete forgets the key.
func (c *Cache[K, V]) Delete(key K) { c.store.remove(key) }

// All goes through what is kept, in no order. What is put in or deleted meanwhile may or may not be met.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for key, value := range c.store.all() {
			if !yield(key.(K), value.(V)) {
				return
			}
		}
	}
}

// Clear forgets everything.
func (c *Cache[K, V]) Clear() { c.store.clear() }

// Close ends what runs beside a cache whose entries expire. The cache can be used afterwards.
func (c *Cache[K, V]) Close() { c.store.close() }

// values is the one instance of otter.
type values struct{ otter *otter.Cache[any, any] }

func open(size int, weigh func(key, value any) uint32, written, accessed time.Duration) store {
	o := &otter.Options[any, any]{}
	if weigh == nil {
		o.MaximumSize = size
	} else {
		o.MaximumWeight, o.Weigher = uint64(size), weigh
	}
	switch {
	case written > 0:
		o.ExpiryCalculator = otter.ExpiryWriting[any, any](written)
	case accessed > 0:
		o.ExpiryCalculator = otter.ExpiryAccessing[any, any](accessed)
	}
	return values{otter.Must(o)}
}

func (v values) get(key any) (any, bool)  { return v.otter.GetIfPresent(key) }
func (v values) set(key, value any)       { v.otter.Set(key, value) }
func (v values) remove(key any)           { v.otter.Invalidate(key) }
func (v values) all() iter.Seq2[any, any] { return v.otter.All() }
func (v values) clear()                   { v.otter.InvalidateAll() }
func (v values) close()                   { v.otter.StopAllGoroutines() }

func (v values) getOrMake(key any, make func() any) any {
	value, _ := v.otter.ComputeIfAbsent(key, func() (any, bool) { return make(), false })
	return value
}
