package destination

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of a dispatcher. What is told while too much waits is lost to it; the Keeper finds what must not be.
const (
	dispatchBound = 16_384
	typingRooms   = 10_000
)

// DispatcherOptions are what a Dispatcher needs.
type DispatcherOptions struct {
	Store  persistence.Reader
	Caller cluster.Caller
	// Mine reports whether the actor should live on this node.
	Mine       func(cluster.Identity) bool
	ServerName string
	Log        *slog.Logger
}

// Dispatcher tells the destinations of one node what commits bring them. The servers of a room are read once for all that came together,
// beside whoever commits, and each is told by one message in memory.
type Dispatcher struct {
	o DispatcherOptions

	mu      sync.Mutex
	waiting []proto.Message
	lost    int
	ring    chan struct{}
	typing  map[string][]string // of this server's users, by room
}

// NewDispatcher makes the dispatcher of a node. Run does its work.
func NewDispatcher(o DispatcherOptions) *Dispatcher {
	return &Dispatcher{o: o, ring: make(chan struct{}, 1), typing: map[string][]string{}}
}

// Publish takes in what a commit told; it is a persistence.Follower.
func (d *Dispatcher) Publish(pos persistence.Position, notices []proto.Message) {
	for _, notice := range notices {
		switch n := notice.(type) {
		case *messages.OutboundNotice:
			n.Pos = uint64(pos)
			d.push(n)
		case *messages.EduNotice, *messages.PresenceNotice:
			d.push(n)
		case *messages.RoomNotice:
			if len(n.Receipts) > 0 {
				d.push(n)
			}
		}
	}
}

// Typing takes in who is typing in a room now.
func (d *Dispatcher) Typing(n *messages.RoomNotice) {
	if n.TypingChanged || len(n.TypingAgain) > 0 {
		d.push(n)
	}
}

func (d *Dispatcher) push(n proto.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) >= dispatchBound {
		d.lost++
		return
	}
	d.waiting = append(d.waiting, n)
	select {
	case d.ring <- struct{}{}:
	default:
	}
}

// Run tells until the context ends.
func (d *Dispatcher) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.ring:
		}
		if err := d.Round(ctx); err != nil && ctx.Err() == nil {
			d.o.Log.Error("other servers could not be told; they are looked for later", "error", err)
		}
	}
}

// Round tells what waits now. Not to be used beside Run.
func (d *Dispatcher) Round(ctx context.Context) error {
	d.mu.Lock()
	batch, lost := d.waiting, d.lost
	d.waiting, d.lost = nil, 0
	d.mu.Unlock()
	if lost > 0 {
		d.o.Log.Warn("too much waits to be told to other servers; what must reach them is looked for later", "lost", lost)
	}
	r := &round{d: d, ctx: ctx, rooms: map[string][]schema.RoomServer{}}
	for _, n := range batch {
		if err := r.tell(n); err != nil {
			return err
		}
	}
	return nil
}

// round is what is known while one batch is told.
type round struct {
	d     *Dispatcher
	ctx   context.Context
	rooms map[string][]schema.RoomServer // other servers
}

// servers are the other servers of a room, those that have left too.
func (r *round) servers(roomID string) ([]schema.RoomServer, error) {
	if known, ok := r.rooms[roomID]; ok {
		return known, nil
	}
	var servers []schema.RoomServer
	for row, err := range schema.RoomServers.Scan(r.ctx, r.d.o.Store, persistence.Range[schema.RoomServer]{Prefix: schema.RoomServer{RoomID: roomID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if row.Server != r.d.o.ServerName {
			servers = append(servers, row)
		}
	}
	r.rooms[roomID] = servers
	return servers, nil
}

func (r *round) tell(notice proto.Message) error {
	switch n := notice.(type) {
	case *messages.OutboundNotice:
		return r.events(n)
	case *messages.EduNotice:
		for _, server := range n.Destinations {
			r.to(server, n)
		}
	case *messages.PresenceNotice:
		return r.presence(n)
	case *messages.RoomNotice:
		return r.room(n)
	}
	return nil
}

// to tells a destination that lives here, or should.
func (r *round) to(server string, n proto.Message) {
	actor := cluster.Identity{Kind: cluster.KindDestination, ID: server}
	if !r.d.o.Caller.TellActive(actor, n) && r.d.o.Mine(actor) {
		r.d.o.Caller.Tell(actor, n)
	}
}

// events tells each server of the events that concern it. Most of the time that is all of them, for all.
func (r *round) events(n *messages.OutboundNotice) error {
	for _, server := range n.Missed {
		r.to(server, &messages.WakeDestination{})
	}
	if len(n.Seqs) == 0 {
		return nil
	}
	servers, err := r.servers(n.RoomId)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(servers, func(s schema.RoomServer) bool { return s.JoinedSeq > n.Seqs[0] || s.Joined == 0 }) {
		for _, server := range servers {
			some := &messages.OutboundNotice{RoomId: n.RoomId, Pos: n.Pos}
			for _, seq := range n.Seqs {
				if Concerns(server, seq) {
					some.Seqs = append(some.Seqs, seq)
				}
			}
			if len(some.Seqs) > 0 {
				r.to(server.Server, some)
			}
		}
		return nil
	}
	for _, server := range servers {
		r.to(server.Server, n)
	}
	return nil
}

func (r *round) local(userID string) bool { return id.ServerOf(userID) == r.d.o.ServerName }

// room tells the servers in a room who types, and what was read.
func (r *round) room(n *messages.RoomNotice) error {
	told := &messages.EphemeralNotice{RoomId: n.RoomId}
	for _, receipt := range n.Receipts {
		if receipt.ReceiptType == "m.read" && r.local(receipt.UserId) {
			told.Receipts = append(told.Receipts, receipt)
		}
	}
	if n.TypingChanged {
		told.Typing = r.typing(n)
	}
	for _, userID := range n.TypingAgain {
		told.Typing = append(told.Typing, &messages.TypingUpdate{UserId: userID, Typing: true})
	}
	if len(told.Receipts)+len(told.Typing) == 0 {
		return nil
	}
	return r.joined([]string{n.RoomId}, told)
}

// typing is what has changed since the last time.
func (r *round) typing(n *messages.RoomNotice) []*messages.TypingUpdate {
	var now []string
	for _, userID := range n.Typing {
		if r.local(userID) {
			now = append(now, userID)
		}
	}
	was := r.d.typing[n.RoomId]
	if len(now) == 0 {
		delete(r.d.typing, n.RoomId)
	} else if was != nil || len(r.d.typing) < typingRooms {
		r.d.typing[n.RoomId] = now
	}
	var changed []*messages.TypingUpdate
	for _, userID := range now {
		if !slices.Contains(was, userID) {
			changed = append(changed, &messages.TypingUpdate{UserId: userID, Typing: true})
		}
	}
	for _, userID := range was {
		if !slices.Contains(now, userID) {
			changed = append(changed, &messages.TypingUpdate{UserId: userID})
		}
	}
	return changed
}

// presence tells those who share a room with one of our users how that user is now.
func (r *round) presence(n *messages.PresenceNotice) error {
	if !r.local(n.UserId) {
		return nil
	}
	row, ok, err := schema.Presences.Get(r.ctx, r.d.o.Store, schema.Presence{UserID: n.UserId})
	if err != nil || !ok {
		return err
	}
	return r.joined(n.Rooms, &messages.EphemeralNotice{Presences: []*messages.PresenceUpdate{
		{UserId: row.UserID, Presence: row.State, StatusMsg: row.StatusMsg, LastActiveTs: row.LastActiveTS}}})
}

// joined tells every server that is in one of the rooms, once.
func (r *round) joined(rooms []string, n proto.Message) error {
	told := map[string]bool{}
	for _, roomID := range rooms {
		servers, err := r.servers(roomID)
		if err != nil {
			return err
		}
		for _, server := range servers {
			if server.Joined > 0 && !told[server.Server] {
				told[server.Server] = true
				r.to(server.Server, n)
			}
		}
	}
	return nil
}
