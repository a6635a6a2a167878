package delayed

import (
	"cmp"
	"context"
	"time"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func cancel(ctx context.Context, o *user.Op, m *messages.CancelDelayedEvent) (*messages.Done, error) {
	row, finalised, err := find(ctx, o, m.DelayId)
	switch {
	case err != nil:
		return nil, err
	case finalised != nil && finalised.EventID != "":
		return nil, TooLate("the event has been sent already")
	case finalised != nil:
		return &messages.Done{}, nil
	case row.Sending:
		return nil, TooLate("the event is being sent")
	}
	return &messages.Done{}, finalise(ctx, o, row, "", nil)
}

// restart begins the delay anew. An event that has been sent counts as gone: clients that keep a call alive see in M_NOT_FOUND
// that they have been taken for dead, and begin again.
func restart(ctx context.Context, o *user.Op, m *messages.RestartDelayedEvent) (*messages.Done, error) {
	row, finalised, err := find(ctx, o, m.DelayId)
	switch {
	case err != nil:
		return nil, err
	case finalised != nil && finalised.EventID != "":
		return nil, Unknown()
	case finalised != nil:
		return nil, TooLate("the event has been cancelled")
	case row.Sending:
		if eventID, err := Sent(ctx, o.Store, *row); eventID != "" || err != nil {
			return nil, cmp.Or(err, Unknown())
		}
		return nil, TooLate("the event is being sent")
	}
	row.ScheduledTS = o.Now.UnixMilli()
	return &messages.Done{}, move(ctx, o, row, row.ScheduledTS+row.DelayMS)
}

// move sets when the event is due.
func move(ctx context.Context, o *user.Op, row *schema.DelayedEvent, dueTS int64) error {
	var writes []persistence.Mutation
	if row.DueTS != dueTS {
		writes = append(writes, notDue(*row))
		row.DueTS = dueTS
		writes = append(writes, due(*row))
	}
	_, err := o.Commit(ctx, append(writes, schema.DelayedEvents.Put(*row)), nil, user.Notices{})
	return err
}

// begin says whether, and what, to send now.
func begin(ctx context.Context, o *user.Op, m *messages.BeginDelayedEvent) (*messages.DelayedEventBegun, error) {
	row, finalised, err := find(ctx, o, m.DelayId)
	switch {
	case err != nil:
		return nil, err
	case finalised != nil && finalised.EventID != "":
		return &messages.DelayedEventBegun{State: messages.DelayedEventBegun_SENT}, nil
	case finalised != nil:
		return &messages.DelayedEventBegun{State: messages.DelayedEventBegun_CANCELLED}, nil
	case !m.ByHand && row.DueTS > o.Now.UnixMilli():
		return &messages.DelayedEventBegun{State: messages.DelayedEventBegun_NOT_DUE}, nil
	}
	sticky, _, err := schema.DelayedStickies.Get(ctx, o.Store, schema.DelayedSticky{UserID: o.UserID, DelayID: row.DelayID})
	if err != nil {
		return nil, err
	}
	row.Sending = true
	row.Attempts++
	// Should nobody tell how it ended, because a node died, it is tried again.
	if err := move(ctx, o, row, o.Now.Add(attemptPatience).UnixMilli()); err != nil {
		return nil, err
	}
	return &messages.DelayedEventBegun{
		Attempt: row.Attempts, RoomId: row.RoomID, Type: row.Type, StateKey: row.StateKey, Content: row.Content,
		OriginServerTs: row.OriginServerTS, Unlimited: row.Unlimited, StickyMs: sticky.StickyMS,
	}, nil
}

// The pauses between attempts that failed for reasons of the server's, and how long one is waited for that never ends.
const (
	firstPause      = time.Second
	lastPause       = 5 * time.Minute
	attemptPatience = 20 * time.Second
)

func end(ctx context.Context, o *user.Op, m *messages.EndDelayedEvent) (*messages.Done, error) {
	row, finalised, err := find(ctx, o, m.DelayId)
	switch {
	case err != nil:
		return nil, err
	case finalised != nil && finalised.EventID == "" && m.EventId != "":
		// Two attempts at once, of which the other was refused.
		finalised.EventID, finalised.Error = m.EventId, nil
		_, err := o.Commit(ctx, []persistence.Mutation{schema.FinalisedDelayedEvents.Put(*finalised)}, nil, user.Notices{})
		return &messages.Done{}, err
	case finalised != nil:
		return &messages.Done{}, nil
	case m.EventId != "" || len(m.Error) > 0:
		return &messages.Done{}, finalise(ctx, o, row, m.EventId, m.Error)
	case m.Attempt != row.Attempts: // another attempt is under way, and will tell
		return &messages.Done{}, nil
	case m.Refused:
		row.Sending = false
		return &messages.Done{}, move(ctx, o, row, row.ScheduledTS+row.DelayMS)
	}
	pause := lastPause
	if row.Attempts < 10 {
		pause = min(pause, firstPause<<(row.Attempts-1))
	}
	return &messages.Done{}, move(ctx, o, row, o.Now.Add(pause).UnixMilli())
}

// finalise ends the event's schedule, and forgets the oldest finalised ones when there are many.
func finalise(ctx context.Context, o *user.Op, row *schema.DelayedEvent, eventID string, refusal []byte) error {
	old, err := Finalised(ctx, o.Store, o.UserID)
	if err != nil {
		return err
	}
	now := o.Now.UnixMilli()
	writes := append(unscheduled(*row),
		schema.FinalisedDelayedEvents.Put(schema.FinalisedDelayedEvent{
			UserID: row.UserID, FinalisedTS: now, DelayID: row.DelayID, RoomID: row.RoomID, Type: row.Type, StateKey: row.StateKey,
			Content: row.Content, DelayMS: row.DelayMS, ScheduledTS: row.ScheduledTS, EventID: eventID, Error: refusal,
		}),
		schema.DelayIDs.Put(schema.DelayID{DelayID: row.DelayID, UserID: row.UserID, FinalisedTS: now}))
	for i, f := range old {
		if i >= mostKept-1 || now-f.FinalisedTS > Kept.Milliseconds() {
			writes = append(writes, Forgotten(f)...)
		}
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return err
}

// unscheduled deletes what says that the event is to be sent.
func unscheduled(row schema.DelayedEvent) []persistence.Mutation {
	return []persistence.Mutation{schema.DelayedEvents.Delete(row), notDue(row),
		schema.DelayedStickies.Delete(schema.DelayedSticky{UserID: row.UserID, DelayID: row.DelayID})}
}

// Forgotten deletes a finalised event.
func Forgotten(row schema.FinalisedDelayedEvent) []persistence.Mutation {
	return []persistence.Mutation{schema.FinalisedDelayedEvents.Delete(row), schema.DelayIDs.Delete(schema.DelayID{DelayID: row.DelayID})}
}

// Drop deletes all delayed events of a user whose account ends.
func Drop(ctx context.Context, o *user.Op, _ string) ([]persistence.Mutation, error) {
	scheduled, err := Scheduled(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	finalised, err := Finalised(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	for _, row := range scheduled {
		writes = append(append(writes, unscheduled(row)...), schema.DelayIDs.Delete(schema.DelayID{DelayID: row.DelayID}))
	}
	for _, row := range finalised {
		writes = append(writes, Forgotten(row)...)
	}
	return writes, nil
}
