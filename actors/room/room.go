// Package room is the actor of a room: it feeds the state machine of matrix/room, makes what that accepts durable, and
// tells the users of this node. It holds the room's stream: a fenced journal whose entries are the room's events.
//
// Nothing is answered or told before it is durable. While one commit is in flight the machine goes on taking requests;
// they go out together in the next one. When a commit fails the activation ends, because memory may not agree with the
// store any more; the next one starts from the journal.
package room

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Deps are what the actors of rooms need.
type Deps struct {
	Store persistence.Store
	// Typing tells every node who is typing, which is not stored and may be lost. It must not block.
	Typing     func(*messages.RoomNotice)
	ServerName string
	Key        signing.Key
	Now        func() time.Time
	// Pushing knows who may have a pusher; nil: everybody may.
	Pushing Pushing
	// SnapshotEvery is after how many events a commit carries a snapshot; 256 by default.
	SnapshotEvery uint64
	// Approve asks a room's policy server to sign an event of this server, and gives its signature. Nil when other servers are not spoken to.
	Approve func(ctx context.Context, server room.PolicyServer, e *event.Event) (signature string, err error)
	// Vouch signs an event of a room whose policy server this server is (messages.VouchForEvent). Nil when it is none.
	Vouch func(ctx context.Context, roomID string, raw []byte) (signature string, err error)
}

// Pushing knows which users may have a pusher (client-server API, "Push Notifications"). Whom it denies had none when the newest commit was
// acknowledged, on whatever node: of what happens in a room nothing is written down for them.
type Pushing interface {
	Anybody() bool
	Has(userID string) bool
}

// everybody may have a pusher.
type everybody struct{}

func (everybody) Anybody() bool   { return true }
func (everybody) Has(string) bool { return true }

// New gives the behaviours of rooms.
func New(d Deps) func(cluster.Identity) cluster.Behavior {
	if d.Pushing == nil {
		d.Pushing = everybody{}
	}
	if d.SnapshotEvery == 0 {
		d.SnapshotEvery = 256
	}
	return func(id cluster.Identity) cluster.Behavior {
		return &actor{deps: d, roomID: id.ID, facts: facts{store: d.Store, roomID: id.ID, serverName: d.ServerName}}
	}
}

type actor struct {
	deps    Deps
	roomID  string
	self    cluster.Self
	facts   facts
	machine *room.Machine

	epoch       persistence.Epoch
	seq         uint64 // of the stream, as far as it is durable
	snapshotSeq uint64
	inFlight    *commit
	fetching    bool
	approving   int // requests that wait for a policy server, or for this one as one
	ended       bool
	gaps        bool // the room has or had some, and so has positions (schema.RoomPosition)

	waiting    map[uint64]waiting // by ticket
	lastTicket uint64
}

// waiting is a request that has not been answered.
type waiting struct {
	message cluster.Message
	answer  answer
}

// Messages of the actor to itself.
type (
	committed struct {
		pos persistence.Position
		err error
	}
	fetched struct {
		facts room.Facts
		err   error
	}
	claimed struct {
		batch  *room.Batch // to be submitted then
		active persistence.Activation
		err    error
	}
	approved  struct{ room.Approved }
	vouched   struct{}
	typingDue struct{}
)

// Receive implements cluster.Behavior.
func (a *actor) Receive(m cluster.Message) {
	if a.ended {
		m.Fail(cluster.Retry())
		return
	}
	switch body := m.Body.(type) {
	case committed:
		a.settle(body)
	case fetched:
		a.fetching = false
		if body.err != nil {
			a.abort(body.err, body.err)
			return
		}
		a.machine.Step(body.facts)
	case claimed:
		a.begin(body)
	case approved:
		a.approving--
		body.Now = a.now()
		a.machine.Step(body.Approved)
	case vouched:
		a.approving--
	case *messages.VouchForEvent:
		a.vouch(m, body)
	case typingDue:
		a.machine.Step(room.TypingExpired{Now: a.now()})
	case proto.Message:
		a.request(m, body)
	default:
		m.Fail(fmt.Errorf("room: a message of type %T", body))
		return
	}
	a.advance()
}

// request gives a request to the machine.
func (a *actor) request(m cluster.Message, body proto.Message) {
	a.lastTicket++
	in, answer, err := inputOf(body, a.lastTicket, a.now())
	if err != nil {
		m.Fail(err)
		return
	}
	a.waiting[a.lastTicket] = waiting{message: m, answer: answer}
	a.machine.Step(in)
}

// advance carries out what the machine has ready.
func (a *actor) advance() {
	if a.ended {
		return
	}
	r := a.machine.Ready()
	if r.Missing != nil {
		a.fetch(r.Missing)
	}
	if r.TypingChanged || len(r.TypingAgain) > 0 {
		a.deps.Typing(&messages.RoomNotice{
			RoomId: a.roomID, LastSeq: a.seq, TypingChanged: r.TypingChanged, Typing: r.Typing, TypingAgain: r.TypingAgain, Version: a.machine.Version(),
		})
	}
	if r.TypingNext != 0 {
		a.self.After(time.Duration(max(r.TypingNext-a.now(), 0))*time.Millisecond, typingDue{})
	}
	for _, reply := range r.Replies {
		a.answer(reply, 0)
	}
	switch {
	case r.Batch != nil && a.epoch == 0:
		a.claim(r.Batch)
	case r.Batch != nil:
		a.submit(r.Batch)
	}
	if !a.machine.Exists() && a.machine.Idle() && a.epoch == 0 {
		// Nobody needs the actor of a room that does not exist.
		a.end(nil)
	}
}

// claim makes the activation the only writer of a room that is being created.
func (a *actor) claim(first *room.Batch) {
	go func() {
		active, err := a.deps.Store.Claim(a.self.Context(), a.stream())
		a.self.Send(claimed{batch: first, active: active, err: err})
	}()
}

// begin submits the first batch of a room. If somebody else has created the room meanwhile, the next activation finds it.
func (a *actor) begin(c claimed) {
	switch {
	case c.err != nil:
		a.abort(c.err, c.err)
	case c.active.Seq != 0:
		a.abort(cluster.Retry(), nil)
	default:
		a.epoch = c.active.Epoch
		a.submit(c.batch)
	}
}

// fetch reads facts beside the actor.
func (a *actor) fetch(missing *room.Missing) {
	a.fetching = true
	go func() {
		f, err := a.facts.fetch(a.self.Context(), missing)
		a.self.Send(fetched{facts: f, err: err})
	}()
}

// answer answers one request. pos is the position of the commit that it waited for, 0 if it waited for none.
func (a *actor) answer(r room.Reply, pos uint64) {
	w, ok := a.waiting[r.Ticket]
	if !ok {
		return
	}
	if r.Approval != nil {
		a.approve(r.Approval)
		return
	}
	delete(a.waiting, r.Ticket)
	if r.Err != nil {
		w.message.Fail(r.Err)
		return
	}
	reply, err := w.answer(r, pos)
	if err != nil {
		w.message.Fail(err)
		return
	}
	w.message.Reply(reply)
}

// settle takes in the fate of the commit in flight.
func (a *actor) settle(c committed) {
	done := a.inFlight
	a.inFlight = nil
	switch {
	case c.err == nil:
		a.seq = done.seq + done.advance
		if done.snapshot {
			a.snapshotSeq = a.seq
		}
		if done.batch == nil {
			return
		}
		for _, reply := range a.machine.Committed(uint64(c.pos)).Replies {
			a.answer(reply, uint64(c.pos))
		}
	case errors.Is(c.err, persistence.ErrExists) && done.batch != nil:
		a.refuseTaken()
	case errors.Is(c.err, persistence.ErrFenced), errors.Is(c.err, persistence.ErrConflict):
		a.abort(cluster.Retry(), c.err)
	case errors.Is(c.err, persistence.ErrOverloaded):
		a.abort(mxerr.LimitExceeded(overloadedRetryMS), c.err)
	default:
		a.abort(c.err, c.err)
	}
}

// overloadedRetryMS is when a client should try again after the store refused a commit.
const overloadedRetryMS = 1000

// refuseTaken answers for an alias that exists already; nothing of its batch has happened.
func (a *actor) refuseTaken() {
	batch, good := a.machine.Taken()
	refusal := room.AliasTaken
	if !good {
		refusal = room.RoomInUse
	}
	alias := ""
	for _, c := range batch.Aliases {
		if c.Claim {
			alias = c.Alias
		}
	}
	for _, reply := range batch.Replies {
		a.answer(room.Reply{Ticket: reply.Ticket, Err: refusal(alias)}, 0)
	}
	if !good {
		a.abort(cluster.Retry(), nil)
	}
}

// abort refuses all who wait, and ends the activation without flushing.
func (a *actor) abort(refusal, cause error) {
	for _, ticket := range a.machine.Abort() {
		if w, ok := a.waiting[ticket]; ok {
			delete(a.waiting, ticket)
			w.message.Fail(refusal)
		}
	}
	a.end(cause)
}

func (a *actor) end(cause error) {
	a.ended = true
	a.self.Stop(cause)
}

// Idle implements cluster.Behavior. Before the actor rests it writes a snapshot if the tail of the journal is long.
func (a *actor) Idle() bool {
	if a.fetching || a.approving > 0 || a.inFlight != nil || !a.machine.Idle() {
		return false
	}
	if a.ended || a.seq-a.snapshotSeq < a.deps.SnapshotEvery/8 {
		return true
	}
	a.submitSnapshot()
	return false
}

// Drain implements cluster.Drainer: what has begun is committed and answered, and whoever types stops, because the next
// activation will not know.
func (a *actor) Drain() {
	a.machine.Step(room.TypingExpired{Now: math.MaxInt64})
	a.advance()
}

// Stopping implements cluster.Behavior.
func (a *actor) Stopping() {
	a.ended = true
	for ticket, w := range a.waiting {
		delete(a.waiting, ticket)
		w.message.Fail(cluster.Retry())
	}
}

// shownExtremities bounds how many extremities a summary names.
const shownExtremities = 20

// Inspect implements cluster.Behavior.
func (a *actor) Inspect(s *messages.Summary) {
	s.Epoch, s.Seq, s.SnapshotSeq = uint64(a.epoch), a.seq, a.snapshotSeq
	if s.Details == nil {
		s.Details = map[string]string{}
	}
	summary := a.machine.Summary()
	s.Details["version"] = summary.Version
	s.Details["joined_members"] = fmt.Sprint(summary.JoinedMembers)
	s.Details["members_known"] = fmt.Sprint(a.machine.Partial() == nil)
	s.Details["invited_members"] = fmt.Sprint(summary.InvitedMembers)
	extremities := a.machine.Extremities()
	s.Details["extremities"] = fmt.Sprint(len(extremities))
	var ids []string
	for _, e := range extremities[:min(len(extremities), shownExtremities)] {
		ids = append(ids, e.EventID)
	}
	s.Details["extremity_ids"] = strings.Join(ids, " ")
	s.Details["unanswered"] = fmt.Sprint(len(a.waiting))
	s.Details["waiting_for_facts"] = fmt.Sprint(a.machine.Waiting())
	s.Details["commit_in_flight"] = fmt.Sprint(a.inFlight != nil)
}

func (a *actor) now() int64 { return a.deps.Now().UnixMilli() }

// Load implements cluster.Behavior. A room that does not exist is not claimed before somebody creates it, so that asking
// for rooms that nobody made leaves no trace.
func (a *actor) Load(ctx context.Context, self cluster.Self) error {
	a.self, a.waiting = self, map[uint64]waiting{}
	o := room.Options{RoomID: a.roomID, ServerName: a.deps.ServerName, Key: a.deps.Key}
	_, exists, err := schema.Rooms.Get(ctx, a.deps.Store, schema.Room{RoomID: a.roomID})
	if err != nil {
		return err
	}
	if !exists {
		a.machine = room.New(o)
		return nil
	}
	active, err := a.deps.Store.Claim(ctx, a.stream())
	if err != nil {
		return err
	}
	a.epoch, a.seq, a.snapshotSeq = active.Epoch, active.Seq, active.SnapshotSeq
	if a.gaps, err = a.facts.hadGaps(ctx); err != nil {
		return err
	}
	a.machine, err = a.facts.load(ctx, o, active, a.deps.Now().UnixMilli()-room.TransactionsFor)
	return err
}

func (a *actor) stream() persistence.Stream {
	return persistence.Stream{Kind: cluster.KindRoom, ID: a.roomID}
}
