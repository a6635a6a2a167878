package destination

import (
	"context"
	"strconv"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The states of the circuit.
const (
	circuitClosed   = "closed"
	circuitOpen     = "open"
	circuitHalfOpen = "half-open"
	circuitPaused   = "paused"
)

// countBound is up to what number what waits is counted.
const countBound = 1000

func (a *actor) circuit() string {
	switch {
	case a.row.Paused:
		return circuitPaused
	case a.row.Failures == 0:
		return circuitClosed
	case a.pause() > 0:
		return circuitOpen
	}
	return circuitHalfOpen
}

// operate does what an operator wants, and answers when it is durable.
func (a *actor) operate(m cluster.Message, action messages.OperateDestination_Action) {
	switch action {
	case messages.OperateDestination_RETRY:
		a.row.Paused, a.row.RetryTS = false, 0
		a.disarm()
	case messages.OperateDestination_PAUSE:
		a.row.Paused = true
		a.disarm()
	case messages.OperateDestination_RESET:
		a.row.Failures, a.row.FailingSinceTS, a.row.RetryTS, a.row.LastError = 0, 0, 0, ""
		a.disarm()
		if a.halt != nil {
			a.remake = true
			a.halt()
		} else if a.txn != nil {
			a.drop()
		}
	default:
		a.describe(m)
		return
	}
	a.save(func(err error) {
		if err != nil {
			m.Fail(err)
			return
		}
		a.describe(m)
	})
}

// describe answers with what the actor and the store know.
func (a *actor) describe(m cluster.Message) {
	s := &messages.DestinationStatus{
		Destination: a.row.Destination, Circuit: a.circuit(), Failures: a.row.Failures, FailingSinceTs: a.row.FailingSinceTS, RetryTs: a.row.RetryTS,
		LastSuccessTs: a.row.LastSuccessTS, LastError: a.row.LastError, QueuedEvents: int64(len(a.queue.known)),
		QueuedEphemeral: int64(a.queue.ephemeral.len()), SentPos: a.row.SentPos, More: !a.queue.complete,
	}
	if a.txn != nil {
		s.TxnId, s.TxnPdus, s.TxnEdus = a.txn.TxnID, a.txn.PDUs, a.txn.EDUs
	}
	ctx := a.self.Context()
	go func() {
		if err := a.composer.count(ctx, s); err != nil {
			m.Fail(err)
			return
		}
		m.Reply(s)
	}()
}

// count adds what waits in the store.
func (c composer) count(ctx context.Context, s *messages.DestinationStatus) error {
	for _, err := range schema.OutboundEDUs.Scan(ctx, c.store, persistence.Range[schema.OutboundEDU]{
		Prefix: schema.OutboundEDU{Destination: c.destination}, Keys: 1, Limit: countBound}) {
		if err != nil {
			return err
		}
		s.QueuedEdus++
	}
	for _, err := range schema.MissedRooms.Scan(ctx, c.store, persistence.Range[schema.MissedRoom]{
		Prefix: schema.MissedRoom{Destination: c.destination}, Keys: 1, Limit: countBound}) {
		if err != nil {
			return err
		}
		s.MissedRooms++
	}
	s.More = s.More || s.QueuedEdus == countBound || s.MissedRooms == countBound
	return nil
}

// Inspect implements cluster.Behavior. What is sent is not part of it.
func (a *actor) Inspect(s *messages.Summary) {
	s.Epoch, s.Seq = uint64(a.epoch), a.seq
	if s.Details == nil {
		s.Details = map[string]string{}
	}
	s.Details["circuit"] = a.circuit()
	s.Details["sent_position"] = strconv.FormatUint(a.row.SentPos, 10)
	s.Details["queued_events"] = strconv.Itoa(len(a.queue.known))
	s.Details["queue_complete"] = strconv.FormatBool(a.queue.complete)
	s.Details["queued_ephemeral"] = strconv.Itoa(a.queue.ephemeral.len())
	s.Details["failures"] = strconv.FormatInt(a.row.Failures, 10)
	if a.row.LastError != "" {
		s.Details["last_failure"] = a.row.LastError
	}
	if a.pause() > 0 {
		s.Details["next_attempt_ts"] = strconv.FormatInt(a.row.RetryTS, 10)
	}
	if a.row.LastSuccessTS > 0 {
		s.Details["acknowledged_ts"] = strconv.FormatInt(a.row.LastSuccessTS, 10)
	}
	if a.txn != nil {
		s.Details["transaction"] = a.txn.TxnID
		s.Details["transaction_pdus"] = strconv.FormatInt(a.txn.PDUs, 10)
		s.Details["transaction_edus"] = strconv.FormatInt(a.txn.EDUs, 10)
	}
}
