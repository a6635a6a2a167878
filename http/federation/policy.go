package federation

import (
	"context"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
)

type policyServer struct {
	Deps
	verifier *verify.Verifier
}

// PolicyServer signs events of rooms that have chosen this server as their policy server (POST /_matrix/policy/v1/sign).
func PolicyServer(d Deps, v *verify.Verifier) api.Endpoint {
	h := &policyServer{d, v}
	return api.Endpoint{Methods: post, Path: "/_matrix/policy/v1/sign", Auth: api.Signed, Limit: api.LimitFederation, Handler: h.sign}
}

// sign refuses with 404 M_NOT_FOUND for rooms that are not known or have another policy server, with 403 M_FORBIDDEN servers that the room
// keeps out, and with 400 what is no event (M_BAD_JSON) or is not vouched for (M_FORBIDDEN).
func (h *policyServer) sign(r *api.Request) (any, error) {
	raw, err := r.Object()
	if err != nil {
		return nil, err
	}
	roomID := gjson.GetBytes(raw, "room_id").Str
	if !id.ValidRoomID(roomID) {
		return nil, mxerr.BadJSON("the event names no room")
	}
	version, err := h.Reader.Version(r.Ctx, roomID)
	if err == nil {
		err = Admitted(r.Ctx, h.Deps, roomID, r.Origin)
	}
	if err != nil {
		return nil, err
	}
	e, err := event.Parse(raw, version)
	if err != nil {
		return nil, mxerr.BadJSON("this is no event of room version %s: %v", version.ID, err)
	}
	if err := h.genuine(r.Ctx, r.Origin, e); err != nil {
		return nil, err
	}
	signature, err := policy.Vouch(r.Ctx, h.Caller, e)
	if err != nil {
		return nil, err
	}
	return map[string]map[string]string{h.ServerName: {room.PolicyKeyID: signature}}, nil
}

// genuine refuses events that are not what their sender's server has signed. The server that asks may have its own signature to come, when it lets
// a user of another server in.
func (h *policyServer) genuine(ctx context.Context, origin string, e *event.Event) error {
	if !e.HashOK() {
		return mxerr.BadJSON("the event's content hash is wrong")
	}
	yet := ""
	if origin != id.ServerOf(e.Sender()) {
		yet = origin
	}
	_, err := h.verifier.Draft(ctx, e.JSON(), e.Version(), yet)
	switch {
	case verify.Later(err):
		return mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "%s", mxerr.From(err).Message)
	case err != nil && mxerr.From(err).Status == http.StatusForbidden:
		return mxerr.New(http.StatusBadRequest, "M_FORBIDDEN", "%s", mxerr.From(err).Message)
	}
	return err
}
