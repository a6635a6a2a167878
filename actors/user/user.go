// Package user is the actor of a local user: it knows what is new for the user's devices and lets their syncs wait for
// it, and it is the only writer of the user's rows.
//
// The mailbox handles notices (what was committed elsewhere) and questions (SyncAsk) and never waits. Operations that
// change the user's rows run beside it in the lane, one at a time; see Op.
//
// What is new is kept as stamps: for each room the position at which its events, receipts and account data last
// changed. A sync token is a position too, so a room has news for a token iff a stamp is above it. A fresh activation
// does not read the rooms: it stamps every room with the position at which it began, which makes the reader look
// into each of them once for tokens that are older, and is exact for all later ones.
package user

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
)

// Hub is what a user's actor needs of the node's hub.
type Hub interface {
	// Enter says that the user is active here and joined to these rooms; it may be called again with more rooms.
	Enter(userID string, rooms []string)
	// Leave says that the user is no longer active here.
	Leave(userID string)
}

// Deps is what user actors share on a node.
type Deps struct {
	Store    persistence.Store
	Hub      Hub
	Now      func() time.Time
	Log      *slog.Logger
	Presence bool // whether presence is tracked and told
	// Federates says that there are other servers to be told.
	Federates bool
}

// The bounds of one user. A client that meets them gets 429 M_LIMIT_EXCEEDED.
const (
	laneBound   = 256 // operations waiting in the lane
	waiterBound = 128 // syncs waiting at once, over all devices
)

// New gives the behaviour of user actors with these operations.
func New(deps Deps, handlers ...Handler) func(cluster.Identity) cluster.Behavior {
	byName := make(map[string]Handler, len(handlers))
	for _, h := range handlers {
		byName[string(h.name)] = h
	}
	return func(id cluster.Identity) cluster.Behavior {
		return &actor{deps: deps, userID: id.ID, handlers: byName}
	}
}

type actor struct {
	deps     Deps
	userID   string
	handlers map[string]Handler
	self     cluster.Self

	// epoch and seq fence commits; only the lane uses them after Load.
	epoch persistence.Epoch
	seq   uint64

	stamps   stamps
	waiters  []*waiter
	lane     lane
	presence presence

	connections map[connectionID]*connection
	serial      uint64 // of the last SlidingPlan
	leaving     bool   // a planned stop has begun
}

// Load claims the user's stream and learns the user's rooms. The order matters: the hub first, so that nothing is
// missed; then the rows; then the position, below which the rows tell the truth and above which the hub does.
func (a *actor) Load(ctx context.Context, self cluster.Self) error {
	a.self = self
	act, err := a.deps.Store.Claim(ctx, persistence.Stream{Kind: cluster.KindUser, ID: a.userID})
	if err != nil {
		return err
	}
	a.epoch, a.seq = act.Epoch, act.Seq
	a.deps.Hub.Enter(a.userID, nil)
	if err := a.stamps.load(ctx, a.deps.Store, a.userID); err != nil {
		a.deps.Hub.Leave(a.userID)
		return err
	}
	a.deps.Hub.Enter(a.userID, a.stamps.joined())
	pos, err := a.deps.Store.CatchUp(ctx)
	if err != nil {
		a.deps.Hub.Leave(a.userID)
		return err
	}
	a.stamps.begin(uint64(pos))
	return nil
}

// Receive handles one message of the mailbox.
func (a *actor) Receive(m cluster.Message) {
	switch body := m.Body.(type) {
	case *messages.RoomNotice:
		a.stamps.room(a.userID, body)
		a.wake()
	case *messages.UserNotice:
		a.stamps.user(body)
		a.dropLoggedOut(body.LoggedOutDevices)
		a.wake()
	case *messages.DeviceListNotice:
		a.stamps.deviceList(body)
		a.wake()
	case *messages.PresenceNotice:
		a.stamps.presence(body)
		a.wake()
	case *messages.ProfileNotice:
		a.stamps.saw(body.Pos)
		a.stamps.profiles = body.Pos
		a.wake()
	case *messages.SyncAsk:
		a.sync(m, body)
	case *messages.SlidingAsk:
		a.sliding(m, body)
	case *messages.SlidingSent:
		a.slidingSent(m, body)
	case fetched:
		a.fetched(body)
	case caughtUp:
		a.caughtUp(body)
	case waiterTimeout:
		a.timeOut(body.w)
	case laneDone:
		a.laneDone(body)
	case *messages.SetPresence:
		a.setPresence(m, body)
	case presenceTick:
		a.presenceTick()
	case proto.Message:
		a.operate(m, body)
	}
}

// operate queues an operation in the lane.
func (a *actor) operate(m cluster.Message, request proto.Message) {
	h, ok := a.handlers[string(request.ProtoReflect().Descriptor().FullName())]
	if !ok {
		m.Fail(mxerr.New(500, "M_UNKNOWN", "the user's actor has no operation %s", request.ProtoReflect().Descriptor().FullName()))
		return
	}
	if !a.lane.push(job{message: m, request: request, handler: h}) {
		m.Fail(mxerr.LimitExceeded(1000))
		return
	}
	a.runLane()
}

// Idle reports whether nobody waits for this user. An activation does not rest before it has stored what it knows of connections.
func (a *actor) Idle() bool {
	if len(a.waiters) > 0 || !a.lane.idle() || !a.leaving && a.presence.active(a.deps.Now()) {
		return false
	}
	a.saveConnections()
	return a.lane.idle()
}

// Drain sends the syncs that wait home; what the lane has begun is finished, and connections are stored.
func (a *actor) Drain() {
	a.leaving = true
	a.sendHome()
}

func (a *actor) sendHome() {
	for _, w := range a.waiters {
		w.cancel()
		w.message.Reply(w.answer(true))
	}
	a.waiters = nil
}

// Stopping sends everyone who waits home: syncs with what they have, operations with a retryable failure.
func (a *actor) Stopping() {
	a.deps.Hub.Leave(a.userID)
	a.sendHome()
	for _, j := range a.lane.drain() {
		j.message.Fail(cluster.Retry())
	}
}

// Inspect tells an operator what matters about a user.
func (a *actor) Inspect(s *messages.Summary) {
	s.Epoch, s.Seq = uint64(a.epoch), a.stamps.pos
	s.Details = map[string]string{
		"rooms":         strconv.Itoa(len(a.stamps.rooms)),
		"waiting_syncs": strconv.Itoa(len(a.waiters)),
		"connections":   strconv.Itoa(len(a.connections)),
		"lane":          strconv.Itoa(a.lane.len()),
		"position":      strconv.FormatUint(a.stamps.pos, 10),
	}
}

// commit runs on the lane's goroutine.
func (a *actor) commit(ctx context.Context, c *persistence.Commit, n Notices) (persistence.Position, error) {
	c.Stream = persistence.Stream{Kind: cluster.KindUser, ID: a.userID}
	c.Epoch, c.Seq, c.Advance = a.epoch, a.seq, 1
	c.Notices = n.messages(a.userID)
	if edus := eduNotice(c.Write); edus != nil {
		c.Notices = append(c.Notices, edus)
	}
	type fate struct {
		pos persistence.Position
		err error
	}
	done := make(chan fate, 1)
	a.deps.Store.Submit(c, func(pos persistence.Position, err error) { done <- fate{pos, err} })
	// The commit is waited for whatever becomes of ctx: its fate decides the sequence number of the next one.
	f := <-done
	switch {
	case f.err == nil:
		a.seq++
	case errors.Is(f.err, persistence.ErrExists):
	case errors.Is(f.err, persistence.ErrOverloaded):
		return 0, mxerr.LimitExceeded(1000)
	case errors.Is(f.err, persistence.ErrFenced), errors.Is(f.err, persistence.ErrConflict):
		// The user lives elsewhere now, where the operation can be asked again.
		a.self.Stop(f.err)
		return 0, cluster.Retry()
	default:
		a.self.Stop(f.err)
	}
	return f.pos, f.err
}
