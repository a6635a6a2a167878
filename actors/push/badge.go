package push

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// badgeMemory is how long counts are believed of rooms of which nothing was heard: a redaction or a changed push rule changes
// them too.
const badgeMemory = time.Minute

// badge is how much of everything a user has not read: the unread notifications of all rooms, and the invites.
type badge struct {
	deps   Deps
	userID string

	mu     sync.Mutex
	rooms  map[string]int64
	asOf   time.Time
	stale  map[string]bool
	sum    int64
	counts bool // sum is right
}

// begin takes in that the counts of these rooms may have changed.
func (b *badge) begin(dirty map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stale == nil {
		b.stale = map[string]bool{}
	}
	for room := range dirty {
		b.stale[room] = true
	}
	b.counts = b.counts && len(b.stale) == 0 && b.deps.Now().Sub(b.asOf) < badgeMemory
}

// total counts.
func (b *badge) total(ctx context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts {
		return b.sum, nil
	}
	now := b.deps.Now()
	if b.rooms == nil || now.Sub(b.asOf) >= badgeMemory {
		b.rooms, b.asOf = map[string]int64{}, now
	}
	sum := int64(0)
	for m, err := range schema.Memberships.Scan(ctx, b.deps.Store, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: b.userID}, Keys: 1}) {
		if err != nil {
			return 0, err
		}
		switch m.Membership {
		case "invite":
			sum++
		case "join":
			n, err := b.room(ctx, m.RoomID)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	clear(b.stale)
	b.sum, b.counts = sum, true
	return sum, nil
}

func (b *badge) room(ctx context.Context, roomID string) (int64, error) {
	if n, known := b.rooms[roomID]; known && !b.stale[roomID] {
		return n, nil
	}
	c, err := b.deps.Unread.Counts(ctx, b.userID, roomID, math.MaxUint64)
	if err != nil {
		return 0, err
	}
	n := c.Main.Notify
	for _, thread := range c.Threads {
		n += thread.Notify
	}
	b.rooms[roomID] = n
	return n, nil
}
