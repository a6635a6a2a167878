package federation

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation/entry"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// largestInvite bounds an invite with the state that is shown of its room.
const largestInvite = 2 << 20

// inviteV2 takes an invite of a user of this server.
func (h *memberships) inviteV2(r *api.Request) (any, error) {
	var body struct {
		RoomVersion *string          `json:"room_version"`
		Event       jsontext.Value   `json:"event"`
		State       []jsontext.Value `json:"invite_room_state"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.RoomVersion == nil || body.Event == nil {
		return nil, mxerr.MissingParam("room_version and event are required")
	}
	signed, err := h.invited(r, *body.RoomVersion, body.Event, body.State)
	if err != nil {
		return nil, err
	}
	return map[string]jsontext.Value{"event": signed}, nil
}

// inviteV1 is the older endpoint, for room versions 1 and 2, whose events have the same format. What is shown of the room stands in the
// event's unsigned part, and the answer is a pair of status and body.
func (h *memberships) inviteV1(r *api.Request) (any, error) {
	raw, err := r.Object()
	if err != nil {
		return nil, err
	}
	var body struct {
		Unsigned struct {
			State []jsontext.Value `json:"invite_room_state"`
		} `json:"unsigned"`
	}
	if err := api.DecodeObject(raw, &body); err != nil {
		return nil, err
	}
	signed, err := h.invited(r, "1", raw, body.Unsigned.State)
	if err != nil {
		return nil, err
	}
	return []any{200, map[string]jsontext.Value{"event": signed}}, nil
}

// invited checks an invite as the specification wants, signs it, and has it kept before the other server hears that it was taken.
func (h *memberships) invited(r *api.Request, versionID string, raw jsontext.Value, shown []jsontext.Value) ([]byte, error) {
	roomID, err := h.room(r)
	if err != nil {
		return nil, err
	}
	version, ok := roomversion.Get(versionID)
	if !ok {
		return nil, mxerr.New(400, "M_INCOMPATIBLE_ROOM_VERSION", "this server does not know the room version %.64q", versionID).With("room_version", versionID)
	}
	e, err := h.Verifier.PDU(r.Ctx, raw, version)
	if err != nil {
		return nil, invalid(err)
	}
	if err := h.isMembership(r, e, roomID, "invite"); err != nil {
		return nil, err
	}
	target, _ := e.StateKey()
	if !id.ValidUser(target) || id.ServerOf(target) != h.ServerName {
		return nil, mxerr.InvalidParam("%.255q is not a user of %s", target, h.ServerName)
	}
	if err := h.checkShown(r, e, version, shown); err != nil {
		return nil, err
	}
	stripped, err := entry.Stripped(shown)
	if err != nil {
		return nil, mxerr.InvalidParam("invite_room_state: %v", err)
	}
	if err := h.Reader.Enterable(r.Ctx, roomID, target); err != nil {
		return nil, err
	}
	if err := h.Reader.Invitable(r.Ctx, target, e.Sender()); err != nil {
		return nil, err
	}
	signed, err := e.Sign(h.ServerName, h.Key)
	if err != nil {
		return nil, err
	}
	_, err = askRoom[*messages.EventSent](r.Ctx, h.Deps, roomID, &messages.SetOutOfBand{Version: version.ID,
		Pdu: &messages.Pdu{EventId: signed.ID(), Json: signed.JSON()}, StrippedState: stripped})
	return signed.JSON(), err
}

// checkShown wants the create event among what is shown of the room, signed and of that room, in the room versions whose ids rest on it
// (PUT /invite/{roomId}/{eventId}: "MAY apply to room versions 1 through 11 and SHOULD apply to all other"). What else comes as a
// PDU must be good as well; other servers still show the rest in the stripped form, which nobody can verify in any version.
func (h *memberships) checkShown(r *api.Request, invite *event.Event, version *roomversion.Version, shown []jsontext.Value) error {
	if !version.RoomIDFromCreate {
		return nil
	}
	if len(shown) > entry.MaxShown {
		return mxerr.InvalidParam("invite_room_state has more than %d events", entry.MaxShown)
	}
	var raws [][]byte
	for _, raw := range shown {
		if gjson.GetBytes(raw, "signatures").Exists() {
			raws = append(raws, raw)
		}
	}
	created := false
	for _, result := range h.Verifier.PDUs(r.Ctx, raws, version) {
		switch e := result.Event; {
		case result.Err != nil:
			return invalid(result.Err)
		case e.RoomID() != invite.RoomID():
			return mxerr.InvalidParam("%s of invite_room_state is of another room", e.ID())
		case e.Type() == "m.room.create":
			created = true
		}
	}
	if !created {
		return mxerr.InvalidParam("invite_room_state lacks the m.room.create event in the format of the room version")
	}
	return nil
}

// invalid is the refusal of an event in a request about it (400 M_INVALID_PARAM), whatever is wrong with the event.
func invalid(err error) error {
	if known := mxerr.From(err); known.Status < 500 {
		return mxerr.InvalidParam("%s", known.Message)
	}
	return err
}

// exchangeThirdPartyInvite makes an invite of one by address, whose address turned out to be that of a user of the asking server
// (server-server API, "Third-party invites"). The room decides whether the invite by address allows it.
func (h *memberships) exchangeThirdPartyInvite(r *api.Request) (any, error) {
	var body struct {
		Type     *string `json:"type"`
		RoomID   *string `json:"room_id"`
		Sender   *string `json:"sender"`
		StateKey *string `json:"state_key"`
		Content  struct {
			Membership string         `json:"membership"`
			ThirdParty jsontext.Value `json:"third_party_invite"`
		} `json:"content"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	for name, value := range map[string]*string{"type": body.Type, "room_id": body.RoomID, "sender": body.Sender, "state_key": body.StateKey} {
		if value == nil {
			return nil, mxerr.MissingParam("%s is required", name)
		}
	}
	roomID, err := h.room(r)
	if err != nil {
		return nil, err
	}
	switch {
	case *body.Type != "m.room.member" || body.Content.Membership != "invite":
		return nil, mxerr.InvalidParam("the event must be an m.room.member event whose membership is invite")
	case *body.RoomID != roomID:
		return nil, mxerr.InvalidParam("the event is of another room than %s", roomID)
	case body.Content.ThirdParty.Kind() != '{':
		return nil, mxerr.InvalidParam("content.third_party_invite must be an object")
	case !id.ValidUser(*body.Sender) || id.ServerOf(*body.Sender) != h.ServerName:
		return nil, mxerr.InvalidParam("%.255q is not a user of %s", *body.Sender, h.ServerName)
	case !id.ValidUser(*body.StateKey) || id.ServerOf(*body.StateKey) != r.Origin:
		return nil, mxerr.InvalidParam("%.255q is not a user of %s", *body.StateKey, r.Origin)
	}
	_, err = h.Handshakes.Invite(r.Ctx, roomID, &messages.ChangeMembership{By: &messages.Requester{UserId: *body.Sender},
		Action: messages.ChangeMembership_INVITE, Target: *body.StateKey,
		Content: slices.Concat([]byte(`{"third_party_invite":`), body.Content.ThirdParty, []byte(`}`))})
	return nil, err
}
