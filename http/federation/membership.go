package federation

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation/entry"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
)

var put = []string{http.MethodPut}

const v2 = "/_matrix/federation/v2"

// MembershipOptions are what the handshakes need besides Deps.
type MembershipOptions struct {
	Verifier   *verify.Verifier
	Policy     *policy.Servers
	Key        signing.Key // with which this server signs invites
	Handshakes *entry.Handshakes
}

// memberships takes users of other servers into rooms and out of them, and takes their invites.
type memberships struct {
	Deps
	MembershipOptions
}

// Memberships are the endpoints of the server-server API, "Joining Rooms", "Knocking upon a room", "Inviting to a room", "Leaving
// Rooms (Rejecting Invites)" and "Third-party invites", for the server that is asked.
func Memberships(d Deps, o MembershipOptions) []api.Endpoint {
	h := &memberships{d, o}
	template := func(path string, action messages.ChangeMembership_Action) api.Endpoint {
		return api.Endpoint{Methods: get, Path: v1 + path + "/{roomId}/{userId}", Auth: api.Signed, Limit: api.LimitFederation,
			Handler: func(r *api.Request) (any, error) { return h.template(r, action) }}
	}
	signed := func(path string, handler api.Handler) api.Endpoint {
		return api.Endpoint{Methods: put, Path: path, Auth: api.Signed, Limit: api.LimitFederation, Handler: handler}
	}
	invite := func(version string, handler api.Handler) api.Endpoint {
		e := signed(version+"/invite/{roomId}/{eventId}", handler)
		e.MaxBody = largestInvite
		return e
	}
	return []api.Endpoint{
		template("/make_join", messages.ChangeMembership_JOIN),
		template("/make_knock", messages.ChangeMembership_KNOCK),
		template("/make_leave", messages.ChangeMembership_LEAVE),
		signed(v1+"/send_join/{roomId}/{eventId}", h.sendJoinV1),
		signed(v2+"/send_join/{roomId}/{eventId}", h.sendJoin),
		signed(v1+"/send_knock/{roomId}/{eventId}", h.sendKnock),
		signed(v1+"/send_leave/{roomId}/{eventId}", h.sendLeaveV1),
		signed(v2+"/send_leave/{roomId}/{eventId}", h.sendLeave),
		invite(v1, h.inviteV1),
		invite(v2, h.inviteV2),
		signed(v1+"/exchange_third_party_invite/{roomId}", h.exchangeThirdPartyInvite),
	}
}

// room gives the room of the path, which must be well formed and not keep the asking server out.
func (h *memberships) room(r *api.Request) (string, error) {
	roomID := r.Vars["roomId"]
	if !id.ValidRoomID(roomID) {
		return "", mxerr.InvalidParam("%.255q is no room id", roomID)
	}
	return roomID, Admitted(r.Ctx, h.Deps, roomID, r.Origin)
}

// Admitted refuses with 403 M_FORBIDDEN servers that the room keeps out (server-server API, "Server Access Control Lists").
func Admitted(ctx context.Context, d Deps, roomID, origin string) error {
	acl, err := d.Reader.ServerACL(ctx, roomID)
	if err == nil && acl != nil && !acl.Allows(origin) {
		err = mxerr.Forbidden("the room %s keeps the server %s out", roomID, origin)
	}
	return err
}

// template makes the event that the other server completes: make_join, make_knock and make_leave.
func (h *memberships) template(r *api.Request, action messages.ChangeMembership_Action) (any, error) {
	userID := r.Vars["userId"]
	if !id.ValidUser(userID) {
		return nil, mxerr.InvalidParam("%.255q is no user id", userID)
	}
	if id.ServerOf(userID) != r.Origin {
		return nil, mxerr.Forbidden("%s is not a user of %s", userID, r.Origin)
	}
	roomID, err := h.room(r)
	if err != nil {
		return nil, err
	}
	request := &messages.MakeMembership{Action: action, UserId: userID}
	if action != messages.ChangeMembership_LEAVE {
		if request.Versions = r.Query()["ver"]; len(request.Versions) == 0 {
			request.Versions = []string{"1"} // the default of the parameter
		}
	}
	made, err := askRoom[*messages.MembershipTemplate](r.Ctx, h.Deps, roomID, request)
	if err != nil {
		return nil, err
	}
	event := map[string]jsontext.Value{}
	if err := json.Unmarshal(made.Event, &event); err != nil {
		return nil, err
	}
	if event["origin"], err = jsontext.AppendQuote(nil, h.ServerName); err != nil { // the resident server, which templates name
		return nil, err
	}
	return map[string]any{"room_version": made.Version, "event": event}, nil
}

// completed takes the event that the other server has made of a template: it must be what the template said, signed by the user's server.
func (h *memberships) completed(r *api.Request, membership string, action messages.ChangeMembership_Action) (*messages.MembershipSent, error) {
	roomID, err := h.room(r)
	if err != nil {
		return nil, err
	}
	version, err := h.Reader.Version(r.Ctx, roomID)
	if err != nil {
		return nil, err
	}
	raw, err := r.Object()
	if err != nil {
		return nil, err
	}
	check := h.Verifier.PDU
	if version.Restricted { // a user of this server may authorise the join, which it signs then
		check = func(ctx context.Context, raw []byte, version *roomversion.Version) (*event.Event, error) {
			return h.Verifier.Draft(ctx, raw, version, h.ServerName)
		}
	}
	e, err := check(r.Ctx, raw, version)
	if err != nil {
		return nil, err
	}
	if err := h.isMembership(r, e, roomID, membership); err != nil {
		return nil, err
	}
	if stateKey, _ := e.StateKey(); stateKey != e.Sender() {
		return nil, mxerr.InvalidParam("the event's state_key must be its sender")
	}
	if e, err = h.Policy.Signed(r.Ctx, roomID, e); err != nil {
		return nil, err
	}
	return askRoom[*messages.MembershipSent](r.Ctx, h.Deps, roomID, &messages.SendMembership{Origin: r.Origin, Action: action, Pdu: pdus.Message(e)})
}

// isMembership refuses with 400 M_INVALID_PARAM an event that is not the member event which the path and the endpoint say, sent by a user
// of the asking server.
func (h *memberships) isMembership(r *api.Request, e *event.Event, roomID, membership string) error {
	switch {
	case e.Type() != "m.room.member" || !e.IsState():
		return mxerr.InvalidParam("the event must be an m.room.member event")
	case e.Membership() != membership:
		return mxerr.InvalidParam("the event's membership must be %s", membership)
	case e.RoomID() != roomID:
		return mxerr.InvalidParam("the event is of another room than %s", roomID)
	case id.ServerOf(e.Sender()) != r.Origin:
		return mxerr.InvalidParam("the event's sender is not a user of %s", r.Origin)
	case e.ID() != r.Vars["eventId"]:
		return mxerr.InvalidParam("the event's id is %s, not %.255s", e.ID(), r.Vars["eventId"])
	case !e.HashOK():
		return mxerr.InvalidParam("the event's content hash is wrong")
	}
	return nil
}

func (h *memberships) sendLeave(r *api.Request) (any, error) {
	_, err := h.completed(r, "leave", messages.ChangeMembership_LEAVE)
	return nil, err
}

// sendLeaveV1 is the older endpoint, which the specification has given up and servers still use.
func (h *memberships) sendLeaveV1(r *api.Request) (any, error) {
	_, err := h.completed(r, "leave", messages.ChangeMembership_LEAVE)
	return []any{http.StatusOK, struct{}{}}, err
}

func (h *memberships) sendKnock(r *api.Request) (any, error) {
	if _, err := h.completed(r, "knock", messages.ChangeMembership_KNOCK); err != nil {
		return nil, err
	}
	state, err := h.Reader.Shown(r.Ctx, r.Vars["roomId"])
	if err != nil {
		return nil, err
	}
	return map[string][]jsontext.Value{"knock_room_state": state}, nil
}

// askRoom asks the actor of a room.
func askRoom[A proto.Message](ctx context.Context, d Deps, roomID string, request proto.Message) (A, error) {
	return cluster.Ask[A](ctx, d.Caller, cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, request)
}
