package client

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation/entry"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Elsewhere takes users of this server into rooms of other servers and out again, and invites users of other servers. Errors are *mxerr.Error.
type Elsewhere interface {
	Join(ctx context.Context, r entry.Request) (*messages.EventSent, error)
	Knock(ctx context.Context, r entry.Request) (*messages.EventSent, error)
	Leave(ctx context.Context, r entry.Request) (*messages.EventSent, error)
	Invite(ctx context.Context, roomID string, change *messages.ChangeMembership) (*messages.EventSent, error)
}

// entrance is a room to enter, and servers that may be in it.
type entrance struct {
	roomID string
	via    []string
}

// viaOf are the servers that the request names.
func viaOf(r *api.Request) []string {
	query := r.Query()
	return slices.DeleteFunc(slices.Concat(query["via"], query["server_name"]), func(s string) bool { return !id.ValidServerName(s) })
}

// target resolves the room that a path names by id, or where the endpoint says so, by alias.
func (h *rooms) target(r *api.Request) (entrance, error) {
	to := entrance{via: viaOf(r)}
	given, either := r.Vars["roomIdOrAlias"]
	switch {
	case !either:
		var err error
		to.roomID, err = roomID(r)
		return to, err
	case strings.HasPrefix(given, "#"):
		roomID, servers, err := h.resolve(r, given)
		to.roomID, to.via = roomID, append(to.via, servers...)
		return to, err
	case !id.ValidRoomID(given):
		return to, mxerr.InvalidParam("%.255q is neither a room id nor an alias", given)
	}
	to.roomID = given
	return to, nil
}

// enterRoom joins a room or knocks upon it: here when this server is in it, or else through a server that is. What is further given goes
// into the member event.
func (h *rooms) enterRoom(r *api.Request, to entrance, action messages.ChangeMembership_Action, reason string,
	further map[string]jsontext.Value) (*messages.EventSent, error) {
	if err := h.Reader.Enterable(r.Ctx, to.roomID, r.User()); err != nil {
		return nil, err
	}
	content, err := h.entering(r.Ctx, r.User(), reason, further)
	if err != nil {
		return nil, err
	}
	resident, err := h.resident(r, to.roomID)
	if err != nil {
		return nil, err
	}
	if resident {
		if err := h.known(r.Ctx, to.roomID); err != nil {
			return nil, err
		}
		sent, err := AskRoom[*messages.EventSent](r.Ctx, h.Deps, to.roomID, &messages.ChangeMembership{
			By: requester(r), Action: action, Target: r.User(), Content: content})
		if h.Elsewhere == nil || action != messages.ChangeMembership_JOIN || !elsewhereMay(err) {
			return sent, err
		}
	}
	servers, err := h.serversOf(r, to)
	if err != nil {
		return nil, err
	}
	request := entry.Request{By: requester(r), RoomID: to.roomID, Content: content, Servers: servers}
	if action == messages.ChangeMembership_KNOCK {
		return h.Elsewhere.Knock(r.Ctx, request)
	}
	return h.Elsewhere.Join(r.Ctx, request)
}

// resident reports whether this server is in the room, so that its actor decides. Without federation it is in all there are.
func (h *rooms) resident(r *api.Request, roomID string) (bool, error) {
	if h.Elsewhere == nil {
		return true, nil
	}
	return h.Reader.Resident(r.Ctx, roomID, h.ServerName)
}

// elsewhereMay reports whether another server may let the user in where this one cannot (server-server API, "Restricted rooms").
func elsewhereMay(err error) bool {
	if err == nil {
		return false
	}
	code := mxerr.From(err).Code
	return code == "M_UNABLE_TO_AUTHORISE_JOIN" || code == "M_UNABLE_TO_GRANT_JOIN"
}

// serversOf are the servers to ask about a room: those that the client names, that of who has invited the user, and those that were in
// it when this server was.
func (h *rooms) serversOf(r *api.Request, to entrance) ([]string, error) {
	servers := to.via
	member, _, err := schema.Memberships.Get(r.Ctx, h.Store, schema.Membership{UserID: r.User(), RoomID: to.roomID})
	if err != nil {
		return nil, err
	}
	if member.Membership == "invite" {
		servers = append(servers, id.ServerOf(member.Sender))
	}
	known, err := h.Reader.Servers(r.Ctx, to.roomID)
	return append(servers, known...), err
}

// entering is the content of the member event with which a local user comes in, besides the membership.
func (h *rooms) entering(ctx context.Context, userID, reason string, further map[string]jsontext.Value) ([]byte, error) {
	content, err := MemberContent(ctx, h.Deps, userID)
	if err != nil || reason == "" && len(further) == 0 {
		return content, err
	}
	all := map[string]jsontext.Value{}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &all); err != nil {
			return nil, err
		}
	}
	maps.Copy(all, further)
	if reason != "" {
		if all["reason"], err = jsontext.AppendQuote(nil, reason); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all, json.Deterministic(true))
}

// inviteElsewhere invites a user of another server, once it is known how that user stands in the room.
func (h *rooms) inviteElsewhere(ctx context.Context, roomID string, change *messages.ChangeMembership) (*messages.EventSent, error) {
	return whole(ctx, h.Deps, roomID, func() (*messages.EventSent, error) { return h.Elsewhere.Invite(ctx, roomID, change) })
}

// leaveRoom ends the user's membership: here when this server is in the room, or else through a server that is, for invites and knocks.
func (h *rooms) leaveRoom(r *api.Request, roomID, reason string) (*messages.EventSent, error) {
	resident, err := h.resident(r, roomID)
	if err != nil {
		return nil, err
	}
	if resident {
		return AskRoom[*messages.EventSent](r.Ctx, h.Deps, roomID, &messages.ChangeMembership{
			By: requester(r), Action: messages.ChangeMembership_LEAVE, Target: r.User(), Reason: reason})
	}
	servers, err := h.Reader.Servers(r.Ctx, roomID)
	if err != nil {
		return nil, err
	}
	var content []byte
	if reason != "" {
		if content, err = json.Marshal(map[string]string{"reason": reason}); err != nil {
			return nil, err
		}
	}
	return h.Elsewhere.Leave(r.Ctx, entry.Request{By: requester(r), RoomID: roomID, Content: content, Servers: servers})
}

// elsewhereMember carries out a member event that was sent as a state event, when it concerns another server; ok is false when it does not.
func (h *rooms) elsewhereMember(r *api.Request, roomID, target string, content jsontext.Value) (answer any, ok bool, err error) {
	resident, err := h.resident(r, roomID)
	if err != nil {
		return nil, false, err
	}
	membership, reason := gjson.GetBytes(content, "membership").Str, gjson.GetBytes(content, "reason").Str
	var sent *messages.EventSent
	switch {
	case resident && membership == "invite" && id.ServerOf(target) != h.ServerName:
		sent, err = h.inviteElsewhere(r.Ctx, roomID, &messages.ChangeMembership{
			By: requester(r), Action: messages.ChangeMembership_INVITE, Target: target, Content: content})
	case resident || target != r.User():
		return nil, false, nil
	case membership == "join":
		var further map[string]jsontext.Value
		if err := json.Unmarshal(content, &further); err != nil {
			return nil, true, err
		}
		sent, err = h.enterRoom(r, entrance{roomID: roomID}, messages.ChangeMembership_JOIN, reason, further)
	case membership == "leave":
		sent, err = h.leaveRoom(r, roomID, reason)
	default:
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	return map[string]string{"event_id": sent.EventId}, true, nil
}
