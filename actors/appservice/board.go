package appservice

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
)

// typingRooms bounds in how many rooms at once an application service is told who is typing; what is beyond is lost.
const typingRooms = 1000

// Board tells the actors of application services that live on this node that there is something new. Telling costs the same
// however much is new: an actor is woken once until it looks.
type Board struct {
	mu    sync.Mutex
	desks map[string]*desk // by the application service's id
}

// NewBoard makes the board of a node.
func NewBoard() *Board { return &Board{desks: map[string]*desk{}} }

// desk is where one actor finds what came.
type desk struct {
	mu      sync.Mutex
	wake    func()
	figures func() figures
	woken   bool
	typing  map[string][]string // by room; nil: not wanted
}

// Publish wakes everybody after a commit; it is a persistence.Follower.
func (b *Board) Publish(_ persistence.Position, notices []proto.Message) {
	if len(notices) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.desks {
		d.ring("", nil)
	}
}

// Typing tells who is typing in a room.
func (b *Board) Typing(n *messages.RoomNotice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.desks {
		d.ring(n.RoomId, n.Typing)
	}
}

// Has reports whether the actor of an application service lives here.
func (b *Board) Has(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.desks[id] != nil
}

func (b *Board) enter(id string, wake func(), f func() figures) *desk {
	d := &desk{wake: wake, figures: f}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.desks[id] = d
	return d
}

func (b *Board) leave(id string, d *desk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.desks[id] == d {
		delete(b.desks, id)
	}
}

// ring notes who is typing, if a room is given, and wakes the actor unless it has been.
func (d *desk) ring(roomID string, typing []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if roomID != "" {
		if _, known := d.typing[roomID]; d.typing == nil || !known && len(d.typing) >= typingRooms {
			return
		}
		d.typing[roomID] = typing
	}
	if !d.woken {
		d.woken = true
		d.wake()
	}
}

// look says that the actor looks now, so that what comes later wakes it again.
func (d *desk) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.woken = false
}

// want says whether the actor wants to know who is typing.
func (d *desk) want(typing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !typing:
		d.typing = nil
	case d.typing == nil:
		d.typing = map[string][]string{}
	}
}

// take gives who began or ceased to type, by room.
func (d *desk) take() map[string][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.typing
	if taken != nil {
		d.typing = map[string][]string{}
	}
	return taken
}
