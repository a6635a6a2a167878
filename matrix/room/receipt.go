package room

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// threadHops is how far indirect relations are followed to a thread (client-server API, "Threaded read receipts").
const threadHops = 3

// mainThread is the thread id of the main timeline.
const mainThread = "main"

// sendReceipt moves a receipt of the user forward; one that would go back changes nothing.
func (d *draft) sendReceipt(in SendReceipt) error {
	if in.Type != "m.read" && in.Type != "m.read.private" {
		return mxerr.InvalidParam("there is no receipt type %q", in.Type)
	}
	if err := d.requireJoined(in.UserID, "send receipts"); err != nil {
		return err
	}
	target := d.entryByID(in.EventID)
	if err := d.waiting(); err != nil {
		return err
	}
	seq := d.head.seq // an event that has not come is newer than all that have
	switch {
	case target != nil && target.Status == Accepted:
		if err := d.requireThread(target, in.ThreadID); err != nil {
			return err
		}
		seq = target.Seq
	case !in.Remote || target != nil && !target.outlier():
		return mxerr.NotFound("the room has no event %s", in.EventID)
	}
	key := ReceiptKey{UserID: in.UserID, Type: in.Type, ThreadID: in.ThreadID}
	current, known := d.m.cache.receipt(key)
	if !known {
		d.need.Receipts = append(d.need.Receipts, key)
		return errMissing
	}
	if current.EventID == in.EventID || current.EventID != "" && (current.Seq > seq || current.Seq == seq && target != nil) {
		return nil
	}
	ts := in.Now
	if in.Remote && in.TS > 0 {
		ts = min(in.TS, in.Now)
	}
	d.receipts = append(d.receipts, ReceiptRow{ReceiptKey: key, EventID: in.EventID, Seq: seq, TS: ts})
	return nil
}

// requireThread refuses a thread that the event is not in. A thread's root may be read in the thread as well, and everything in none.
func (d *draft) requireThread(e *Entry, threadID string) error {
	if threadID == "" {
		return nil
	}
	root := ""
	for range threadHops + 1 {
		if e.Event.ID() == threadID {
			return nil
		}
		relation := gjson.GetBytes(e.Event.Content(), `m\.relates_to`)
		parent := relation.Get("event_id")
		if parent.Type != gjson.String || relation.Get("rel_type").Type != gjson.String {
			break
		}
		if relation.Get("rel_type").Str == "m.thread" {
			root = parent.Str
			break
		}
		next := d.entryByID(parent.Str)
		if err := d.waiting(); err != nil {
			return err
		}
		if next == nil {
			break
		}
		e = next
	}
	if root == threadID || root == "" && threadID == mainThread {
		return nil
	}
	return mxerr.InvalidParam("the event is not in the thread %q", threadID)
}
