package push

import (
	"context"
	"sync"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// badgeMemory is how long counts are believed of rooms of which nothing was heard: a redaction or a changed push rule changes
// them too.
const badgeMemory = time.Minute

// newest is a position above all.
const newest = 1 << 62

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

// touch takes in that the counts of the items' rooms may have changed.
func (b *badge) touch(items []schema.PushItem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stale == nil {
		b.stale = map[string]bool{}
	}
	for _, item := range items {
		b.stale[item.RoomID] = true
	}
}

// total counts.
func (b *badge) total(ctx context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.deps.Now()
	if b.counts && len(b.stale) == 0 && now.Sub(b.asOf) < badgeMemory {
		return b.sum, nil
	}
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
	last, _, err := b.deps.Reader.Last(ctx, roomID, newest)
	if err != nil {
		return 0, err
	}
	c, err := b.deps.Unread.Counts(ctx, b.userID, roomID, last.Seq)
	if err != nil {
		return 0, err
	}
	n := c.Total().Notify
	b.rooms[roomID] = n
	return n, nil
}
