package api

import (
	"context"
	"sync"
	"time"
)

// Sighting says when and from where a device was last used.
type Sighting struct {
	UserID, DeviceID string
	TS               int64 // ms
	IP, UserAgent    string
}

// LastSeen gathers when devices were used and writes it down now and then, so that requests cost no commit.
type LastSeen struct {
	write func(context.Context, []Sighting)

	mu      sync.Mutex
	pending map[deviceKey]Sighting
	written map[deviceKey]Sighting // what is stored, as far as remembered
}

type deviceKey struct{ user, device string }

const (
	// sightingBound is how many devices are remembered between two writes; more wait for their next request.
	sightingBound = 100_000
	// sightingStep is how much later a sighting must be to be worth a write, unless the address changed.
	sightingStep = 10 * time.Minute
)

// NewLastSeen makes a LastSeen that writes with this function.
func NewLastSeen(write func(context.Context, []Sighting)) *LastSeen {
	return &LastSeen{write: write, pending: map[deviceKey]Sighting{}, written: map[deviceKey]Sighting{}}
}

// Seen notes a use.
func (l *LastSeen) Seen(s *Session, ip, userAgent string, now time.Time) {
	const longestAgent = 200
	if len(userAgent) > longestAgent {
		userAgent = userAgent[:longestAgent]
	}
	key := deviceKey{s.UserID, s.DeviceID}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.written[key]; ok && w.IP == ip && w.UserAgent == userAgent && now.UnixMilli()-w.TS < sightingStep.Milliseconds() {
		return
	}
	if _, ok := l.pending[key]; !ok && len(l.pending) >= sightingBound {
		return
	}
	l.pending[key] = Sighting{s.UserID, s.DeviceID, now.UnixMilli(), ip, userAgent}
}

// Flush writes what was gathered.
func (l *LastSeen) Flush(ctx context.Context) {
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.mu.Unlock()
		return
	}
	batch := make([]Sighting, 0, len(l.pending))
	if len(l.written)+len(l.pending) > sightingBound {
		clear(l.written)
	}
	for key, s := range l.pending {
		batch = append(batch, s)
		l.written[key] = s
	}
	clear(l.pending)
	l.mu.Unlock()
	l.write(ctx, batch)
}

// Run flushes at this interval, and once more when ctx ends.
func (l *LastSeen) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.Flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			l.Flush(last)
			return
		}
	}
}
