package client

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// threadSubscriptions are the endpoints of MSC4306, and the one of MSC4308 that goes back in time.
func (h *rooms) threadSubscriptions() []api.Endpoint {
	const one = "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription"
	return []api.Endpoint{
		{Methods: get, Path: one, Auth: api.User, Limit: api.LimitRead, Handler: h.threadSubscription},
		{Methods: put, Path: one, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: h.subscribeToThread},
		{Methods: remove, Path: one, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: h.unsubscribeFromThread},
		{Methods: get, Path: "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", Auth: api.User, Limit: api.LimitRead,
			Handler: h.changedThreadSubscriptions},
	}
}

// threadRoot gives the room and the root of the thread that the path names; 404 M_NOT_FOUND unless the user may see it.
func (h *rooms) threadRoot(r *api.Request) (*reader.Access, string, error) {
	a, err := h.access(r)
	if err != nil {
		return nil, "", err
	}
	rootID := r.Vars["threadRootId"]
	if a.Member.Membership == "" || !id.ValidEventID(rootID) {
		return nil, "", mxerr.NotFound("there is no such thread")
	}
	_, err = a.Event(r.Ctx, rootID)
	return a, rootID, err
}

func (h *rooms) threadSubscription(r *api.Request) (any, error) {
	a, rootID, err := h.threadRoot(r)
	if err != nil {
		return nil, err
	}
	row, _, err := schema.ThreadSubscriptions.Get(r.Ctx, h.Store, schema.ThreadSubscription{UserID: r.User(), RoomID: a.RoomID, RootID: rootID})
	if err != nil {
		return nil, err
	}
	if !row.Subscribed {
		return nil, mxerr.NotFound("you are not subscribed to this thread")
	}
	return map[string]bool{"automatic": row.Automatic}, nil
}

func (h *rooms) subscribeToThread(r *api.Request) (any, error) {
	var body struct {
		Automatic jsontext.Value `json:"automatic"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	a, rootID, err := h.threadRoot(r)
	if err != nil {
		return nil, err
	}
	ask := &messages.SetThreadSubscription{RoomId: a.RoomID, RootId: rootID, Subscribed: true}
	switch body.Automatic.Kind() {
	case '"':
		cause, err := a.Event(r.Ctx, gjson.ParseBytes(body.Automatic).Str)
		if err != nil {
			return nil, err
		}
		relation := gjson.GetBytes(cause.JSON, `content.m\.relates_to`)
		if relation.Get("rel_type").Str != "m.thread" || relation.Get("event_id").Str != rootID {
			return nil, mxerr.New(http.StatusBadRequest, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "the event %s is not in this thread", cause.EventID)
		}
		ask.Automatic, ask.CausePos = true, cause.Pos
	case 0, 'n', 'f':
	default:
		return nil, mxerr.BadJSON("automatic is the id of an event")
	}
	_, err = AskUser[*messages.Done](r.Ctx, h.Deps, r.User(), ask)
	return nil, err
}

func (h *rooms) unsubscribeFromThread(r *api.Request) (any, error) {
	a, rootID, err := h.threadRoot(r)
	if err != nil {
		return nil, err
	}
	_, err = AskUser[*messages.Done](r.Ctx, h.Deps, r.User(), &messages.SetThreadSubscription{RoomId: a.RoomID, RootId: rootID})
	return nil, err
}

// mostSubscriptions bounds a page of thread subscriptions.
const mostSubscriptions = 1000

func (h *rooms) changedThreadSubscriptions(r *api.Request) (any, error) {
	if _, err := r.Enum("dir", "b", "b"); err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", 100, 1, mostSubscriptions)
	if err != nil {
		return nil, err
	}
	q := reader.ThreadSubscriptions{Limit: int(limit)}
	for name, pos := range map[string]*uint64{"from": &q.Before, "to": &q.After} {
		if given := r.Param(name); given != "" {
			at, err := token.ParseSubscriptions(given)
			if err != nil {
				return nil, err
			}
			*pos = at.Pos
		}
	}
	page, err := h.Reader.ThreadSubscriptions(r.Ctx, r.User(), q)
	if err != nil {
		return nil, err
	}
	if page.More {
		page.End = token.Subscriptions{Pos: page.Oldest}.String()
	}
	return page, nil
}
