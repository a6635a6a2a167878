// Package delayed sends the events that users have scheduled (MSC4140) when they are due. What becomes of an event is decided by
// its user's actor (actors/user/delayed); here the room is asked. One node of a cluster looks for what is due; it is no harm if
// two do, or if one dies: the user's actor knows which attempts have an unknown fate, and the room makes one event of all.
package delayed

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/user/delayed"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Check refuses what a user may not send now, whatever the room says: for the state of the account, the rate at which it sends, or
// the content. Unlimited is for those whose rate does not count.
type Check func(ctx context.Context, roomID string, event *messages.Proposal, unlimited bool) error

// Elsewhere sends what takes another server, and nothing (nil) when the event takes none. Again says that an attempt before may have done it.
type Elsewhere func(ctx context.Context, roomID string, event *messages.Proposal, again bool) (*messages.EventSent, error)

// Options are what a Sender needs.
type Options struct {
	Store  persistence.Reader
	Caller cluster.Caller
	Now    func() time.Time
	Log    *slog.Logger
	Check  Check
	// Elsewhere may be nil: nothing takes another server then.
	Elsewhere Elsewhere
}

// Sender sends delayed events.
type Sender struct {
	o     Options
	slots chan struct{}

	mu      sync.Mutex
	busy    map[string]bool // rooms that are being sent to
	running sync.WaitGroup
}

const (
	pace       = 500 * time.Millisecond // how often it is looked for what is due
	mostRooms  = 32                     // that are sent to at once; the others wait
	mostLooked = 10_000                 // events that are due, looked at in one go
	patience   = 15 * time.Second       // with one attempt
	// mostElsewhere is how often another server is tried, which is for about eight minutes.
	mostElsewhere = 9
)

// New makes a Sender.
func New(o Options) *Sender {
	return &Sender{o: o, slots: make(chan struct{}, mostRooms), busy: map[string]bool{}}
}

// Run sends what is due while here says that this node does it, until ctx ends.
func (s *Sender) Run(ctx context.Context, here func() bool) {
	defer s.running.Wait()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if here() {
				s.begin(ctx)
			}
		}
	}
}

// SendDue sends what is due now, and waits until that is done. Not to be used beside Run.
func (s *Sender) SendDue(ctx context.Context) {
	s.begin(ctx)
	s.running.Wait()
}

// begin starts sending what is due: the events of a room one after the other, in the order of the times they are due. A room that is
// slow holds up no other, unless mostRooms are.
func (s *Sender) begin(ctx context.Context) {
	rooms, byRoom, err := s.due(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.o.Log.Error("delayed events could not be looked for", "error", err)
		}
		return
	}
	for _, roomID := range rooms {
		select {
		case s.slots <- struct{}{}:
		default:
			return
		}
		s.mark(roomID, true)
		s.running.Go(func() {
			defer func() {
				s.mark(roomID, false)
				<-s.slots
			}()
			for _, row := range byRoom[roomID] {
				if err := s.attempt(ctx, row.UserID, row.DelayID, false); err != nil && ctx.Err() == nil {
					s.o.Log.Warn("a delayed event could not be sent; it is tried again", "user", row.UserID, "room", roomID, "error", err)
				}
			}
		})
	}
}

func (s *Sender) mark(roomID string, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if busy {
		s.busy[roomID] = true
	} else {
		delete(s.busy, roomID)
	}
}

// due lists what is due, by room, but for rooms that are being sent to; the rooms are in the order of their first events.
func (s *Sender) due(ctx context.Context) (rooms []string, byRoom map[string][]schema.DelayedDue, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byRoom = map[string][]schema.DelayedDue{}
	for row, err := range schema.DelayedDues.Scan(ctx, s.o.Store, persistence.Range[schema.DelayedDue]{
		Before: &schema.DelayedDue{DueTS: s.o.Now().UnixMilli() + 1}, Limit: mostLooked}) {
		if err != nil {
			return nil, nil, err
		}
		if !s.busy[row.RoomID] {
			if byRoom[row.RoomID] == nil {
				rooms = append(rooms, row.RoomID)
			}
			byRoom[row.RoomID] = append(byRoom[row.RoomID], row)
		}
	}
	return rooms, byRoom, nil
}

// Send sends an event of the user's now (MSC4140, "Managing scheduled delayed events"). An event that was refused stays scheduled. The
// error is the refusal, 404 M_NOT_FOUND for an unknown event, or 409 M_UNKNOWN for one that was cancelled.
func (s *Sender) Send(ctx context.Context, userID, delayID string) error {
	return s.attempt(ctx, userID, delayID, true)
}

// attempt tries to send the event. What is by hand is tried whether or not it is due, and its refusal is not final.
func (s *Sender) attempt(ctx context.Context, userID, delayID string, byHand bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun, err := ask[*messages.DelayedEventBegun](ctx, s, userID, &messages.BeginDelayedEvent{DelayId: delayID, ByHand: byHand})
	switch {
	case err != nil:
		return err
	case begun.State == messages.DelayedEventBegun_CANCELLED && byHand:
		return delayed.TooLate("the event has been cancelled")
	case begun.State != messages.DelayedEventBegun_SENDING:
		return nil
	}
	eventID, final, err := s.send(ctx, userID, delayID, begun)
	end := &messages.EndDelayedEvent{DelayId: delayID, Attempt: begun.Attempt, EventId: eventID}
	var refusal *mxerr.Error
	if errors.As(err, &refusal) && refusal.Status < http.StatusInternalServerError {
		end.Refused = byHand || !final
		if !end.Refused {
			if end.Error, err = standard(refusal); err != nil {
				return err
			}
		}
		if !byHand {
			err = nil
		}
	}
	// Whoever asked may have gone meanwhile; what became of the event must be told all the same.
	told, done := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer done()
	_, failed := ask[*messages.Done](told, s, userID, end)
	return errors.Join(err, failed)
}

// send asks the room. Final is false for a refusal that says nothing about the event: the room is too busy.
func (s *Sender) send(ctx context.Context, userID, delayID string, e *messages.DelayedEventBegun) (eventID string, final bool, err error) {
	txn := delayed.Transaction(schema.DelayedEvent{
		UserID: userID, DelayID: delayID, RoomID: e.RoomId, Type: e.Type, StateKey: e.StateKey, Content: e.Content})
	event := &messages.Proposal{Type: e.Type, StateKey: e.StateKey, Sender: userID, Redacts: txn.Redacts, Content: e.Content, StickyMs: e.StickyMs}
	// The store knows every transaction, and the room those that are on their way there.
	done, ok, err := schema.RoomTransactions.Get(ctx, s.o.Store, txn)
	if ok || err != nil {
		return done.EventID, false, err
	}
	if err := s.o.Check(ctx, e.RoomId, event, e.Unlimited); err != nil {
		return "", true, err
	}
	if s.o.Elsewhere != nil {
		sent, err := s.o.Elsewhere(ctx, e.RoomId, event, e.Attempt > 1)
		if sent != nil || err != nil {
			return sent.GetEventId(), true, lasting(err, e.Attempt)
		}
	}
	sent, err := cluster.Ask[*messages.EventSent](ctx, s.o.Caller, cluster.Identity{Kind: cluster.KindRoom, ID: e.RoomId}, &messages.SendEvent{
		By: &messages.Requester{UserId: userID, DeviceId: room.DelayedDevice}, Event: event, TxnId: delayID, OriginServerTs: e.OriginServerTs})
	var refusal *mxerr.Error
	if err != nil {
		return "", !errors.As(err, &refusal) || refusal.Status != http.StatusTooManyRequests, err
	}
	return sent.EventId, true, nil
}

// lasting makes a refusal of what other servers fail to do again and again.
func lasting(err error, attempt int64) error {
	var failure *mxerr.Error
	if attempt >= mostElsewhere && errors.As(err, &failure) && failure.Status >= http.StatusInternalServerError {
		return mxerr.New(http.StatusForbidden, failure.Code, "%s", failure.Message)
	}
	return err
}

// standard is the standard error response that a client would have got.
func standard(e *mxerr.Error) ([]byte, error) {
	body := map[string]any{}
	for name, value := range e.Fields {
		body[name] = value
	}
	body["errcode"], body["error"] = e.Code, e.Message
	return json.Marshal(body, json.Deterministic(true))
}

func ask[A proto.Message](ctx context.Context, s *Sender, userID string, request proto.Message) (A, error) {
	return cluster.Ask[A](ctx, s.o.Caller, cluster.Identity{Kind: cluster.KindUser, ID: userID}, request)
}
