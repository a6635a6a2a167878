package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Notices is the account that tells users what the operators have to say (client-server API, "Server Notices").
type Notices struct {
	UserID string // empty: there are none
	Name   string // of the account and of the rooms, when they are made
}

// noticesAlias begins the aliases of the rooms of notices. They see to it that every user has one room, whichever node makes it.
const noticesAlias = "#_server_notices_"

// noticesLevels let nobody but the server speak, invite or change anything.
var noticesLevels = map[string]jsontext.Value{"users_default": jsontext.Value("-10"), "invite": jsontext.Value("50")}

// alias is that of a user's room of notices.
func (n Notices) alias(userID string) string {
	sum := sha256.Sum256([]byte(userID))
	return noticesAlias + base64.RawURLEncoding.EncodeToString(sum[:16]) + ":" + id.ServerOf(n.UserID)
}

// owns reports whether an alias is kept for the rooms of notices.
func (n Notices) owns(alias string) bool {
	return n.UserID != "" && strings.HasPrefix(alias, noticesAlias)
}

// ServerNotices are the endpoints with which administrators send notices; they are where the tools of other servers look for them.
func ServerNotices(d Deps, o RoomOptions) []api.Endpoint {
	if d.Notices.UserID == "" {
		return nil
	}
	h := &rooms{d, o}
	const path = "/_synapse/admin/v1/send_server_notice"
	return []api.Endpoint{
		{Methods: post, Path: path, Auth: api.Admins, Limit: api.LimitMessage, Handler: h.sendNotice},
		{Methods: put, Path: path + "/{txnId}", Auth: api.Admins, Limit: api.LimitMessage, Handler: h.sendNotice},
	}
}

func (h *rooms) sendNotice(r *api.Request) (any, error) {
	var body struct {
		UserID   string         `json:"user_id"`
		Type     string         `json:"type"`
		StateKey *string        `json:"state_key"`
		Content  jsontext.Value `json:"content"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Type == "" {
		body.Type = "m.room.message"
	}
	switch {
	case body.UserID == "":
		return nil, mxerr.MissingParam("user_id is required")
	case !id.ValidUser(body.UserID) || id.ServerOf(body.UserID) != h.ServerName || body.UserID == h.Notices.UserID:
		return nil, mxerr.InvalidParam("server notices go to the users of this server, and %.255q is none", body.UserID)
	case body.Content == nil:
		return nil, mxerr.MissingParam("content is required")
	case body.Content.Kind() != '{':
		return nil, mxerr.BadJSON("content must be an object")
	case body.Type == "m.room.member":
		return nil, mxerr.InvalidParam("who is in the room is not the matter of a notice")
	}
	roomID, err := h.noticesRoomOf(r.Ctx, body.UserID)
	if err != nil {
		return nil, err
	}
	by := h.noticesBy()
	by.DeviceId = r.User() + " " + r.Device() // the transactions are the administrator's
	send := &messages.SendEvent{By: by, TxnId: r.Vars["txnId"], Event: &messages.Proposal{
		Type: body.Type, StateKey: body.StateKey, Sender: by.UserId, Content: body.Content}}
	if send.TxnId != "" && body.StateKey == nil {
		if done, err := h.repeated(r, roomID, send); done != "" || err != nil {
			return map[string]string{"event_id": done}, err
		}
	} else {
		send.TxnId = ""
	}
	eventID, err := h.tell(r.Ctx, roomID, body.UserID, send)
	if err != nil {
		return nil, err
	}
	return map[string]string{"event_id": eventID}, nil
}

// tell sends a notice to the room of a user's notices, to which the user is invited.
func (h *rooms) tell(ctx context.Context, roomID, userID string, send *messages.SendEvent) (eventID string, err error) {
	if err := h.inviteToNotices(ctx, roomID, userID); err != nil {
		return "", err
	}
	sent, err := AskRoom[*messages.EventSent](ctx, h.Deps, roomID, send)
	return sent.GetEventId(), err
}

// Notify gives how the server tells a user something, in text; nil when there are no notices.
func Notify(d Deps, o RoomOptions) func(ctx context.Context, userID, text string) (eventID string, err error) {
	if d.Notices.UserID == "" {
		return nil
	}
	h := &rooms{d, o}
	return func(ctx context.Context, userID, text string) (string, error) {
		content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": text}, json.Deterministic(true))
		if err != nil {
			return "", mxerr.BadJSON("the text is not valid")
		}
		roomID, err := h.noticesRoomOf(ctx, userID)
		if err != nil {
			return "", err
		}
		return h.tell(ctx, roomID, userID, &messages.SendEvent{By: h.noticesBy(),
			Event: &messages.Proposal{Type: "m.room.message", Sender: h.Notices.UserID, Content: content}})
	}
}

// noticesRoomOf gives the room of the notices of a user, who must have an account.
func (h *rooms) noticesRoomOf(ctx context.Context, userID string) (string, error) {
	to, ok, err := h.localAccount(ctx, userID)
	switch {
	case err != nil:
		return "", err
	case !ok || to.Deactivated:
		return "", mxerr.NotFound("there is no user %s", userID)
	case userID == h.Notices.UserID:
		return "", mxerr.InvalidParam("%s is the server itself", userID)
	}
	return h.noticesRoom(ctx, userID)
}

func (h *rooms) noticesBy() *messages.Requester { return &messages.Requester{UserId: h.Notices.UserID} }

// noticesRoom gives the room of a user's notices, which is made if it is not there.
func (h *rooms) noticesRoom(ctx context.Context, userID string) (string, error) {
	alias := h.Notices.alias(userID)
	row, ok, err := schema.Aliases.Get(ctx, h.Store, schema.Alias{Alias: alias})
	if err != nil || ok {
		return row.RoomID, err
	}
	if err := h.noticesAccount(ctx); err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(alias, "#"), ":")
	roomID, err := h.Creator.Create(ctx, h.noticesBy(), room.CreateRequest{
		Preset: "private_chat", RoomAliasName: name, Name: &h.Notices.Name, PowerLevelContentOverride: noticesLevels})
	if err != nil && mxerr.From(err).Code == "M_ROOM_IN_USE" { // another request was faster
		row, ok, err = schema.Aliases.Get(ctx, h.Store, schema.Alias{Alias: alias})
		if err == nil && !ok {
			err = mxerr.Unknown("the room of the notices for %s is being made; try again", userID)
		}
		return row.RoomID, err
	}
	return roomID, err
}

// noticesAccount makes the account if it is not there. One with which somebody signs in is not the server's.
func (h *rooms) noticesAccount(ctx context.Context) error {
	row, ok, err := schema.Accounts.Get(ctx, h.Store, schema.Account{UserID: h.Notices.UserID})
	switch {
	case err != nil:
		return err
	case ok && (row.PasswordHash != "" || row.Deactivated):
		return mxerr.New(http.StatusConflict, "M_USER_IN_USE",
			"%s is somebody's account: name another one for server notices in the configuration", h.Notices.UserID)
	case ok:
		return nil
	}
	_, err = AskUser[*messages.Done](ctx, h.Deps, h.Notices.UserID, &messages.RegisterAccount{DisplayName: h.Notices.Name})
	if err != nil && mxerr.From(err).Code == "M_USER_IN_USE" { // another request was faster
		err = nil
	}
	return err
}

// inviteToNotices invites the user if need be, who may have left since.
func (h *rooms) inviteToNotices(ctx context.Context, roomID, userID string) error {
	m, _, err := schema.Memberships.Get(ctx, h.Store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || m.Membership == "join" || m.Membership == "invite" {
		return err
	}
	if err := h.Reader.Invitable(ctx, userID, h.Notices.UserID); err != nil {
		return err
	}
	content, err := MemberContent(ctx, h.Deps, userID)
	if err != nil {
		return err
	}
	_, err = AskUser[*messages.Done](ctx, h.Deps, userID, &messages.SetTag{RoomId: roomID, Tag: "m.server_notice", Content: []byte("{}")})
	if err != nil {
		return err
	}
	_, err = AskRoom[*messages.EventSent](ctx, h.Deps, roomID, &messages.ChangeMembership{
		By: h.noticesBy(), Action: messages.ChangeMembership_INVITE, Target: userID, Content: content})
	return err
}

// mayReject refuses to reject the invite to the room of one's notices (client-server API, "Server Notices"). One can leave it
// after joining.
func (h *rooms) mayReject(r *api.Request, roomID string) error {
	if h.Notices.UserID == "" {
		return nil
	}
	m, _, err := schema.Memberships.Get(r.Ctx, h.Store, schema.Membership{UserID: r.User(), RoomID: roomID})
	if err != nil || m.Membership != "invite" || m.Sender != h.Notices.UserID {
		return err
	}
	create, ok, err := h.Reader.Current(r.Ctx, roomID, "m.room.create", "")
	if err != nil || !ok || gjson.GetBytes(create.JSON, "sender").Str != h.Notices.UserID {
		return err
	}
	return mxerr.New(http.StatusForbidden, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "this invite is the server's and cannot be rejected")
}
