package destination

import (
	"context"
	"slices"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what another server sends: how many answers are remembered, how many transactions wait for their turn, and how long
// one may take before the next gets it.
const (
	answersKept = 32
	turnsBound  = 16
	turnLength  = 5 * time.Minute
)

// inbound are the transactions that the server sends, one after the other, and the answers to the last ones.
type inbound struct {
	answers []schema.InboundTransaction // the newest last
	slot    uint64                      // of the next answer
	last    uint64                      // the number of the last turn
	current string                      // whose turn it is, by transaction id, while taken
	taken   bool
	cancel  func()
	waiting []turnWaiter
}

type turnWaiter struct {
	message cluster.Message
	txnID   string
}

// turnOver says that a turn has lasted too long.
type turnOver struct{ turn uint64 }

func (in *inbound) load(ctx context.Context, r persistence.Reader, origin string) error {
	rows, err := schema.InboundTransactions.All(ctx, r, persistence.Range[schema.InboundTransaction]{Prefix: schema.InboundTransaction{Origin: origin}, Keys: 1})
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(x, y schema.InboundTransaction) int { return int(x.TS - y.TS) })
	in.answers = rows
	if n := len(rows); n > 0 {
		in.slot = (rows[n-1].Slot + 1) % answersKept
	}
	return nil
}

func (in *inbound) idle() bool { return !in.taken && len(in.waiting) == 0 }

// answer is the one that was given to the transaction, nil when it is not known.
func (in *inbound) answer(txnID string) *messages.TransactionTurn {
	for _, row := range in.answers {
		if row.TxnID == txnID {
			return &messages.TransactionTurn{Answer: row.Answer}
		}
	}
	return nil
}

// begin gives the turn, the answer of before, or a place among those who wait.
func (a *actor) begin(m cluster.Message, req *messages.BeginTransaction) {
	in := &a.inbound
	switch known := in.answer(req.TxnId); {
	case a.draining:
		m.Fail(cluster.Retry())
	case known != nil:
		m.Reply(known)
	case len(in.waiting) >= turnsBound:
		m.Fail(mxerr.LimitExceeded(1000))
	default:
		in.waiting = append(in.waiting, turnWaiter{m, req.TxnId})
		in.pass(a.self)
	}
}

// pass gives the turn to the first who waits for it, when nobody has it.
func (in *inbound) pass(self cluster.Self) {
	for !in.taken && len(in.waiting) > 0 {
		next := in.waiting[0]
		in.waiting = in.waiting[1:]
		if known := in.answer(next.txnID); known != nil {
			next.message.Reply(known)
			continue
		}
		in.last++
		in.taken, in.current = true, next.txnID
		in.cancel = self.After(turnLength, turnOver{in.last})
		next.message.Reply(&messages.TransactionTurn{Turn: in.last})
	}
}

// over takes the turn back.
func (in *inbound) over(self cluster.Self) {
	if in.cancel != nil {
		in.cancel()
		in.cancel = nil
	}
	in.taken, in.current = false, ""
	in.pass(self)
}

func (in *inbound) expire(t turnOver, self cluster.Self) {
	if in.taken && in.last == t.turn {
		in.over(self)
	}
}

// endTurn remembers the answer, and has the turn pass on once it is durable.
func (a *actor) endTurn(m cluster.Message, req *messages.EndTransaction) {
	in := &a.inbound
	mine := in.taken && in.last == req.Turn && in.current == req.TxnId
	finish := func(err error) {
		if err != nil {
			m.Fail(err)
			return
		}
		if mine {
			in.over(a.self)
		}
		m.Reply(&messages.Done{})
	}
	if len(req.Answer) == 0 || in.answer(req.TxnId) != nil {
		finish(nil)
		return
	}
	row := schema.InboundTransaction{Origin: a.row.Destination, Slot: in.slot, TxnID: req.TxnId, Answer: req.Answer, TS: a.deps.Now().UnixMilli()}
	in.slot = (in.slot + 1) % answersKept
	in.answers = append(in.answers, row)
	if n := len(in.answers); n > answersKept {
		in.answers = in.answers[n-answersKept:]
	}
	a.pending.add(finish, schema.InboundTransactions.Put(row))
}

// refuse sends those who wait elsewhere.
func (in *inbound) refuse() {
	for _, w := range in.waiting {
		w.message.Fail(cluster.Retry())
	}
	in.waiting = nil
}
