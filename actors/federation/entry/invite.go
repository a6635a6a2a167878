package entry

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
)

// Invite invites a user of another server into a room of ours (server-server API, "Inviting to a room"): the other server signs the
// invite before the room has it, so that an invite in the room is one that its user knows of. Errors are *mxerr.Error: the
// room's or the other server's refusal, 502 M_UNKNOWN when the other server cannot be reached.
func (h *Handshakes) Invite(ctx context.Context, roomID string, change *messages.ChangeMembership) (*messages.EventSent, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	built, err := askRoom[*messages.EventBuilt](ctx, h, roomID, &messages.BuildEvent{Membership: change})
	if err != nil {
		return nil, err
	}
	version, ok := roomversion.Get(built.Version)
	if !ok {
		return nil, mxerr.Unknown("the room has the unknown version %q", built.Version)
	}
	e, err := event.FromStored(built.Pdu.Json, built.Pdu.EventId, version)
	if err == nil {
		e, err = h.d.Policy.Signed(ctx, roomID, e)
	}
	if err != nil {
		return nil, err
	}
	built.Pdu = pdus.Message(e)
	server := id.ServerOf(change.Target)
	shown, err := h.d.Reader.Shown(ctx, roomID)
	if err != nil {
		return nil, err
	}
	raw, err := h.offer(ctx, server, roomID, built, shown, version)
	if err != nil {
		return nil, unreachable(err, server)
	}
	invite, err := h.d.Verifier.PDU(ctx, raw, version)
	if err != nil {
		return nil, liar(server, "invite: %v", err)
	}
	if invite.ID() != built.Pdu.EventId || !invite.HashOK() {
		return nil, liar(server, "invite: %v", errOtherEvent)
	}
	if len(invite.Signatures()[server]) == 0 {
		return nil, liar(server, "invite: it did not sign")
	}
	if invite, err = h.d.Policy.Signed(ctx, roomID, invite); err != nil {
		return nil, err
	}
	answer, err := askRoom[*messages.PduResults](ctx, h, roomID, &messages.ReceivePdus{Origin: h.d.ServerName, Pdus: []*messages.Pdu{pdus.Message(invite)}})
	if err != nil {
		return nil, err
	}
	result := answer.Results[0]
	if result.Status != messages.PduResult_ACCEPTED && result.Status != messages.PduResult_KNOWN {
		return nil, mxerr.Forbidden("the room changed while %s was asked: %s", server, result.Reason)
	}
	return &messages.EventSent{EventId: result.EventId, Seq: result.Seq, Pos: answer.Pos}, nil
}

// offer sends the invite by the newest version of the endpoint that the other server knows.
func (h *Handshakes) offer(ctx context.Context, server, roomID string, built *messages.EventBuilt, shown []jsontext.Value, version *roomversion.Version) ([]byte, error) {
	body, err := json.Marshal(map[string]any{
		"room_version": quoted(version.ID), "event": jsontext.Value(built.Pdu.Json), "invite_room_state": shown,
	}, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	raw, err := h.d.Servers.Call(ctx, federation.Request{Destination: server, Method: http.MethodPut, Eager: true, Limit: smallAnswer,
		URI: sendURI("v2", "invite", roomID, built.Pdu.EventId), Body: body})
	if err == nil {
		var answer struct {
			Event jsontext.Value `json:"event"`
		}
		if err := json.Unmarshal(raw, &answer); err != nil || answer.Event == nil {
			return nil, liar(server, "invite: there is no event in it")
		}
		return answer.Event, nil
	}
	var refusal *federation.Error
	older := errors.As(err, &refusal) && (refusal.Status == http.StatusBadRequest || refusal.Status == http.StatusNotFound) || unknownEndpoint(err)
	if !older || version.EventIDFormat != roomversion.EventIDField {
		return nil, err
	}
	return h.offerV1(ctx, server, roomID, built, shown)
}

// offerV1 is for servers that know room versions 1 and 2 only.
func (h *Handshakes) offerV1(ctx context.Context, server, roomID string, built *messages.EventBuilt, shown []jsontext.Value) ([]byte, error) {
	e := map[string]jsontext.Value{}
	if err := json.Unmarshal(built.Pdu.Json, &e); err != nil {
		return nil, err
	}
	unsigned, err := json.Marshal(map[string][]jsontext.Value{"invite_room_state": shown})
	if err != nil {
		return nil, err
	}
	e["unsigned"] = unsigned
	body, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	raw, err := h.d.Servers.Call(ctx, federation.Request{Destination: server, Method: http.MethodPut, Eager: true, Limit: smallAnswer,
		URI: sendURI("v1", "invite", roomID, built.Pdu.EventId), Body: body})
	if err != nil {
		return nil, err
	}
	var pair []jsontext.Value // 200 and the answer
	var answer struct {
		Event jsontext.Value `json:"event"`
	}
	if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 || json.Unmarshal(pair[1], &answer) != nil || answer.Event == nil {
		return nil, liar(server, "invite: there is no event in it")
	}
	return answer.Event, nil
}

// unknownEndpoint reports whether the other server does not know the endpoint, as opposed to what was asked.
func unknownEndpoint(err error) bool {
	var e *federation.Error
	return errors.As(err, &e) && (e.Code == "M_UNRECOGNIZED" || e.Code == "" && (e.Status == http.StatusNotFound || e.Status == http.StatusBadRequest || e.Status == http.StatusMethodNotAllowed))
}

// unreachable is tell for a request that only one server can answer.
func unreachable(err error, server string) error {
	var own *mxerr.Error
	if errors.As(err, &own) {
		return err
	}
	var e *federation.Error
	if errors.As(err, &e) && forClients(e) {
		return passedOn(e)
	}
	return mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "%s could not be reached: %v", server, err)
}

// quoted is the text as JSON. It holds what this server chose itself.
func quoted(s string) jsontext.Value {
	raw, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return jsontext.Value(`""`)
	}
	return raw
}
