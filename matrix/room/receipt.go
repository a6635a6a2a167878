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
	if target == nil || target.Status != Accepted {
		return mxerr.NotFound("the room has no event %s", in.EventID)
	}
	if in.ThreadID != "" {
		if err := d.requireThread(target, in.ThreadID); err != nil {
			return err
		}
	}
	key := ReceiptKey{UserID: in.UserID, Type: in.Type, ThreadID: in.ThreadID}
	current, known := d.m.cache.receipt(key)
	if !known {
		d.need.Receipts = append(d.need.Receipts, key)
		return errMissing
	}
	if current.EventID != "" && current.Seq >= target.Seq {
		return nil
	}
	d.receipts = append(d.receipts, ReceiptRow{ReceiptKey: key, EventID: in.EventID, Seq: target.Seq, TS: in.Now})
	return nil
}

// requireThread refuses a thread that the event is not in. A thread's root may be read in the thread as well.
func (d *draft) requireThread(e *Entry, threadID string) error {
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
