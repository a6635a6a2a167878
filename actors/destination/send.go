package destination

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of sending one transaction.
const (
	sendTimeout = 90 * time.Second // the server may fetch much before it answers
	answerLimit = 1 << 20          // bytes
	errorLimit  = 500              // bytes of what is remembered of a failure
)

// transaction is what is sent under one id.
type transaction struct {
	schema.DestinationTransaction
	durable bool                 // it is in the store: not so when it has nothing in it that must not be lost
	eduRows []schema.OutboundEDU // those in it
	again   bool                 // what it says of MissedRoom is to be sent again
}

// cursor is where the next transaction begins.
func (t *transaction) cursor() cursor {
	return cursor{event: place{t.SentPos, t.SentRoom, t.SentSeq}, eduPos: t.EDUPos, eduN: t.EDUN, missed: t.MissedRoom}
}

// txnID is one that this server has never used: an epoch is given to one activation.
func txnID(now time.Time, epoch persistence.Epoch, n uint64) string {
	return strconv.FormatInt(now.UnixMilli(), 10) + "-" + strconv.FormatUint(uint64(epoch), 10) + "-" + strconv.FormatUint(n, 10)
}

// send has the transaction in hand sent beside the mailbox.
func (a *actor) send() {
	a.disarm()
	a.working = true
	a.lastAttempt = a.deps.Now()
	ctx, cancel := context.WithCancel(a.self.Context())
	a.halt = cancel
	request := federation.Request{
		Destination: a.row.Destination, Method: http.MethodPut, URI: "/_matrix/federation/v1/send/" + url.PathEscape(a.txn.TxnID),
		Body: a.txn.Body, Limit: answerLimit, Timeout: sendTimeout, Eager: true}
	sent := a.txn.PDUs
	go func() {
		defer cancel()
		answer, err := a.deps.Caller.Call(ctx, request)
		a.self.Send(answered{err, err == nil && a.logRefused(answer) < sent})
	}()
}

// logRefused tells which events the server did not take, and counts those that it did. They are not sent again: it has seen them. Only what it
// lacks of a room is: it may not have known yet that it is in the room, in which case it says nothing of its events; see notYet.
func (a *actor) logRefused(answer []byte) (taken int64) {
	gjson.GetBytes(answer, "pdus").ForEach(func(id, result gjson.Result) bool {
		if why := result.Get("error"); why.Exists() {
			a.deps.Log.Info("another server refuses an event", "destination", a.self.Identity().ID, "event", id.Str, "error", clip(why.Str))
		} else {
			taken++
		}
		return true
	})
	return taken
}

// missedTries is how often what a server lacks of a room is sent when it does not take all of that, with pauses that double.
const missedTries = 5

// notYet has what the server lacks of a room sent once more when it did not take all of that: who has just been let into a room may be told of the room
// before the news that it is in.
func (a *actor) notYet(refused bool) {
	room := a.done.MissedRoom
	if room == "" {
		return
	}
	tries := a.tries[room] + 1
	delete(a.tries, room)
	if !refused || tries >= missedTries {
		return
	}
	if a.tries == nil {
		a.tries = map[string]int{}
	}
	a.tries[room], a.done.again = tries, true
	a.self.After(a.deps.FirstRetry<<(tries-1), lookAgain{})
}

func clip(s string) string { return s[:min(len(s), errorLimit)] }

// answered takes in what became of the transaction that was on its way.
func (a *actor) answered(err error, refused bool) {
	a.working, a.halt = false, nil
	now := a.deps.Now()
	remake := a.remake
	a.remake = false
	switch {
	case err == nil:
		a.succeeded(now)
		a.notYet(refused)
	case a.draining:
	case remake:
		a.drop()
	default:
		a.failed(now, err)
	}
}

func (a *actor) succeeded(now time.Time) {
	failed := a.row.Failures > 0
	if failed {
		a.deps.Log.Info("another server takes transactions again", "destination", a.row.Destination)
		a.queue.look() // the Keeper may have noted rooms meanwhile
	}
	a.row.Failures, a.row.FailingSinceTS, a.row.RetryTS, a.row.LastError = 0, 0, 0, ""
	a.row.LastSuccessTS = now.UnixMilli()
	a.done, a.txn = a.txn, nil
	if failed && !a.done.durable {
		a.save(nil)
	}
}

func (a *actor) failed(now time.Time, err error) {
	if a.row.Failures == 0 {
		a.row.FailingSinceTS = now.UnixMilli()
		a.deps.Log.Warn("another server does not take its transactions; they are kept and tried again", "destination", a.row.Destination, "error", err)
	}
	a.row.Failures++
	a.row.LastError = clip(err.Error())
	a.row.RetryTS = now.Add(a.backoff()).UnixMilli()
	if !a.txn.durable { // what it carries is stale when the server is back
		a.txn = nil
	}
	a.save(nil)
}

// backoff is how long to wait after so many failures: it doubles each time, and up to half of it is left to chance, so that many do
// not come back at once.
func (a *actor) backoff() time.Duration {
	pause := a.deps.LastRetry
	if n := a.row.Failures - 1; n < 30 {
		pause = min(a.deps.FirstRetry<<n, a.deps.LastRetry)
	}
	return pause - time.Duration(a.deps.Jitter()*float64(pause)/2)
}

// drop forgets the transaction in hand; what it was made of still waits.
func (a *actor) drop() {
	if a.txn != nil && a.txn.durable {
		a.pending.add(nil, schema.DestinationTransactions.Delete(schema.DestinationTransaction{Destination: a.row.Destination}))
	}
	a.txn = nil
	a.queue.rescan()
	a.queue.look()
}
