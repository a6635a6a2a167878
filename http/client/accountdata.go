package client

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (a *accounts) accountData() []api.Endpoint {
	const global = "/_matrix/client/v3/user/{userId}/account_data/{type}"
	const room = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}"
	const tags = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags"
	const tag = tags + "/{tag}"
	const unstable = "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}"
	return []api.Endpoint{
		{Methods: remove, Path: unstable + "/account_data/{type}", Also: []string{unstable + "/rooms/{roomId}/account_data/{type}"},
			Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.deleteAccountData},
		{Methods: get, Path: global, R0: true, Auth: api.User, Handler: a.getAccountData},
		{Methods: put, Path: global, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.putAccountData},
		{Methods: get, Path: room, R0: true, Auth: api.User, Handler: a.getAccountData},
		{Methods: put, Path: room, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.putAccountData},
		{Methods: get, Path: tags, R0: true, Auth: api.User, Handler: a.getTags},
		{Methods: put, Path: tag, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.putTag},
		{Methods: remove, Path: tag, R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.deleteTag},
	}
}

// own checks the user and the room that the path names.
func (a *accounts) own(r *api.Request) error {
	if err := r.Self("userId"); err != nil {
		return err
	}
	if room, ok := r.Vars["roomId"]; ok && !id.ValidRoomID(room) {
		return mxerr.InvalidParam("%.255q is no room id", room)
	}
	return nil
}

func (a *accounts) getAccountData(r *api.Request) (any, error) {
	if err := a.own(r); err != nil {
		return nil, err
	}
	row, ok, err := schema.AccountDatas.Get(r.Ctx, a.Store, schema.AccountData{UserID: r.User(), RoomID: r.Vars["roomId"], Type: r.Vars["type"]})
	if err != nil {
		return nil, err
	}
	if !ok || len(row.Content) == 0 {
		return nil, mxerr.NotFound("there is no account data of this type")
	}
	return jsontext.Value(row.Content), nil
}

// putAccountData stores account data, but for the types that the server writes (client-server API, "Client Config").
func (a *accounts) putAccountData(r *api.Request) (any, error) {
	if err := a.own(r); err != nil {
		return nil, err
	}
	kind := r.Vars["type"]
	if err := settable(kind); err != nil {
		return nil, err
	}
	if len(kind) > id.MaxLength {
		return nil, mxerr.InvalidParam("the type is longer than %d bytes", id.MaxLength)
	}
	content, err := r.Object()
	if err != nil {
		return nil, err
	}
	return nil, a.ask(r, r.User(), &messages.SetAccountData{RoomId: r.Vars["roomId"], Type: kind, Content: content})
}

// settable refuses the types that the server writes.
func settable(kind string) error {
	if kind == "m.fully_read" || kind == "m.push_rules" {
		return mxerr.New(http.StatusMethodNotAllowed, "M_BAD_JSON", "%s cannot be set here: it has endpoints of its own", kind)
	}
	return nil
}

// deleteAccountData deletes account data (MSC3391); there need not be any.
func (a *accounts) deleteAccountData(r *api.Request) (any, error) {
	if err := a.own(r); err != nil {
		return nil, err
	}
	if err := settable(r.Vars["type"]); err != nil {
		return nil, err
	}
	return nil, a.ask(r, r.User(), &messages.SetAccountData{RoomId: r.Vars["roomId"], Type: r.Vars["type"]})
}

func (a *accounts) getTags(r *api.Request) (any, error) {
	if err := a.own(r); err != nil {
		return nil, err
	}
	row, _, err := schema.AccountDatas.Get(r.Ctx, a.Store, schema.AccountData{UserID: r.User(), RoomID: r.Vars["roomId"], Type: "m.tag"})
	if err != nil {
		return nil, err
	}
	tags := jsontext.Value("{}")
	if t := gjson.GetBytes(row.Content, "tags"); t.IsObject() {
		tags = jsontext.Value(t.Raw)
	}
	return map[string]jsontext.Value{"tags": tags}, nil
}

// putTag tags a room (client-server API, "Room Tagging").
func (a *accounts) putTag(r *api.Request) (any, error) {
	if err := a.own(r); err != nil {
		return nil, err
	}
	if len(r.Vars["tag"]) > 255 {
		return nil, mxerr.InvalidParam("the name of a tag may be at most 255 bytes long")
	}
	var order struct {
		Order *float64 `json:"order"`
	}
	if err := r.Decode(&order); err != nil {
		return nil, err
	}
	if order.Order != nil && !(*order.Order >= 0 && *order.Order <= 1) {
		return nil, mxerr.InvalidParam("order must be a number from 0 to 1")
	}
	content, err := r.Object()
	if err != nil {
		return nil, err
	}
	return nil, a.ask(r, r.User(), &messages.SetTag{RoomId: r.Vars["roomId"], Tag: r.Vars["tag"], Content: content})
}

func (a *accounts) deleteTag(r *api.Request) (any, error) {
	if err := a.own(r); err != nil {
		return nil, err
	}
	return nil, a.ask(r, r.User(), &messages.SetTag{RoomId: r.Vars["roomId"], Tag: r.Vars["tag"]})
}
