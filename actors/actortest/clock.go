package actortest

import (
	"slices"
	"sync"
	"time"
)

// Clock is the time of a World. It stands still until it is moved on, and implements cluster.Clock.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*timer
	set    chan struct{} // closed and renewed when a timer is set
}

type timer struct {
	at      time.Time
	f       func()
	stopped bool
}

func newClock() *Clock {
	return &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), set: make(chan struct{})}
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc implements cluster.Clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{at: c.now.Add(d), f: f}
	c.timers = append(c.timers, t)
	close(c.set)
	c.set = make(chan struct{})
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		was := !t.stopped
		t.stopped = true
		return was
	}
}

// Await waits until a timer is set that is due exactly this long from now, and still runs.
func (c *Clock) Await(d time.Duration) {
	for {
		c.mu.Lock()
		at, set := c.now.Add(d), c.set
		there := slices.ContainsFunc(c.timers, func(t *timer) bool { return !t.stopped && t.at.Equal(at) })
		c.mu.Unlock()
		if there {
			return
		}
		<-set
	}
}

// Advance moves the time on and fires what becomes due.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []*timer
	c.timers = slices.DeleteFunc(c.timers, func(t *timer) bool {
		if !t.stopped && !t.at.After(c.now) {
			due = append(due, t)
			t.stopped = true
		}
		return t.stopped
	})
	c.mu.Unlock()
	slices.SortStableFunc(due, func(a, b *timer) int { return a.at.Compare(b.at) })
	for _, t := range due {
		t.f()
	}
}
