package client

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

func (h *rooms) reading() []api.Endpoint {
	return []api.Endpoint{
		{Methods: put, Path: aRoom + "/typing/{userId}", R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.typing},
		{Methods: post, Path: aRoom + "/receipt/{receiptType}/{eventId}", R0: true, Auth: api.User, Limit: api.LimitMessage, WhileSuspended: true, Handler: h.receipt},
		{Methods: post, Path: aRoom + "/read_markers", R0: true, Auth: api.User, Limit: api.LimitMessage, WhileSuspended: true, Handler: h.readMarkers},
	}
}

func (h *rooms) typing(r *api.Request) (any, error) {
	var body struct {
		Typing  *bool `json:"typing"`
		Timeout int64 `json:"timeout"`
	}
	if err := r.Self("userId"); err != nil {
		return nil, err
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Typing == nil {
		return nil, mxerr.MissingParam("typing is required")
	}
	a, err := h.joined(r)
	if err != nil {
		return nil, err
	}
	_, err = AskRoom[*messages.Done](r.Ctx, h.Deps, a.RoomID, &messages.SetTyping{By: requester(r), Typing: *body.Typing, TimeoutMs: body.Timeout})
	return nil, err
}

// joined is access for those who are in the room.
func (h *rooms) joined(r *api.Request) (*reader.Access, error) {
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	return a, a.RequireJoined()
}

// The types of receipts. The last one is account data, which is why it has no thread.
const (
	receiptRead    = "m.read"
	receiptPrivate = "m.read.private"
	fullyRead      = "m.fully_read"
)

func (h *rooms) receipt(r *api.Request) (any, error) {
	var body struct {
		ThreadID jsontext.Value `json:"thread_id"`
		backward
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	typ, thread := r.Vars["receiptType"], ""
	if typ != receiptRead && typ != receiptPrivate && typ != fullyRead {
		return nil, mxerr.InvalidParam("the receipt type must be m.read, m.read.private or m.fully_read, not %.64q", typ)
	}
	if body.ThreadID != nil {
		if typ == fullyRead {
			return nil, mxerr.InvalidParam("m.fully_read belongs to no thread")
		}
		if thread = gjson.ParseBytes(body.ThreadID).Str; thread == "" {
			return nil, mxerr.InvalidParam("thread_id must be main or the id of a thread's root")
		}
	}
	if body.allowed() && typ != fullyRead {
		return nil, mxerr.InvalidParam("allow_backward is for m.fully_read, not for %s", typ)
	}
	a, err := h.joined(r)
	if err != nil {
		return nil, err
	}
	return nil, h.markRead(r, a, mark{typ: typ, eventID: r.Vars["eventId"], thread: thread, backward: body.allowed()})
}

// backward is how clients say that the marker of what was fully read may go back (MSC4446).
type backward struct {
	Allow    bool `json:"allow_backward"`
	Unstable bool `json:"com.beeper.allow_backward"`
}

func (b backward) allowed() bool { return b.Allow || b.Unstable }

// mark is where a receipt, or the marker of what was fully read, is to be.
type mark struct {
	typ, eventID, thread string
	backward             bool // the marker may go back
}

// markRead moves a receipt, or the marker of what was fully read, to an event of the room that the user may see.
func (h *rooms) markRead(r *api.Request, a *reader.Access, m mark) error {
	if !id.ValidEventID(m.eventID) {
		return mxerr.InvalidParam("%.255q is no event id", m.eventID)
	}
	if _, err := a.Event(r.Ctx, m.eventID); err != nil {
		return err
	}
	if m.typ == fullyRead {
		_, err := AskUser[*messages.Done](r.Ctx, h.Deps, r.User(),
			&messages.SetFullyRead{RoomId: a.RoomID, EventId: m.eventID, AllowBackward: m.backward})
		return err
	}
	_, err := AskRoom[*messages.Done](r.Ctx, h.Deps, a.RoomID,
		&messages.SendReceipt{By: requester(r), ReceiptType: m.typ, EventId: m.eventID, ThreadId: m.thread})
	return err
}

func (h *rooms) readMarkers(r *api.Request) (any, error) {
	var body struct {
		FullyRead *string `json:"m.fully_read"`
		Read      *string `json:"m.read"`
		Private   *string `json:"m.read.private"`
		backward
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	a, err := h.joined(r)
	if err != nil {
		return nil, err
	}
	for _, m := range []struct {
		typ   string
		event *string
	}{{fullyRead, body.FullyRead}, {receiptRead, body.Read}, {receiptPrivate, body.Private}} {
		if m.event == nil {
			continue
		}
		if err := h.markRead(r, a, mark{typ: m.typ, eventID: *m.event, backward: body.allowed()}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
