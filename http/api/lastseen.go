package api

import (
	"context"
	"hash/maphash"
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
	written map[deviceKey]writtenSighting // what is stored, as far as remembered
	seed    maphash.Seed
}

// writtenSighting is a sighting without what it says, of which it is only known whether another says the same.
type writtenSighting struct {
	ts   int64
	from uint64 // a hash of the address and the user agent
}

type deviceKey struct{ user, device string }

const (
	// sightingBound is how many devices wait to be written; more wait for their next request.
	sightingBound = 100_000
	// writtenBound is how many devices are known to have been written, which takes about 100 MB. Beyond it all are forgotten, and written again.
	writtenBound = 1_000_000
	// sightingStep is how much later a sighting must be to be worth a write, unless the address changed.
	sightingStep = 10 * time.Minute
)

// NewLastSeen makes a LastSeen that writes with this function.
func NewLastSeen(write func(context.Context, []Sighting)) *LastSeen {
	return &LastSeen{write: write, pending: map[deviceKey]Sighting{}, written: map[deviceKey]writtenSighting{}, seed: maphash.MakeSeed()}
}

// Seen notes a use.
func (l *LastSeen) Seen(s *Session, ip, userAgent string, now time.Time) {
	const longestAgent = 200
	if len(userAgent) > longestAgent {
		userAgent = userAgent[:longestAgent]
	}
	key := deviceKey{s.UserID, s.DeviceID}
	from := maphash.Comparable(l.seed, [2]string{ip, userAgent})
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.written[key]; ok && w.from == from && now.UnixMilli()-w.ts < sightingStep.Milliseconds() {
		return
	}
	if _, ok := l.pending[key]; !ok && len(l.pending) >= sightingBound {
		return
	}
	l.pending[key] = Sighting{s.UserID, s.DeviceID, now.UnixMilli(), ip, userAgent}
}

// All has Flush write everything.
const All = sightingBound

// Flush writes what was gathered, of so many devices at most; the others wait for the next time. So it is no rush when thousands of devices
// come back at once.
func (l *LastSeen) Flush(ctx context.Context, most int) {
	l.mu.Lock()
	n := min(most, len(l.pending))
	if n == 0 {
		l.mu.Unlock()
		return
	}
	batch := make([]Sighting, 0, n)
	if len(l.written)+n > writtenBound {
		clear(l.written)
	}
	for key, s := range l.pending {
		if len(batch) == n {
			break
		}
		batch = append(batch, s)
		l.written[key] = writtenSighting{s.TS, maphash.Comparable(l.seed, [2]string{s.IP, s.UserAgent})}
		delete(l.pending, key)
	}
	l.mu.Unlock()
	l.write(ctx, batch)
}
