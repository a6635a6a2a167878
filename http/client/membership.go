package client

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (h *rooms) membership() []api.Endpoint {
	change := func(action messages.ChangeMembership_Action, limit api.Limit) api.Endpoint {
		return api.Endpoint{Methods: post, R0: true, Auth: api.User, Limit: limit,
			Handler: func(r *api.Request) (any, error) { return h.changeOther(r, action) }}
	}
	at := func(path string, e api.Endpoint) api.Endpoint {
		e.Path = aRoom + path
		return e
	}
	return []api.Endpoint{
		{Methods: post, Path: aRoom + "/join", R0: true, Auth: api.User, Limit: api.LimitJoin, Handler: h.joinRoom},
		{Methods: post, Path: v3 + "/join/{roomIdOrAlias}", R0: true, Auth: api.User, Limit: api.LimitJoin, Handler: h.joinRoom},
		{Methods: post, Path: v3 + "/knock/{roomIdOrAlias}", R0: true, Auth: api.User, Limit: api.LimitJoin, Handler: h.knock},
		{Methods: post, Path: aRoom + "/leave", R0: true, Auth: api.User, Limit: api.LimitJoin, WhileSuspended: true, Handler: h.leave},
		{Methods: post, Path: aRoom + "/forget", R0: true, Auth: api.User, Limit: api.LimitJoin, WhileSuspended: true, Handler: h.forget},
		at("/invite", change(messages.ChangeMembership_INVITE, api.LimitInvite)),
		at("/kick", change(messages.ChangeMembership_KICK, api.LimitMessage)),
		at("/ban", change(messages.ChangeMembership_BAN, api.LimitMessage)),
		at("/unban", change(messages.ChangeMembership_UNBAN, api.LimitMessage)),
		{Methods: get, Path: v3 + "/joined_rooms", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.joinedRooms},
	}
}

// joinBody is the body of requests to come into a room.
type joinBody struct {
	Reason           string                    `json:"reason"`
	ThirdPartySigned map[string]jsontext.Value `json:"third_party_signed"`
	// Further is taken into the member event, as if that had been sent as a state event.
	Further map[string]jsontext.Value `json:",embed"`
}

func (h *rooms) joinRoom(r *api.Request) (any, error) {
	return h.enter(r, messages.ChangeMembership_JOIN)
}

func (h *rooms) knock(r *api.Request) (any, error) {
	return h.enter(r, messages.ChangeMembership_KNOCK)
}

func (h *rooms) enter(r *api.Request, action messages.ChangeMembership_Action) (any, error) {
	var body joinBody
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	if body.ThirdPartySigned != nil {
		return nil, mxerr.InvalidParam("third-party invites need an identity server, and this server uses none")
	}
	to, err := h.target(r)
	if err != nil {
		return nil, err
	}
	was, _, err := schema.Memberships.Get(r.Ctx, h.Store, schema.Membership{UserID: r.User(), RoomID: to.roomID})
	if err != nil {
		return nil, err
	}
	if _, err := h.enterRoom(r, to, action, body.Reason, body.Further); err != nil {
		return nil, err
	}
	if was.Membership != "join" {
		h.moveSettings(r.Ctx, r.User(), to.roomID)
	}
	return map[string]string{"room_id": to.roomID}, nil
}

// change asks the room for a change of another's membership. The profile of a local user goes into the invite.
func (h *rooms) change(r *api.Request, roomID string, action messages.ChangeMembership_Action, target, reason string) (*messages.EventSent, error) {
	var content []byte
	if action == messages.ChangeMembership_INVITE && id.ServerOf(target) == h.ServerName {
		var err error
		if content, err = MemberContent(r.Ctx, h.Deps, target); err != nil {
			return nil, err
		}
	}
	change := &messages.ChangeMembership{By: requester(r), Action: action, Target: target, Reason: reason, Content: content}
	if action == messages.ChangeMembership_INVITE && id.ServerOf(target) != h.ServerName {
		return h.inviteElsewhere(r.Ctx, roomID, change)
	}
	return AskRoom[*messages.EventSent](r.Ctx, h.Deps, roomID, change)
}

// changeOther is invite, kick, ban and unban.
func (h *rooms) changeOther(r *api.Request, action messages.ChangeMembership_Action) (any, error) {
	var body struct {
		UserID  *string        `json:"user_id"`
		Reason  string         `json:"reason"`
		Medium  jsontext.Value `json:"medium"`
		Address jsontext.Value `json:"address"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.UserID == nil {
		if action == messages.ChangeMembership_INVITE && body.Medium != nil {
			return nil, mxerr.InvalidParam("invites by address need an identity server, and this server uses none")
		}
		return nil, mxerr.MissingParam("user_id is required")
	}
	if !id.ValidUser(*body.UserID) {
		return nil, mxerr.InvalidParam("%.255q is no user id", *body.UserID)
	}
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	if action == messages.ChangeMembership_INVITE {
		if err := h.invitable(r.Ctx, roomID, *body.UserID, r.User()); err != nil {
			return nil, err
		}
	}
	_, err = h.change(r, roomID, action, *body.UserID, body.Reason)
	return nil, err
}

// invitable refuses to invite local users who do not exist or want no invites (client-server API, "Invite permission"), and
// users of servers that cannot be reached. The room is empty when it is yet to be made.
func (h *rooms) invitable(ctx context.Context, roomID, userID, inviter string) error {
	if !id.ValidUser(userID) {
		return mxerr.InvalidParam("%.255q is no user id", userID)
	}
	if id.ServerOf(userID) != h.ServerName {
		if h.Elsewhere == nil {
			return mxerr.Forbidden("%s is on another server, and this server does not federate", userID)
		}
		return nil
	}
	if _, _, err := h.localAccount(ctx, userID); err != nil { // an application service may make it
		return err
	}
	if err := h.Reader.Enterable(ctx, roomID, userID); err != nil {
		return err
	}
	return h.Reader.Invitable(ctx, userID, inviter)
}

func (h *rooms) leave(r *api.Request) (any, error) {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	if err := h.mayReject(r, roomID); err != nil {
		return nil, err
	}
	_, err = h.leaveRoom(r, roomID, body.Reason)
	return nil, err
}

func (h *rooms) forget(r *api.Request) (any, error) {
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	_, err = AskRoom[*messages.Done](r.Ctx, h.Deps, roomID, &messages.Forget{By: requester(r)})
	return nil, err
}

func (h *rooms) joinedRooms(r *api.Request) (any, error) {
	joined, err := reader.JoinedRooms(r.Ctx, h.Store, r.User())
	if err != nil {
		return nil, err
	}
	return map[string]any{"joined_rooms": joined}, nil
}
