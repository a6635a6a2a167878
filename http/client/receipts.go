package client

import (
	"github.com/go-json-experiment/json"

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
	roomID, err := h.joinedRoom(r)
	if err != nil {
		return nil, err
	}
	_, err = AskRoom[*messages.Done](r.Ctx, h.Deps, roomID, &messages.SetTyping{By: requester(r), Typing: *body.Typing, TimeoutMs: body.Timeout})
	return nil, err
}

// joinedRoom gives the room of the path if the user is in it.
func (h *rooms) joinedRoom(r *api.Request) (string, error) {
	a, err := h.access(r)
	if err != nil {
		return "", err
	}
	return a.RoomID, a.RequireJoined()
}

// The types of receipts. The last one is account data, which is why it has no thread.
const (
	receiptRead    = "m.read"
	receiptPrivate = "m.read.private"
	fullyRead      = "m.fully_read"
)

func (h *rooms) receipt(r *api.Request) (any, error) {
	var body struct {
		ThreadID *string `json:"thread_id"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	typ := r.Vars["receiptType"]
	switch {
	case typ != receiptRead && typ != receiptPrivate && typ != fullyRead:
		return nil, mxerr.InvalidParam("the receipt type must be m.read, m.read.private or m.fully_read, not %.64q", typ)
	case body.ThreadID != nil && typ == fullyRead:
		return nil, mxerr.InvalidParam("m.fully_read belongs to no thread")
	case body.ThreadID != nil && *body.ThreadID == "":
		return nil, mxerr.InvalidParam("thread_id must be main or the id of a thread's root")
	}
	roomID, err := h.joinedRoom(r)
	if err != nil {
		return nil, err
	}
	thread := ""
	if body.ThreadID != nil {
		thread = *body.ThreadID
	}
	return nil, h.markRead(r, roomID, typ, r.Vars["eventId"], thread)
}

func (h *rooms) markRead(r *api.Request, roomID, typ, eventID, thread string) error {
	if !id.ValidEventID(eventID) {
		return mxerr.InvalidParam("%.255q is no event id", eventID)
	}
	if typ == fullyRead {
		content, err := json.Marshal(map[string]string{"event_id": eventID})
		if err != nil {
			return err
		}
		_, err = AskUser[*messages.Done](r.Ctx, h.Deps, r.User(), &messages.SetAccountData{RoomId: roomID, Type: fullyRead, Content: content})
		return err
	}
	_, err := AskRoom[*messages.Done](r.Ctx, h.Deps, roomID, &messages.SendReceipt{By: requester(r), ReceiptType: typ, EventId: eventID, ThreadId: thread})
	return err
}

func (h *rooms) readMarkers(r *api.Request) (any, error) {
	var body struct {
		FullyRead *string `json:"m.fully_read"`
		Read      *string `json:"m.read"`
		Private   *string `json:"m.read.private"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	roomID, err := h.joinedRoom(r)
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
		if err := h.markRead(r, roomID, m.typ, *m.event, ""); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
