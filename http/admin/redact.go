package admin

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Redacting says which messages of a user to redact: all that this server has, newest first room by room.
type Redacting struct {
	RoomID string `json:"room_id,omitzero"` // only of this room
	Reason string `json:"reason,omitzero"`  // that members read
	From   string `json:"from,omitzero"`    // the Next of the request before
}

// Redacted is how far the redaction of a user's messages is.
type Redacted struct {
	Redacted int               `json:"redacted"`         // with this request
	Failed   map[string]string `json:"failed,omitempty"` // events or rooms, and why not
	Next     string            `json:"next,omitzero"`    // the from of the next request; absent: all is done
}

// redactMost is how many events one request redacts. It looks at as many as examined.
const redactMost = 500

// redactFrom is where a request goes on: below an event of a room, and in the rooms that follow it.
type redactFrom struct {
	roomID string
	seq    uint64
}

func (f redactFrom) String() string { return strconv.FormatUint(f.seq, 10) + f.roomID }

func parseRedactFrom(text string) (f redactFrom, err error) {
	digits, _, is := strings.Cut(text, "!")
	if f.seq, err = strconv.ParseUint(digits, 10, 64); err != nil || !is {
		return f, mxerr.InvalidParam("from is none that this server has given")
	}
	f.roomID = text[len(digits):]
	return f, nil
}

// RedactUser redacts the messages of a user, of this server or another, some hundred with each request. It is done in the name of the user where
// the user is in the room and of this server, and elsewhere in the name of the member from this server who has most power, if that suffices.
func (o Operator) RedactUser(ctx context.Context, by By, userID string, what Redacting) (Redacted, error) {
	if !id.ValidUser(userID) {
		return Redacted{}, mxerr.InvalidParam("%.300q is no user id", userID)
	}
	at := redactFrom{roomID: what.RoomID, seq: math.MaxUint64}
	if what.From != "" {
		var err error
		if at, err = parseRedactFrom(what.From); err != nil {
			return Redacted{}, err
		}
	}
	run := &redaction{o: o, userID: userID, reason: what.Reason, done: Redacted{Failed: map[string]string{}}}
	err := run.rooms(ctx, at, what.RoomID)
	o.note(ctx, by, "messages of a user are redacted", err, slog.String("user", userID), slog.String("room", what.RoomID), slog.Int("events", run.done.Redacted))
	return run.done, err
}

// redaction is one request.
type redaction struct {
	o              Operator
	userID, reason string
	seen           int
	done           Redacted
}

// rooms goes through the user's rooms, or only the one.
func (r *redaction) rooms(ctx context.Context, at redactFrom, only string) error {
	within := persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: r.userID}, Keys: 1}
	if at.roomID != "" {
		within.From = &schema.Membership{RoomID: at.roomID}
	}
	memberships, err := schema.Memberships.All(ctx, r.o.Store, within)
	if err != nil {
		return err
	}
	for _, m := range memberships {
		if only != "" && m.RoomID != only {
			continue
		}
		below := uint64(math.MaxUint64)
		if m.RoomID == at.roomID {
			below = at.seq
		}
		if err := r.room(ctx, m, below); err != nil || r.done.Next != "" {
			return err
		}
	}
	return nil
}

// room redacts what the user has said in a room before an event, as far as the request goes.
func (r *redaction) room(ctx context.Context, m schema.Membership, below uint64) error {
	events, next, err := r.said(ctx, m.RoomID, below)
	if err != nil || len(events) == 0 {
		r.done.Next = next
		return err
	}
	as, err := r.as(ctx, m)
	if err != nil {
		return err
	}
	if as == "" { // nor will the rest of the room
		r.done.Failed[m.RoomID] = "no user of this server in the room may redact what others say"
		return nil
	}
	r.done.Next = next
	redacted, err := forEach(ctx, events, r.done.Failed, func(eventID string) error { return r.redact(ctx, m.RoomID, eventID, as) })
	r.done.Redacted += len(redacted)
	return err
}

// said are messages of the user before an event, newest first. next is where to go on when the request has looked at enough.
func (r *redaction) said(ctx context.Context, roomID string, below uint64) (events []string, next string, err error) {
	within := schema.Timeline(roomID)
	within.Reverse = true
	within.Before = &schema.Event{Seq: min(below, schema.OutlierBase)}
	for row, err := range schema.Events.Scan(ctx, r.o.Store, within) {
		if err != nil {
			return nil, "", err
		}
		if r.seen == examined || r.done.Redacted+len(r.done.Failed)+len(events) >= redactMost {
			return events, redactFrom{roomID, row.Seq + 1}.String(), nil
		}
		r.seen++
		if row.Sender == r.userID && row.StateKey == nil && row.RedactedBy == "" && row.Status == schema.Accepted && row.Type != "m.room.redaction" {
			events = append(events, row.EventID)
		}
	}
	return events, "", nil
}

// as is in whose name events of the room are redacted; empty when nobody may.
func (r *redaction) as(ctx context.Context, m schema.Membership) (string, error) {
	if m.Membership == "join" && id.ServerOf(r.userID) == r.o.ServerName {
		return r.userID, nil
	}
	row, err := r.o.room(ctx, m.RoomID)
	if err != nil {
		return "", err
	}
	_, power, err := r.o.powerLevels(ctx, row)
	if err != nil {
		return "", err
	}
	strongest, err := r.o.strongest(ctx, m.RoomID, power, r.userID)
	if err != nil || strongest == "" || power.User(strongest).Less(power.Redact()) || power.User(strongest).Less(power.Event("m.room.redaction", false)) {
		return "", err
	}
	return strongest, nil
}

func (r *redaction) redact(ctx context.Context, roomID, eventID, as string) error {
	content, err := json.Marshal(struct {
		Reason string `json:"reason,omitzero"`
	}{r.reason})
	if err != nil {
		return err
	}
	return r.o.askRoom(ctx, roomID, &messages.SendEvent{By: &messages.Requester{UserId: as},
		Event: &messages.Proposal{Type: "m.room.redaction", Sender: as, Redacts: eventID, Content: content}})
}

func (h handler) redactUser(r *api.Request) (any, error) {
	var what Redacting
	if err := r.DecodeOptional(&what); err != nil {
		return nil, err
	}
	name := r.Vars["user"]
	if completed, err := h.userID(name); err == nil {
		name = completed
	}
	return h.RedactUser(r.Ctx, By(r.User()), name, what)
}
