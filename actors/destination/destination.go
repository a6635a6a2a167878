// Package destination is the actor of another server: the durable queue of what that server is sent, and the turns of the transactions
// that it sends (server-server API, "Transactions").
//
// No row is written for each destination and event. Events wait in outbound_events, once for all; a destination has a place in that
// table, and passes over what does not concern it (room_servers). EDUs that must not be lost have rows of their own; typing,
// receipts and presence are kept in memory, the newest of each, until they are stale.
//
// What is sent is a transaction: put together beside the mailbox, made durable, and sent under one id with the same content until the
// server answers. So after a crash, and after a move to another node, the transaction in hand goes on, and the place moves only
// with the commit that concludes it. One transaction is in flight; its conclusion and the record of the next one are one commit.
//
// While the server does not answer, the circuit is open: nothing is sent before the back-off is over or the server speaks to us. An
// attempt after that is the half-open circuit. What waits in memory is bounded: a queue that grows too long is forgotten and read from the
// store again; events that the sweep took away meanwhile have left behind the names of their rooms, of which the newest event
// is sent (see Keeper).
package destination

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Deps are what the actors of destinations need.
type Deps struct {
	Store      persistence.Store
	Caller     federation.Caller
	ServerName string
	Now        func() time.Time
	Log        *slog.Logger
	// FirstRetry and LastRetry bound the pause after a failure, which doubles from one to the other; 1 s and 1 h by default.
	FirstRetry, LastRetry time.Duration
	// Jitter gives a number from 0 up to 1, by which pauses differ; random by default.
	Jitter func() float64
}

// New gives the behaviours of destinations.
func New(d Deps) func(cluster.Identity) cluster.Behavior {
	if d.FirstRetry <= 0 {
		d.FirstRetry = time.Second
	}
	if d.LastRetry <= 0 {
		d.LastRetry = time.Hour
	}
	if d.Jitter == nil {
		d.Jitter = rand.Float64
	}
	return func(id cluster.Identity) cluster.Behavior {
		return &actor{deps: d, composer: composer{store: d.Store, destination: id.ID, serverName: d.ServerName, now: d.Now}}
	}
}

type actor struct {
	deps     Deps
	composer composer
	self     cluster.Self
	ended    bool
	draining bool

	epoch   persistence.Epoch
	seq     uint64
	row     schema.Destination // as it will be with the next commit
	pending pending

	txn         *transaction // in hand
	done        *transaction // answered, not yet concluded in the store
	queue       queue
	working     bool               // something goes on beside the mailbox
	halt        context.CancelFunc // of the transaction that is on its way, nil when none is
	remake      bool               // an operator wants that transaction made anew
	lastAttempt time.Time
	cancelTimer func()
	made        uint64         // transactions by this activation, for their ids
	tries       map[string]int // of sending what the server lacks of a room

	inbound inbound
}

// Messages of the actor to itself.
type (
	composed struct {
		made composition
		err  error
	}
	committed struct{ err error }
	answered  struct {
		err     error
		refused bool // not all of its events were taken
	}
	retryDue  struct{}
	lookAgain struct{}
)

// Load implements cluster.Behavior.
func (a *actor) Load(ctx context.Context, self cluster.Self) error {
	a.self = self
	name := self.Identity().ID
	active, err := a.deps.Store.Claim(ctx, a.stream())
	if err != nil {
		return err
	}
	a.epoch, a.seq = active.Epoch, active.Seq
	if a.row, _, err = schema.Destinations.Get(ctx, a.deps.Store, schema.Destination{Destination: name}); err != nil {
		return err
	}
	if a.txn, err = a.composer.inHand(ctx); err != nil {
		return err
	}
	a.queue = newQueue()
	return a.inbound.load(ctx, a.deps.Store, name)
}

func (a *actor) stream() persistence.Stream {
	return persistence.Stream{Kind: cluster.KindDestination, ID: a.self.Identity().ID}
}

// Receive implements cluster.Behavior.
func (a *actor) Receive(m cluster.Message) {
	if a.ended {
		m.Fail(cluster.Retry())
		return
	}
	switch body := m.Body.(type) {
	case *messages.OutboundNotice:
		a.queue.events(body)
	case *messages.EduNotice:
		a.queue.edus = true
	case *messages.EphemeralNotice:
		a.queue.ephemeral.take(body, a.deps.Now())
	case *messages.WakeDestination:
		a.wake(body)
	case *messages.OperateDestination:
		a.operate(m, body.Action)
	case *messages.BeginTransaction:
		a.begin(m, body)
		a.wake(&messages.WakeDestination{Heard: true})
	case *messages.EndTransaction:
		a.endTurn(m, body)
	case turnOver:
		a.inbound.expire(body, a.self)
	case composed:
		a.composed(body)
	case committed:
		a.committed(body.err)
	case answered:
		a.answered(body.err, body.refused)
	case retryDue:
		a.cancelTimer = nil
	case lookAgain:
		a.queue.look()
	case proto.Message:
		m.Fail(mxerr.Unknown("a destination knows no %T", body))
	}
	a.next()
}

// wake takes in that something may wait, or that the server may be back.
func (a *actor) wake(w *messages.WakeDestination) {
	if w.Rescan {
		a.queue.rescan()
	}
	if !w.Heard {
		a.queue.look()
		return
	}
	if a.row.Failures > 0 && !a.deps.Now().Before(a.lastAttempt.Add(heardPause)) {
		a.row.RetryTS = 0
		a.disarm()
	}
}

// heardPause is how long the last attempt must be past for the server's own requests to end the back-off: one that speaks to us and does
// not listen is not asked at every word of its.
const heardPause = 15 * time.Second

// next writes down what must be, and begins what is to be done next, unless something goes on already.
func (a *actor) next() {
	if a.ended {
		return
	}
	a.flush()
	switch {
	case a.working || a.pending.committing:
	case a.draining || a.row.Paused:
		if a.done != nil {
			a.conclude()
			a.flush()
		}
	case a.done != nil:
		a.compose()
	case a.txn == nil && !a.queue.waiting():
	case a.pause() > 0:
		a.arm(a.pause())
	case a.txn != nil:
		a.send()
	default:
		a.compose()
	}
}

// pause is how long the circuit stays open.
func (a *actor) pause() time.Duration {
	return max(time.UnixMilli(a.row.RetryTS).Sub(a.deps.Now()), 0)
}

func (a *actor) arm(d time.Duration) {
	if a.cancelTimer == nil {
		a.cancelTimer = a.self.After(d, retryDue{})
	}
}

func (a *actor) disarm() {
	if a.cancelTimer != nil {
		a.cancelTimer()
		a.cancelTimer = nil
	}
}

// compose puts the next transaction together, from what comes after the one that is being concluded.
func (a *actor) compose() {
	a.disarm()
	a.working = true
	from := cursor{event: placeOf(a.row)}
	if a.done != nil {
		from = a.done.cursor()
	}
	take := a.queue.take(from.event, a.deps.Now())
	ctx := a.self.Context()
	go func() {
		made, err := a.composer.compose(ctx, from, take)
		a.self.Send(composed{made, err})
	}()
}

// composed takes the transaction in hand, and makes it durable together with the conclusion of the one before.
func (a *actor) composed(c composed) {
	a.working = false
	if c.err != nil {
		if a.self.Context().Err() == nil {
			a.deps.Log.Error("no transaction could be put together; it is tried again", "destination", a.row.Destination, "error", c.err)
		}
		a.end(c.err)
		return
	}
	a.queue.settle(c.made)
	if a.done != nil {
		a.conclude()
	}
	txn := c.made.txn
	if txn == nil {
		a.place(c.made.end)
		if a.row.Failures > 0 && !a.queue.waiting() { // there is nothing to try again with
			a.row.RetryTS = a.deps.Now().Add(a.deps.LastRetry).UnixMilli()
			a.save(nil)
		}
		return
	}
	a.made++
	txn.Destination = a.row.Destination
	txn.TxnID = txnID(a.deps.Now(), a.epoch, a.made)
	a.txn = txn
	if txn.durable {
		a.pending.add(nil, schema.DestinationTransactions.Put(txn.DestinationTransaction))
	}
}

func (a *actor) place(p place) { a.row.SentPos, a.row.SentRoom, a.row.SentSeq = p.pos, p.room, p.seq }

// conclude has the next commit take in that the transaction was answered.
func (a *actor) conclude() {
	done := a.done
	a.done = nil
	a.place(done.cursor().event)
	if !done.durable {
		return
	}
	rows := []persistence.Mutation{
		schema.DestinationTransactions.Delete(schema.DestinationTransaction{Destination: a.row.Destination}), schema.Destinations.Put(a.row)}
	for _, edu := range done.eduRows {
		rows = append(rows, schema.OutboundEDUs.Delete(edu))
	}
	if done.MissedRoom != "" && !done.again {
		rows = append(rows, schema.MissedRooms.Delete(schema.MissedRoom{Destination: a.row.Destination, RoomID: done.MissedRoom}))
	}
	a.pending.add(nil, rows...)
}

// end ends the activation: memory may not agree with the store any more, which knows all that counts.
func (a *actor) end(err error) {
	a.ended = true
	a.self.Stop(err)
}

// restPause is how long a pause must be for the actor to leave memory meanwhile; the Keeper wakes it.
const restPause = 2 * time.Minute

// Idle implements cluster.Behavior.
func (a *actor) Idle() bool {
	switch {
	case a.working, a.pending.any(), a.done != nil, !a.inbound.idle():
		return false
	case a.draining, a.row.Paused, a.txn == nil && !a.queue.waiting():
		return true
	}
	return a.pause() > restPause
}

// Drain implements cluster.Drainer: nothing new is begun, and a transaction that is on its way is given up. Whoever comes next sends it
// again, under the same id.
func (a *actor) Drain() {
	a.draining = true
	if a.halt != nil {
		a.halt()
	}
	a.inbound.refuse()
}

// Stopping implements cluster.Behavior.
func (a *actor) Stopping() {
	a.ended = true
	if a.halt != nil {
		a.halt()
	}
	a.inbound.refuse()
	a.pending.fail(cluster.Retry())
}
