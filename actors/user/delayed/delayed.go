// Package delayed keeps the events that a user wants to be sent later (MSC4140). Each is scheduled, then perhaps being sent, then
// finalised: sent, cancelled, or refused. The user's actor decides; actors/delayed does the sending.
//
// An event is sent once: while an attempt is under way it can neither be cancelled nor restarted, an attempt of unknown fate is
// repeated with the same transaction id, and the room makes one event of all attempts.
package delayed

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// How long finalised events are kept, and how many of one user.
const (
	Kept     = 7 * 24 * time.Hour
	mostKept = 100
)

// Handlers are the operations for user.New.
func Handlers() []user.Handler {
	return []user.Handler{
		user.Handle(schedule),
		user.Handle(cancel),
		user.Handle(restart),
		user.Handle(begin),
		user.Handle(end),
	}
}

// answered is what a transaction remembers.
type answered struct {
	DelayID string `json:"delay_id"`
}

func schedule(ctx context.Context, o *user.Op, m *messages.ScheduleDelayedEvent) (*messages.DelayedEventScheduled, error) {
	txn := schema.Transaction{UserID: o.UserID, DeviceID: m.By.GetDeviceId(), Scope: "delayed_event/" + m.RoomId + "/" + m.Type, TxnID: m.TxnId}
	if m.TxnId != "" {
		done, seen, err := schema.Transactions.Get(ctx, o.Store, txn)
		if err != nil {
			return nil, err
		}
		if seen {
			return &messages.DelayedEventScheduled{DelayId: gjson.GetBytes(done.Answer, "delay_id").Str}, nil
		}
	}
	if err := roomFor(ctx, o, m.MaxScheduled); err != nil {
		return nil, err
	}
	now := o.Now.UnixMilli()
	row := schema.DelayedEvent{
		UserID: o.UserID, DelayID: m.DelayId, RoomID: m.RoomId, Type: m.Type, StateKey: m.StateKey, Content: m.Content,
		DelayMS: m.DelayMs, ScheduledTS: now, OriginServerTS: m.OriginServerTs, DueTS: now + m.DelayMs, Unlimited: m.Unlimited,
	}
	writes := []persistence.Mutation{
		schema.DelayedEvents.Put(row), due(row), schema.DelayIDs.Put(schema.DelayID{DelayID: row.DelayID, UserID: o.UserID}),
	}
	if m.StickyMs != 0 {
		writes = append(writes, schema.DelayedStickies.Put(schema.DelayedSticky{UserID: o.UserID, DelayID: m.DelayId, StickyMS: m.StickyMs}))
	}
	if m.TxnId != "" {
		answer, err := json.Marshal(answered{m.DelayId})
		if err != nil {
			return nil, err
		}
		txn.Answer, txn.TS = answer, now
		writes = append(writes, schema.Transactions.Put(txn))
	}
	// Somebody else's id would be overwritten, if the random numbers were not random.
	taken := []persistence.Mutation{schema.DelayIDs.Put(schema.DelayID{DelayID: m.DelayId})}
	_, err := o.Commit(ctx, writes, taken, user.Notices{})
	return &messages.DelayedEventScheduled{DelayId: m.DelayId}, err
}

// roomFor refuses when the user has as many scheduled events as may be.
func roomFor(ctx context.Context, o *user.Op, most int64) error {
	rows, err := Scheduled(ctx, o.Store, o.UserID)
	if err != nil || int64(len(rows)) < most {
		return err
	}
	next := int64(math.MaxInt64)
	for _, row := range rows {
		next = min(next, row.DueTS)
	}
	wait := max(next-o.Now.UnixMilli(), 1000)
	return mxerr.New(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "you have %d delayed events already, which is the most", len(rows)).
		With("retry_after_ms", wait)
}

// Scheduled lists the user's events that are not finalised.
func Scheduled(ctx context.Context, r persistence.Reader, userID string) ([]schema.DelayedEvent, error) {
	return schema.DelayedEvents.All(ctx, r, persistence.Range[schema.DelayedEvent]{Prefix: schema.DelayedEvent{UserID: userID}, Keys: 1})
}

// Finalised lists the user's events that are finalised, the newest first.
func Finalised(ctx context.Context, r persistence.Reader, userID string) ([]schema.FinalisedDelayedEvent, error) {
	return schema.FinalisedDelayedEvents.All(ctx, r, persistence.Range[schema.FinalisedDelayedEvent]{
		Prefix: schema.FinalisedDelayedEvent{UserID: userID}, Keys: 1, Reverse: true})
}

// due is the row that says when the event is due.
func due(row schema.DelayedEvent) persistence.Mutation {
	return schema.DelayedDues.Put(schema.DelayedDue{DueTS: row.DueTS, UserID: row.UserID, DelayID: row.DelayID, RoomID: row.RoomID})
}

func notDue(row schema.DelayedEvent) persistence.Mutation {
	return schema.DelayedDues.Delete(schema.DelayedDue{DueTS: row.DueTS, UserID: row.UserID, DelayID: row.DelayID})
}

// Find gives the event, scheduled or finalised; 404 M_NOT_FOUND when the user has none with this id.
func Find(ctx context.Context, r persistence.Reader, userID, delayID string) (scheduled *schema.DelayedEvent, finalised *schema.FinalisedDelayedEvent, err error) {
	known, ok, err := schema.DelayIDs.Get(ctx, r, schema.DelayID{DelayID: delayID})
	if err != nil {
		return nil, nil, err
	}
	if !ok || known.UserID != userID {
		return nil, nil, Unknown()
	}
	if known.FinalisedTS == 0 {
		row, ok, err := schema.DelayedEvents.Get(ctx, r, schema.DelayedEvent{UserID: userID, DelayID: delayID})
		if err == nil && !ok {
			err = Unknown()
		}
		return &row, nil, err
	}
	row, ok, err := schema.FinalisedDelayedEvents.Get(ctx, r,
		schema.FinalisedDelayedEvent{UserID: userID, FinalisedTS: known.FinalisedTS, DelayID: delayID})
	if err == nil && !ok {
		err = Unknown()
	}
	return nil, &row, err
}

func find(ctx context.Context, o *user.Op, delayID string) (*schema.DelayedEvent, *schema.FinalisedDelayedEvent, error) {
	return Find(ctx, o.Store, o.UserID, delayID)
}

// Transaction is how the room knows the event once it is sent; of a row without EventID.
func Transaction(row schema.DelayedEvent) schema.RoomTransaction {
	txn := schema.RoomTransaction{RoomID: row.RoomID, UserID: row.UserID, DeviceID: room.DelayedDevice, Type: row.Type, TxnID: row.DelayID}
	if row.Type == "m.room.redaction" && row.StateKey == nil {
		txn.Redacts = gjson.GetBytes(row.Content, "redacts").Str
	}
	return txn
}

// Sent gives the id of an event that is in the room already, though nobody has told so: it was sent a moment ago, or by an attempt of
// which the end is not known. Otherwise it is empty.
func Sent(ctx context.Context, r persistence.Reader, row schema.DelayedEvent) (eventID string, err error) {
	if !row.Sending {
		return "", nil
	}
	done, _, err := schema.RoomTransactions.Get(ctx, r, Transaction(row))
	return done.EventID, err
}

// Unknown is the refusal for ids that nobody has.
func Unknown() error { return mxerr.NotFound("there is no such delayed event") }

// TooLate is the refusal for what cannot be done any more.
func TooLate(format string, args ...any) error {
	return mxerr.New(http.StatusConflict, "M_UNKNOWN", format, args...)
}
