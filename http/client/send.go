package client

import (
	"context"
	"math"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (h *rooms) sending() []api.Endpoint {
	return []api.Endpoint{
		{Methods: put, Path: aRoom + "/send/{eventType}/{txnId}", R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.send},
		{Methods: put, Path: aRoom + "/redact/{eventId}/{txnId}", R0: true, Auth: api.User, Limit: api.LimitMessage, WhileSuspended: true, Handler: h.redact},
		// The oldest clients send without a transaction id. It is no longer specified, but still what many a script does.
		{Methods: post, Path: aRoom + "/send/{eventType}", R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.send},
		{Methods: post, Path: aRoom + "/redact/{eventId}", R0: true, Auth: api.User, Limit: api.LimitMessage, WhileSuspended: true, Handler: h.redact},
		{Methods: put, Path: aRoom + "/state/{eventType}", Also: []string{aRoom + "/state/{eventType}/", aRoom + "/state/{eventType}/{stateKey}"},
			R0: true, Auth: api.User, Limit: api.LimitMessage, Handler: h.putState},
	}
}

// sent answers with the event's id. ts is the event's time in ms, 0 for now.
func (h *rooms) sent(r *api.Request, roomID string, event *messages.Proposal, txnID string, ts int64) (any, error) {
	event.Sender = r.User()
	req := &messages.SendEvent{By: requester(r), Event: event, TxnId: txnID, OriginServerTs: ts}
	if txnID != "" {
		eventID, err := h.repeated(r, roomID, req)
		if eventID != "" || err != nil {
			return map[string]string{"event_id": eventID}, err
		}
	}
	answer, err := AskRoom[*messages.EventSent](r.Ctx, h.Deps, roomID, req)
	if err != nil {
		return nil, err
	}
	return map[string]string{"event_id": answer.EventId}, nil
}

// repeated gives the event that the transaction made before, "" if there is none: the store knows every transaction,
// however old, and the room those that are on their way there. A device that is new, though called like one before, has
// done nothing yet (client-server API, "Transaction identifiers").
func (h *rooms) repeated(r *api.Request, roomID string, req *messages.SendEvent) (string, error) {
	req.DeviceSince = r.Session.DeviceSince
	done, ok, err := schema.RoomTransactions.Get(r.Ctx, h.Store, schema.RoomTransaction{
		RoomID: roomID, UserID: req.By.UserId, DeviceID: req.By.DeviceId, Type: req.Event.Type, Redacts: req.Event.Redacts, TxnID: req.TxnId})
	if !ok || err != nil || done.TS < req.DeviceSince {
		return "", err
	}
	return done.EventID, nil
}

// stickyMS is for how long the event of a request sticks, in ms (MSC4354); 0: not at all.
func stickyMS(r *api.Request) (int64, error) {
	const param = "org.matrix.msc4354.sticky_duration_ms"
	ms, err := r.Int(param, 0, 0, math.MaxInt64)
	if err == nil && ms > event.MaxStickyMS {
		err = mxerr.InvalidParam("an event sticks for at most %d ms", event.MaxStickyMS)
	}
	return ms, err
}

func (h *rooms) send(r *api.Request) (any, error) {
	content, err := r.Object()
	if err != nil {
		return nil, err
	}
	if asksDelay(r) {
		return h.sendLater(r, nil, content)
	}
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	sticky, err := stickyMS(r)
	if err != nil {
		return nil, err
	}
	proposal := &messages.Proposal{Type: r.Vars["eventType"], Content: content, StickyMs: sticky}
	if proposal.Type == "m.room.redaction" {
		proposal.Redacts = gjson.GetBytes(content, "redacts").Str
		if proposal.Redacts == "" {
			return nil, mxerr.BadJSON("a redaction needs redacts, the id of the event to redact")
		}
	}
	ts, err := massagedTS(r)
	if err != nil {
		return nil, err
	}
	return h.sent(r, roomID, proposal, r.Vars["txnId"], ts)
}

func (h *rooms) redact(r *api.Request) (any, error) {
	var body struct {
		Reason *string `json:"reason,omitzero"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	if !id.ValidEventID(r.Vars["eventId"]) {
		return nil, mxerr.InvalidParam("%.255q is no event id", r.Vars["eventId"])
	}
	if r.Session.Suspended {
		if err := h.onlyOwn(r, roomID, r.Vars["eventId"]); err != nil {
			return nil, err
		}
	}
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return h.sent(r, roomID, &messages.Proposal{Type: "m.room.redaction", Content: content, Redacts: r.Vars["eventId"]}, r.Vars["txnId"], 0)
}

// onlyOwn refuses events of others, and those that are not known, to suspended users, who may redact their own (client-server
// API, "Account suspension").
func (h *rooms) onlyOwn(r *api.Request, roomID, eventID string) error {
	event, ok, err := h.Reader.Event(r.Ctx, roomID, eventID)
	if err != nil {
		return err
	}
	if !ok || event.Sender != r.User() {
		return mxerr.New(http.StatusForbidden, "M_USER_SUSPENDED", "this account has been suspended and can only redact its own events")
	}
	return nil
}

// putState sends a state event. Memberships keep their own rules, whatever the endpoint.
func (h *rooms) putState(r *api.Request) (any, error) {
	content, err := r.Object()
	if err != nil {
		return nil, err
	}
	typ, stateKey := r.Vars["eventType"], r.Vars["stateKey"]
	if asksDelay(r) {
		return h.sendLater(r, &stateKey, content)
	}
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	ts, err := massagedTS(r)
	if err != nil {
		return nil, err
	}
	sticky, err := stickyMS(r)
	if err != nil {
		return nil, err
	}
	switch typ {
	case "m.room.canonical_alias":
		if err := h.checkCanonicalAlias(r.Ctx, roomID, content); err != nil {
			return nil, err
		}
	case "m.room.member":
		return h.putMember(r, roomID, stateKey, content, ts)
	}
	answer, err := h.sent(r, roomID, &messages.Proposal{Type: typ, StateKey: &stateKey, Content: content, StickyMs: sticky}, "", ts)
	if replacement := gjson.GetBytes(content, "replacement_room").Str; err == nil && typ == "m.room.tombstone" && id.ValidRoomID(replacement) {
		h.moveSettings(r.Ctx, r.User(), replacement) // a room that was replaced by hand
	}
	return answer, err
}

// putMember turns a member event into the change of membership that it is.
func (h *rooms) putMember(r *api.Request, roomID, target string, content jsontext.Value, ts int64) (any, error) {
	if !id.ValidUser(target) {
		return nil, mxerr.InvalidParam("the state key of m.room.member must be a user id")
	}
	switch gjson.GetBytes(content, "membership").Str {
	case "join", "knock":
		if err := r.Take(api.LimitJoin); err != nil {
			return nil, err
		}
		if err := h.Reader.Enterable(r.Ctx, roomID, r.User()); err != nil {
			return nil, err
		}
	case "leave":
		if target == r.User() {
			if err := h.mayReject(r, roomID); err != nil {
				return nil, err
			}
		}
	case "invite":
		if err := r.Take(api.LimitInvite); err != nil {
			return nil, err
		}
		if err := h.invitable(r.Ctx, roomID, target, r.User()); err != nil {
			return nil, err
		}
	}
	if sent, ok, err := h.elsewhereMember(r, roomID, target, content); ok || err != nil {
		return sent, err
	}
	return h.sent(r, roomID, &messages.Proposal{Type: "m.room.member", StateKey: &target, Content: content}, "", ts)
}

// checkCanonicalAlias wants every alias that is new in the event to point to the room (client-server API, m.room.canonical_alias).
func (h *rooms) checkCanonicalAlias(ctx context.Context, roomID string, content jsontext.Value) error {
	old := map[string]bool{}
	current, ok, err := h.Reader.Current(ctx, roomID, "m.room.canonical_alias", "")
	if err != nil {
		return err
	}
	if ok {
		for _, alias := range canonicalAliases([]byte(gjson.GetBytes(current.JSON, "content").Raw)) {
			old[alias] = true
		}
	}
	if alt := gjson.GetBytes(content, "alt_aliases"); alt.Exists() && alt.Type != gjson.Null && !alt.IsArray() {
		return mxerr.InvalidParam("alt_aliases is a list of aliases")
	}
	for _, alias := range canonicalAliases(content) {
		if old[alias] {
			continue
		}
		if _, _, err := id.ParseAlias(alias); err != nil {
			return mxerr.InvalidParam("%.255q is no room alias: %v", alias, err)
		}
		row, ok, err := schema.Aliases.Get(ctx, h.Store, schema.Alias{Alias: alias})
		if err != nil {
			return err
		}
		if !ok || row.RoomID != roomID {
			return mxerr.New(400, "M_BAD_ALIAS", "the alias %s does not point to this room", alias)
		}
	}
	return nil
}

// canonicalAliases are the aliases in the content; what is no string is given as its JSON, which is no alias.
func canonicalAliases(content []byte) []string {
	var aliases []string
	if a := gjson.GetBytes(content, "alias"); a.String() != "" { // an empty one, or null, says that there is none
		aliases = append(aliases, a.String())
	}
	gjson.GetBytes(content, "alt_aliases").ForEach(func(_, a gjson.Result) bool {
		aliases = append(aliases, a.String())
		return true
	})
	return aliases
}
