package room

import (
	"strings"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Transaction is what a request is known by when it is repeated (client-server API, "Transaction identifiers"): the
// device, the endpoint and the id.
type Transaction struct {
	UserID, DeviceID, TxnID string
	EventType               string
	Redacts                 string // of an m.room.redaction: the event's id
}

// DelayedDevice stands for the device in the transactions of delayed events (MSC4140), whose TxnID is the delay_id.
const DelayedDevice = "org.matrix.msc4140"

// TransactionRow is a transaction that has been carried out, and the event that it made.
type TransactionRow struct {
	Transaction
	EventID string
	Seq     uint64
	TS      int64 // ms, when the event was received
}

// transactionOf is what the entry was sent with. It is remembered for longer than the event and the request, and so shares no memory with
// them.
func transactionOf(e *Entry) TransactionRow {
	t := Transaction{UserID: strings.Clone(e.Event.Sender()), DeviceID: e.DeviceID, TxnID: strings.Clone(e.TxnID), EventType: strings.Clone(e.Event.Type())}
	if t.EventType == "m.room.redaction" {
		t.Redacts = strings.Clone(e.Event.Redacts())
	}
	return TransactionRow{Transaction: t, EventID: e.Event.ID(), Seq: e.Seq, TS: e.ReceivedTS}
}

// transactions remembers the newest ones. Older ones are looked up before the room is asked (Batch.Transactions); memory
// covers what happens meanwhile.
type transactions struct {
	limit int
	seqs  map[Transaction]uint64
	order []remembered // the oldest first
}

type remembered struct {
	Transaction
	seq uint64
	ts  int64 // ms
}

// TransactionsFor is how long transactions are remembered at most, in ms: far longer than a request takes from the look into the store to the
// room.
const TransactionsFor = 10 * 60 * 1000

func (t *transactions) add(x TransactionRow) {
	if t.seqs == nil {
		t.seqs = map[Transaction]uint64{}
	}
	t.seqs[x.Transaction] = x.Seq
	t.order = append(t.order, remembered{x.Transaction, x.Seq, x.TS})
	for oldest := t.order[0]; len(t.order) > t.limit || oldest.ts < x.TS-TransactionsFor; oldest = t.order[0] {
		if t.seqs[oldest.Transaction] == oldest.seq {
			delete(t.seqs, oldest.Transaction)
		}
		t.order[0] = remembered{}
		t.order = t.order[1:]
	}
}

// repeated answers a request whose transaction has been carried out since the device was made.
func (d *draft) repeated(by From, p Proposal, txnID string, deviceSince int64) (bool, error) {
	if txnID == "" {
		return false, nil
	}
	if len(txnID) > 255 {
		return false, mxerr.InvalidParam("a transaction id has at most 255 bytes")
	}
	seq, ok := d.m.transactions.seqs[Transaction{
		UserID: by.UserID, DeviceID: by.DeviceID, TxnID: txnID, EventType: p.Type, Redacts: p.redacts(),
	}]
	if !ok {
		return false, nil
	}
	done := d.entry(seq)
	if err := d.waiting(); err != nil {
		return false, err
	}
	if done.ReceivedTS < deviceSince {
		return false, nil
	}
	d.answer = done
	return true, nil
}
