package push

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// pushing are the users who may have pushers: until it is known who has, all. Who had one once stays: it costs a look.
type pushing struct {
	mu    sync.RWMutex
	known bool
	users map[string]struct{}
}

func (p *pushing) add(userID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == nil {
		p.users = map[string]struct{}{}
	}
	p.users[userID] = struct{}{}
}

func (p *pushing) has(userID string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, ok := p.users[userID]
	return ok || !p.known
}

// nobody reports whether nobody has a pusher. Once somebody had one it is never so again while the process lives.
func (p *pushing) nobody() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.known && len(p.users) == 0
}

func (p *pushing) loaded() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.known
}

func (p *pushing) load(ctx context.Context, r persistence.Reader) error {
	for row, err := range schema.Pushers.Scan(ctx, r, persistence.Range[schema.Pusher]{}) {
		if err != nil {
			return err
		}
		p.add(row.UserID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = true
	return nil
}

// The bounds of what is remembered of rooms.
const (
	residentsMost   = 1_000_000        // users in all rooms
	residentsMemory = 10 * time.Minute // after which a room is read again
)

// residents remembers which users of this server are in which rooms. It is kept in step by the events that the dispatcher sees,
// and is no more than a hint who may have to be told: whether somebody is in the room is looked at for each event.
type residents struct {
	store      persistence.Reader
	serverName string
	rooms      *cache.Cache[string, map[string]struct{}]
}

func newResidents(store persistence.Reader, serverName string) *residents {
	return &residents{store: store, serverName: serverName, rooms: cache.New(cache.Options[string, map[string]struct{}]{
		Size:    residentsMost,
		Weigh:   func(_ string, users map[string]struct{}) uint32 { return uint32(len(users)) + 1 },
		Written: residentsMemory,
	})}
}

func (r *residents) is(userID string) bool { return id.ServerOf(userID) == r.serverName }

// forget has every room read again.
func (r *residents) forget() { r.rooms.Clear() }

// of gives the room's users of this server.
func (r *residents) of(ctx context.Context, roomID string) ([]string, error) {
	if users, ok := r.rooms.Get(roomID); ok {
		return slices.Collect(maps.Keys(users)), nil
	}
	users := map[string]struct{}{}
	members := persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: roomID, Type: "m.room.member"}, Keys: 2}
	for row, err := range schema.CurrentStates.Scan(ctx, r.store, members) {
		if err != nil {
			return nil, err
		}
		if row.Membership == "join" && r.is(row.StateKey) {
			users[row.StateKey] = struct{}{}
		}
	}
	r.rooms.Set(roomID, users)
	return slices.Collect(maps.Keys(users)), nil
}

// saw takes in an event: a membership changes who is there.
func (r *residents) saw(row *schema.Event) {
	if row.Type != "m.room.member" || row.StateKey == nil || !r.is(*row.StateKey) {
		return
	}
	users, known := r.rooms.Get(row.RoomID)
	if !known {
		return
	}
	// The map is the dispatcher's own: one goroutine does all tasks of a node.
	if membership(row) == "join" {
		users[*row.StateKey] = struct{}{}
	} else {
		delete(users, *row.StateKey)
	}
}
