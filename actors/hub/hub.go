// Package hub hands on what was committed to the local users whom it concerns: a room tells each node once, and the
// node's hub tells those of its users who are active and joined.
//
// A notice is in the mailbox of every active user concerned before the hub's method returns. So whoever publishes on one
// goroutine, as the committer does in the order of positions, is heard by every user in that order, and an answer
// given after publishing is never ahead of what it speaks of. Nothing here waits: a mailbox takes a notice or,
// when its actor has fallen too far behind, the activation ends and the next one reads the store.
package hub

import (
	"hash/maphash"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// partitionCount spreads the users over locks.
const partitionCount = 8

// Hub knows which users are active on this node and which rooms they are joined to.
type Hub struct {
	caller     cluster.Caller
	seed       maphash.Seed
	partitions [partitionCount]partition
	buffers    sync.Pool // *[]string: whom to tell
}

// New makes the hub of a node; it reaches users through caller.TellActive.
func New(caller cluster.Caller) *Hub {
	h := &Hub{caller: caller, seed: maphash.MakeSeed()}
	for i := range h.partitions {
		h.partitions[i].init()
	}
	h.buffers.New = func() any { return new([]string) }
	return h
}

func (h *Hub) partition(userID string) *partition {
	return &h.partitions[maphash.String(h.seed, userID)%partitionCount]
}

// Enter says that the user is active here and joined to these rooms, besides those of earlier calls. An activation
// calls it without rooms before it reads them, so that it hears of its own memberships from then on, and with them
// afterwards; a room that the user left in between is not taken in.
func (h *Hub) Enter(userID string, rooms []string) { h.partition(userID).enter(userID, rooms) }

// Leave says that the user is not active here any more.
func (h *Hub) Leave(userID string) { h.partition(userID).leave(userID) }

// Room tells the room's users, and whoever is the state key of a membership in the notice: who was kicked hears it too.
// Accepted memberships in it change who is told from now on.
func (h *Hub) Room(n *messages.RoomNotice) {
	changes := memberships(n)
	for i := range h.partitions {
		h.tell(n, func(to []string) []string { return h.partitions[i].room(to, n.RoomId, changes) })
	}
}

// Publish tells what a commit at this position brought; it is the node's persistence.Follower.
func (h *Hub) Publish(pos persistence.Position, notices []proto.Message) {
	for _, notice := range notices {
		switch n := notice.(type) {
		case *messages.RoomNotice:
			n.Pos = uint64(pos)
			h.Room(n)
		case *messages.UserNotice:
			n.Pos = uint64(pos)
			h.User(n)
		case *messages.DeviceListNotice:
			n.Pos = uint64(pos)
			h.DeviceList(n)
		case *messages.PresenceNotice:
			n.Pos = uint64(pos)
			h.Presence(n)
		case *messages.ProfileNotice:
			n.Pos = uint64(pos)
			h.sharers(n, n.UserId, n.Rooms)
		}
	}
}

// User tells the user.
func (h *Hub) User(n *messages.UserNotice) { h.caller.TellActive(user(n.UserId), n) }

// DeviceList tells everybody who is in one of the rooms, and the user.
func (h *Hub) DeviceList(n *messages.DeviceListNotice) { h.sharers(n, n.UserId, n.Rooms) }

// Presence tells everybody who is in one of the rooms, and the user.
func (h *Hub) Presence(n *messages.PresenceNotice) { h.sharers(n, n.UserId, n.Rooms) }

func (h *Hub) sharers(n proto.Message, userID string, rooms []string) {
	for i := range h.partitions {
		h.tell(n, func(to []string) []string { return h.partitions[i].sharers(to, userID, rooms) })
	}
}

// tell hands the notice to whom choose appends. It holds no lock while it does.
func (h *Hub) tell(n proto.Message, choose func([]string) []string) {
	buffer := h.buffers.Get().(*[]string)
	to := choose((*buffer)[:0])
	for _, u := range to {
		h.caller.TellActive(user(u), n)
	}
	clear(to)
	*buffer = to
	h.buffers.Put(buffer)
}

func user(id string) cluster.Identity { return cluster.Identity{Kind: cluster.KindUser, ID: id} }

// change is an accepted membership event.
type change struct {
	userID string
	joined bool
}

func memberships(n *messages.RoomNotice) []change {
	var changes []change
	for _, e := range n.Events {
		if e.Type == "m.room.member" && e.StateKey != nil && e.Status == schema.Accepted {
			changes = append(changes, change{*e.StateKey, e.Membership == "join"})
		}
	}
	return changes
}
