package unread

import (
	"context"
	"math"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/invites"
	"github.com/matrixon/matrixon/persistence/schema"
)

// NotificationQuery asks for the newest events about which a user was notified.
type NotificationQuery struct {
	UserID     string
	Before     *Place // only events before it; nil is the end
	Limit      int
	Highlights bool // only highlights
}

// Place is where an event stands among all events of the server. Those of one commit are of one room, in the order of
// their numbers.
type Place struct{ Pos, Seq uint64 }

// Notification is an event about which the user was notified.
type Notification struct {
	Event   schema.Event
	Actions []jsontext.Value // of the push rule that matched; not to be changed
	Read    bool             // by a receipt
	Shown   []byte           // of an Invitation: what is shown of the room, a JSON array
}

// notificationScan bounds how many events one request looks at.
const notificationScan = 5_000

// Notifications lists what the user's push rules, as they are now, want the user to be told of, newest first: in the rooms where
// the user is, since the present stay began, and invites. next is where to go on, nil when nothing is left.
func (c *Counter) Notifications(ctx context.Context, r *reader.Reader, q NotificationQuery) (found []Notification, next *Place, err error) {
	before := Place{math.MaxUint64, math.MaxUint64}
	if q.Before != nil {
		before = *q.Before
	}
	rooms, err := c.streams(ctx, r, q.UserID, before)
	if err != nil {
		return nil, nil, err
	}
	last := before
	for scanned := 0; ; scanned++ {
		row := rooms.newest()
		if row == nil {
			return found, nil, nil
		}
		if len(found) == q.Limit || scanned == notificationScan {
			return found, &last, nil
		}
		last = Place{row.Pos, row.Seq}
		survey, err := rooms.survey(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		n, highlight, err := survey.notification(ctx, row)
		if err != nil {
			return nil, nil, err
		}
		if n != nil && (highlight || !q.Highlights) {
			found = append(found, *n)
		}
		if err := rooms.advance(ctx, c.store); err != nil {
			return nil, nil, err
		}
	}
}

// notification gives the notification about an event, nil if there was none.
func (s *survey) notification(ctx context.Context, row *schema.Event) (n *Notification, highlight bool, err error) {
	if row.Status != schema.Accepted || row.RedactedBy != "" || row.Sender == s.member.UserID || s.ignored[row.Sender] {
		return nil, false, nil
	}
	result, err := s.judge(ctx, row)
	if err != nil || !result.Notify {
		return nil, false, err
	}
	if hidden, err := s.hides(ctx, row); hidden || err != nil {
		return nil, false, err
	}
	thread, err := s.c.thread(ctx, row)
	if err != nil {
		return nil, false, err
	}
	return &Notification{Event: *row, Actions: result.Actions, Read: row.Seq <= s.markers.of(thread)}, result.Highlight, nil
}

// hides reports whether the event is an invite of which the user wants to know nothing.
func (s *survey) hides(ctx context.Context, row *schema.Event) (bool, error) {
	if row.Type != "m.room.member" || row.StateKey == nil || *row.StateKey != s.member.UserID ||
		gjson.GetBytes(row.JSON, "content.membership").Str != "invite" {
		return false, nil
	}
	verdict, err := reader.InviteVerdict(ctx, s.c.store, s.c.notices, s.member.UserID, row.Sender)
	return verdict != invites.Allow, err
}
