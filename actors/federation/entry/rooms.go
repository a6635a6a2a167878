package entry

import (
	"context"
	"sync"
)

// rooms lets one join of a room at a time fetch its state, on this node; the next finds the room here and need not fetch it.
type rooms struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

// enter waits for the room's turn. The caller calls leave when it is done.
func (r *rooms) enter(ctx context.Context, roomID string) (leave func(), err error) {
	for {
		r.mu.Lock()
		before, taken := r.busy[roomID]
		if !taken {
			mine := make(chan struct{})
			r.busy[roomID] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.busy, roomID)
				r.mu.Unlock()
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
