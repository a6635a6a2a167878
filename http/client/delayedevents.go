package client

import (
	"cmp"
	"crypto/rand"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	sender "github.com/matrixon/matrixon/actors/delayed"
	"github.com/matrixon/matrixon/actors/user/delayed"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// DelayedOptions say what users may schedule (MSC4140).
type DelayedOptions struct {
	Sender *sender.Sender
	// MaxDelay is the longest delay.
	MaxDelay time.Duration
	// MaxScheduled is how many events of one user may be scheduled at once; with 0 nobody may schedule any.
	MaxScheduled int
}

const (
	msc4140      = "/_matrix/client/unstable/org.matrix.msc4140"
	delayParam   = "org.matrix.msc4140.delay"
	largestEvent = 65_536 // bytes (client-server API, "Size limits")
)

// delayedEvents are the endpoints of delayed events. Those that change what is scheduled work without a token too: who knows the
// delay_id, which nobody can guess, may be a service that watches over a call on the user's behalf.
func (h *rooms) delayedEvents() []api.Endpoint {
	one := msc4140 + "/delayed_events/{delayId}"
	act := func(action string) api.Endpoint {
		return api.Endpoint{Methods: post, Path: one + "/" + action, Auth: api.Optional, WhileSuspended: true,
			Handler: func(r *api.Request) (any, error) { return h.manageDelayed(r, action) }}
	}
	return []api.Endpoint{
		{Methods: put, Path: msc4140 + "/rooms/{roomId}/delayed_event/{eventType}/{txnId}", Auth: api.User, Limit: api.LimitMessage, Handler: h.putDelayed},
		{Methods: get, Path: msc4140 + "/delayed_events", Auth: api.User, Limit: api.LimitRead, Handler: h.listDelayed},
		{Methods: get, Path: one, Auth: api.User, Limit: api.LimitRead, Handler: h.oneDelayed},
		act("send"), act("cancel"), act("restart"),
		{Methods: post, Path: one, Auth: api.Optional, WhileSuspended: true, Handler: h.manageDelayedByBody},
	}
}

// asksDelay reports whether a request to send an event asks for a delay, in the way of earlier versions of the proposal.
func asksDelay(r *api.Request) bool { return r.Query().Has(delayParam) }

// sendLater schedules the event of a request to /send or /state.
func (h *rooms) sendLater(r *api.Request, stateKey *string, content jsontext.Value) (any, error) {
	delay, err := r.Int(delayParam, 0, 1, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if delay == 0 {
		return nil, mxerr.InvalidParam("the query parameter %q must be an integer not below 1", delayParam)
	}
	if longest := h.Delayed.MaxDelay.Milliseconds(); delay > longest {
		// Clients that use this form shorten the delay when they are told so.
		return nil, mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "an event can be delayed by at most %d ms", longest).
			With("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED").With("org.matrix.msc4140.max_delay", longest)
	}
	return h.schedule(r, stateKey, content, delay)
}

func (h *rooms) putDelayed(r *api.Request) (any, error) {
	var body struct {
		DelayMS  *int64         `json:"delay_ms"`
		Delay    *int64         `json:"delay"` // as it was called before
		StateKey *string        `json:"state_key"`
		Content  jsontext.Value `json:"content"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.DelayMS == nil {
		body.DelayMS = body.Delay
	}
	switch {
	case body.DelayMS == nil:
		return nil, mxerr.MissingParam("delay_ms is required")
	case body.Content == nil:
		return nil, mxerr.MissingParam("content is required")
	case body.Content.Kind() != '{':
		return nil, mxerr.BadJSON("content must be an object")
	case *body.DelayMS < 1:
		return nil, mxerr.InvalidParam("delay_ms must be above 0")
	case *body.DelayMS > h.Delayed.MaxDelay.Milliseconds():
		return nil, mxerr.Forbidden("an event can be delayed by at most %d ms", h.Delayed.MaxDelay.Milliseconds())
	}
	return h.schedule(r, body.StateKey, body.Content, *body.DelayMS)
}

func (h *rooms) schedule(r *api.Request, stateKey *string, content jsontext.Value, delay int64) (any, error) {
	if h.Delayed.MaxScheduled == 0 {
		return nil, mxerr.Forbidden("this server takes no delayed events")
	}
	sticky, err := stickyMS(r)
	if err != nil {
		return nil, err
	}
	ts, err := massagedTS(r)
	if err != nil {
		return nil, err
	}
	roomID, err := h.member(r)
	if err != nil {
		return nil, err
	}
	if len(content) > largestEvent {
		return nil, mxerr.TooLarge("an event has at most %d bytes", largestEvent)
	}
	typ := r.Vars["eventType"]
	if typ == "m.room.redaction" && stateKey == nil && gjson.GetBytes(content, "redacts").Str == "" {
		return nil, mxerr.BadJSON("a redaction needs redacts, the id of the event to redact")
	}
	answer, err := AskUser[*messages.DelayedEventScheduled](r.Ctx, h.Deps, r.User(), &messages.ScheduleDelayedEvent{
		By: requester(r), DelayId: rand.Text(), RoomId: roomID, Type: typ, StateKey: stateKey, Content: content, DelayMs: delay, OriginServerTs: ts,
		TxnId: r.Vars["txnId"], MaxScheduled: int64(h.Delayed.MaxScheduled), Unlimited: r.Session.Unlimited, StickyMs: sticky,
	})
	if err != nil {
		return nil, err
	}
	return map[string]string{"delay_id": answer.DelayId}, nil
}

// manageDelayedByBody is manageDelayed in the way of earlier versions of the proposal.
func (h *rooms) manageDelayedByBody(r *api.Request) (any, error) {
	var body struct {
		Action string `json:"action"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"send", "cancel", "restart"}, body.Action) {
		return nil, mxerr.InvalidParam("the action must be send, cancel or restart")
	}
	return h.manageDelayed(r, body.Action)
}

// manageDelayed carries out an action on a delayed event. What others have scheduled looks as if it were not there.
func (h *rooms) manageDelayed(r *api.Request, action string) (any, error) {
	delayID := r.Vars["delayId"]
	if err := h.takeManaging(r, delayID); err != nil {
		return nil, err
	}
	row, ok, err := schema.DelayIDs.Get(r.Ctx, h.Store, schema.DelayID{DelayID: delayID})
	switch {
	case err != nil:
		return nil, err
	case !ok || r.Session != nil && r.User() != row.UserID:
		return nil, delayed.Unknown()
	}
	switch action {
	case "cancel":
		_, err = AskUser[*messages.Done](r.Ctx, h.Deps, row.UserID, &messages.CancelDelayedEvent{DelayId: delayID})
	case "restart":
		_, err = AskUser[*messages.Done](r.Ctx, h.Deps, row.UserID, &messages.RestartDelayedEvent{DelayId: delayID})
	default:
		err = h.Delayed.Sender.Send(r.Ctx, row.UserID, delayID)
	}
	return nil, err
}

// takeManaging limits how often an event is restarted by the event, when it is not known who does it: a service may do it for many users.
func (h *rooms) takeManaging(r *api.Request, delayID string) error {
	if r.Session != nil {
		return r.Take(api.LimitAccount)
	}
	if err := r.Take(api.LimitRead); err != nil {
		return err
	}
	return r.TakeFor(api.LimitAccount, delayID)
}

// delayedEvent is a delayed event as its user sees it (MSC4140, "Getting a single delayed event").
type delayedEvent struct {
	DelayID     string         `json:"delay_id"`
	RoomID      string         `json:"room_id"`
	Type        string         `json:"type"`
	StateKey    *string        `json:"state_key,omitzero"`
	DelayMS     int64          `json:"delay_ms"`
	ScheduledTS int64          `json:"scheduled_at"`
	Content     jsontext.Value `json:"content"`
	EventID     string         `json:"event_id,omitzero"`
	Error       jsontext.Value `json:"error,omitzero"`
	FinalisedTS int64          `json:"finalised_ts,omitzero"`
	// As they were called before.
	Delay        int64 `json:"delay"`
	RunningSince int64 `json:"running_since"`
}

func scheduledEvent(row schema.DelayedEvent) delayedEvent {
	return delayedEvent{DelayID: row.DelayID, RoomID: row.RoomID, Type: row.Type, StateKey: row.StateKey, Content: row.Content,
		DelayMS: row.DelayMS, Delay: row.DelayMS, ScheduledTS: row.ScheduledTS, RunningSince: row.ScheduledTS}
}

func finalisedEvent(row schema.FinalisedDelayedEvent) delayedEvent {
	return delayedEvent{DelayID: row.DelayID, RoomID: row.RoomID, Type: row.Type, StateKey: row.StateKey, Content: row.Content,
		DelayMS: row.DelayMS, Delay: row.DelayMS, ScheduledTS: row.ScheduledTS, RunningSince: row.ScheduledTS,
		EventID: row.EventID, Error: row.Error, FinalisedTS: row.FinalisedTS}
}

func (h *rooms) listDelayed(r *api.Request) (any, error) {
	rows, err := delayed.Scheduled(r.Ctx, h.Store, r.User())
	if err != nil {
		return nil, err
	}
	events := []delayedEvent{}
	for _, row := range rows {
		switch eventID, err := delayed.Sent(r.Ctx, h.Store, row); {
		case err != nil:
			return nil, err
		case eventID == "":
			events = append(events, scheduledEvent(row))
		}
	}
	slices.SortStableFunc(events, func(a, b delayedEvent) int {
		return cmp.Compare(a.ScheduledTS+a.DelayMS, b.ScheduledTS+b.DelayMS)
	})
	return map[string]any{"delayed_events": events}, nil
}

func (h *rooms) oneDelayed(r *api.Request) (any, error) {
	scheduled, finalised, err := delayed.Find(r.Ctx, h.Store, r.User(), r.Vars["delayId"])
	switch {
	case err != nil:
		return nil, err
	case scheduled != nil:
		return h.perhapsSent(r, *scheduled)
	}
	return finalisedEvent(*finalised), nil
}

// perhapsSent is a scheduled event, or a finalised one when it has been sent a moment ago.
func (h *rooms) perhapsSent(r *api.Request, row schema.DelayedEvent) (any, error) {
	e := scheduledEvent(row)
	eventID, err := delayed.Sent(r.Ctx, h.Store, row)
	if err != nil || eventID == "" {
		return e, err
	}
	sent, ok, err := h.Reader.Event(r.Ctx, row.RoomID, eventID)
	if ok {
		e.EventID, e.FinalisedTS = eventID, sent.ReceivedTS
	}
	return e, err
}
