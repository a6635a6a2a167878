package room

import "github.com/matrixon/matrixon/matrix/mxerr"

// transaction is a request that has been carried out: who asked, and for what (client-server API, "Transaction
// identifiers": the device, the endpoint and the id).
type transaction struct {
	userID, deviceID, txnID string
	eventType, redacts      string
	seq                     uint64
}

func (t transaction) key() transaction {
	t.seq = 0
	return t
}

// transactionOf is what the entry was sent with.
func transactionOf(e *Entry) transaction {
	t := transaction{
		userID: e.Event.Sender(), deviceID: e.DeviceID, txnID: e.TxnID, eventType: e.Event.Type(), seq: e.Seq,
	}
	if t.eventType == "m.room.redaction" {
		t.redacts = e.Event.Redacts()
	}
	return t
}

// transactions remembers the newest ones.
type transactions struct {
	limit int
	seqs  map[transaction]uint64
	order []transaction // a ring
	next  int
}

func (t *transactions) add(x transaction) {
	if t.seqs == nil {
		t.seqs = map[transaction]uint64{}
	}
	key := x.key()
	if _, ok := t.seqs[key]; !ok {
		if len(t.order) < t.limit {
			t.order = append(t.order, key)
		} else {
			delete(t.seqs, t.order[t.next])
			t.order[t.next] = key
			t.next = (t.next + 1) % t.limit
		}
	}
	t.seqs[key] = x.seq
}

// repeated answers a request whose transaction has been carried out.
func (d *draft) repeated(by From, p Proposal, txnID string) (bool, error) {
	if txnID == "" {
		return false, nil
	}
	if len(txnID) > 255 {
		return false, mxerr.InvalidParam("a transaction id has at most 255 bytes")
	}
	seq, ok := d.m.transactions.seqs[transaction{
		userID: by.UserID, deviceID: by.DeviceID, txnID: txnID, eventType: p.Type, redacts: p.redacts(),
	}]
	if !ok {
		return false, nil
	}
	d.answer = d.entry(seq)
	return true, d.waiting()
}
