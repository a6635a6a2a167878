package room

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// origin says where an event of ours comes from.
type origin struct {
	now   int64 // ms
	ts    int64 // the event's time in ms; 0: now
	from  From
	txnID string
}

func (f From) origin(txnID string, ts int64) origin {
	return origin{now: f.Now, ts: ts, from: f, txnID: txnID}
}

// build makes the PDU of a proposal on the draft's tip.
func (d *draft) build(p Proposal, o origin) (*event.Event, error) {
	if o.ts < 0 || o.ts > maxTimestamp {
		return nil, mxerr.InvalidParam("the timestamp %d is not one", o.ts)
	}
	ts := o.ts
	if ts == 0 {
		ts = o.now
	}
	tuples := auth.Selection(d.version, auth.Shape{Type: p.Type, StateKey: p.StateKey, Sender: p.Sender, Content: p.Content})
	authEvents := make([]string, 0, len(tuples))
	for _, t := range tuples {
		if e := d.stateEntry(t); e != nil {
			authEvents = append(authEvents, e.Event.ID())
		}
	}
	if err := d.waiting(); err != nil {
		return nil, err
	}
	prev, depth := d.tip()
	proto := event.Proto{
		Type: p.Type, StateKey: p.StateKey, Sender: p.Sender, RoomID: d.m.o.RoomID, Content: p.Content,
		PrevEvents: prev, AuthEvents: authEvents, Depth: depth, OriginServerTS: ts, Redacts: p.Redacts, StickyMS: p.StickyMS,
	}
	if d.version.EventIDFormat == roomversion.EventIDField {
		proto.EventIDRandom = eventIDOf(proto, d.head.seq)
	}
	return event.Build(proto, d.version, d.m.o.ServerName, d.m.o.Key)
}

// eventIDOf is the localpart of an event id in room versions 1 and 2, where the server chooses it: a hash, so that no
// randomness is needed and no other event gets the same.
func eventIDOf(p event.Proto, seq uint64) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %q %q %q", p.RoomID, seq, p.OriginServerTS, p.Sender, p.Type, p.PrevEvents)
	h.Write(p.Content)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// tip gives the prev events of the next event of ours, the deepest first, and its depth.
func (d *draft) tip() ([]string, int64) {
	tips := deepest(d.head.extremities, maxPrevEvents)
	prev := make([]string, len(tips))
	var depth int64
	for i, t := range tips {
		prev[i] = t.EventID
		depth = max(depth, t.Depth)
	}
	return prev, min(depth, event.MaxDepth(d.version)-1) + 1
}

// allow checks the event against the current state, which its auth events are part of.
func (d *draft) allow(e *event.Event) error {
	err := auth.Check(e, d)
	if waiting := d.waiting(); waiting != nil {
		return waiting
	}
	if err == nil {
		return nil
	}
	var rejection *auth.Rejection
	if !errors.As(err, &rejection) {
		return err
	}
	return d.explain(e, rejection)
}

// append makes an allowed event of ours the tip of the draft.
func (d *draft) append(e *event.Event, o origin) (*Entry, error) {
	before := d.head.state.Root()
	entry := &Entry{
		Seq: d.head.seq + 1, Event: e, ReceivedTS: max(o.now, d.head.receivedTS),
		StateBefore: before, StateAfter: before, DeviceID: o.from.DeviceID, TxnID: o.txnID,
	}
	if e.IsState() {
		if err := d.setState(entry); err != nil {
			return nil, err
		}
	}
	entry.Outbound = d.recall(entry) || d.shared()
	d.entries = append(d.entries, entry)
	d.head.seq, d.head.receivedTS = entry.Seq, entry.ReceivedTS
	d.head.extremities = []Extremity{{Seq: entry.Seq, EventID: e.ID(), Depth: e.Depth(), State: entry.StateAfter}}
	d.relate(entry)
	d.stick(entry)
	if err := d.redact(entry); err != nil {
		return nil, err
	}
	if o.txnID != "" {
		d.transactions = append(d.transactions, transactionOf(entry))
	}
	return entry, d.waiting()
}

// sameContent reports whether two canonical contents are equal.
func sameContent(a, b *event.Event) bool { return string(a.Content()) == string(b.Content()) }

// isObject reports whether the bytes are a JSON object.
func isObject(raw []byte) bool { return gjson.ValidBytes(raw) && gjson.ParseBytes(raw).IsObject() }
