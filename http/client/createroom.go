package client

import (
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
)

// createBody bounds a createRoom request, whose initial state may be large, in bytes.
const createBody = 2 << 20

func (h *rooms) creation() []api.Endpoint {
	return []api.Endpoint{
		{Methods: post, Path: v3 + "/createRoom", R0: true, Auth: api.User, Limit: api.LimitCreateRoom, MaxBody: createBody, Handler: h.createRoom},
		{Methods: post, Path: aRoom + "/upgrade", R0: true, Auth: api.User, Limit: api.LimitCreateRoom, Handler: h.upgrade},
	}
}

func (h *rooms) createRoom(r *api.Request) (any, error) {
	var body room.CreateRequest
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	for _, userID := range body.Invite {
		if err := h.invitable(r.Ctx, "", userID, r.User()); err != nil {
			return nil, err
		}
	}
	if body.RoomAliasName != "" {
		if err := h.mayAlias(r, "#"+body.RoomAliasName+":"+h.ServerName); err != nil {
			return nil, err
		}
	}
	roomID, err := h.Creator.Create(r.Ctx, requester(r), body)
	if err != nil {
		return nil, err
	}
	h.moveSettings(r.Ctx, r.User(), roomID)
	return map[string]string{"room_id": roomID}, nil
}

func (h *rooms) upgrade(r *api.Request) (any, error) {
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	var body room.UpgradeRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.NewVersion == "" {
		return nil, mxerr.MissingParam("new_version is required")
	}
	replacement, err := h.Creator.Upgrade(r.Ctx, requester(r), roomID, body)
	if err != nil {
		return nil, err
	}
	h.moveSettings(r.Ctx, r.User(), replacement)
	return map[string]string{"replacement_room": replacement}, nil
}
