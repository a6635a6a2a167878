package unread

import (
	"context"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// roomFacts is what push rules ask about a room, read as it is asked for. err is what went wrong meanwhile.
type roomFacts struct {
	ctx    context.Context
	store  persistence.Reader
	userID string
	row    schema.Room
	sender string // of the event that is being judged
	err    error

	name   *string
	levels *auth.PowerLevels
}

// judge applies the user's push rules to an event.
func (s *survey) judge(ctx context.Context, row *schema.Event) (pushrules.Result, error) {
	if s.room == nil {
		room, ok, err := schema.Rooms.Get(ctx, s.c.store, schema.Room{RoomID: row.RoomID})
		if err != nil {
			return pushrules.Result{}, err
		}
		if !ok {
			return pushrules.Result{}, fmt.Errorf("%w: room %s has events and no summary", persistence.ErrCorrupt, row.RoomID)
		}
		s.room = &roomFacts{ctx: ctx, store: s.c.store, userID: s.member.UserID, row: room}
	}
	s.room.sender = row.Sender
	result := s.evaluator.Evaluate(&pushrules.Input{
		Event: row.JSON, RoomID: row.RoomID, EventID: row.EventID, Sender: row.Sender, Members: s.room.row.JoinedMembers,
		DisplayName: s.room.displayName, MayNotify: s.room.mayNotify, Thread: func() (bool, bool) { return s.subscription(ctx, row) },
	})
	return result, s.room.err
}

// subscription tells whether the event is in a thread, and whether the user is subscribed to it.
func (s *survey) subscription(ctx context.Context, row *schema.Event) (in, subscribed bool) {
	thread, err := s.c.thread(ctx, row)
	if err != nil || thread == Main {
		s.room.fail(err)
		return false, false
	}
	followed, _, err := schema.ThreadSubscriptions.Get(ctx, s.c.store,
		schema.ThreadSubscription{UserID: s.member.UserID, RoomID: row.RoomID, RootID: thread})
	s.room.fail(err)
	return true, followed.Subscribed
}

// displayName is the user's in the room.
func (r *roomFacts) displayName() string {
	if r.name == nil {
		row, ok := r.current("m.room.member", r.userID)
		name := ""
		if ok {
			name = gjson.GetBytes(row.JSON, "content.displayname").Str
		}
		r.name = &name
	}
	return *r.name
}

// mayNotify reports whether the sender's power suffices for the kind of notification.
func (r *roomFacts) mayNotify(kind string) bool {
	if r.levels == nil {
		if r.levels = r.powerLevels(); r.levels == nil {
			return false
		}
	}
	return !r.levels.User(r.sender).Less(r.levels.Notification(kind))
}

// powerLevels reads the current power levels, nil after an error.
func (r *roomFacts) powerLevels() *auth.PowerLevels {
	v, ok := roomversion.Get(r.row.Version)
	if !ok {
		r.fail(fmt.Errorf("%w: room %s has the version %q", persistence.ErrCorrupt, r.row.RoomID, r.row.Version))
		return nil
	}
	create, levels := r.stateEvent("m.room.create", v), r.stateEvent("m.room.power_levels", v)
	if r.err != nil {
		return nil
	}
	p, err := auth.Levels(v, create, levels)
	r.fail(err)
	return p
}

// stateEvent reads a current state event with an empty key, nil when there is none.
func (r *roomFacts) stateEvent(typ string, v *roomversion.Version) *event.Event {
	row, ok := r.current(typ, "")
	if !ok {
		return nil
	}
	e, err := event.FromStored(row.JSON, row.EventID, v)
	r.fail(err)
	return e
}

// current reads an event of the current state.
func (r *roomFacts) current(typ, stateKey string) (schema.Event, bool) {
	ref, ok, err := schema.CurrentStates.Get(r.ctx, r.store, schema.CurrentState{RoomID: r.row.RoomID, Type: typ, StateKey: stateKey})
	if err != nil || !ok {
		r.fail(err)
		return schema.Event{}, false
	}
	row, ok, err := schema.EventAt(r.ctx, r.store, r.row.RoomID, ref.Seq)
	r.fail(err)
	return row, ok && err == nil
}

func (r *roomFacts) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}
