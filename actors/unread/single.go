package unread

import (
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Notification gives the notification about one event for a user who is in the room or whom the event invites; nil if there is none.
// What follows from it is what holds now: an event that was redacted since gives none.
func (c *Counter) Notification(ctx context.Context, userID string, row *schema.Event) (n *Notification, highlight bool, err error) {
	m, _, err := schema.Memberships.Get(ctx, c.store, schema.Membership{UserID: userID, RoomID: row.RoomID})
	if err != nil {
		return nil, false, err
	}
	concerned := m.Membership == "join" && row.Seq > m.JoinedSeq || m.Membership == "invite" && row.Seq == m.Seq
	if !concerned {
		return nil, false, nil
	}
	s, err := c.survey(ctx, m)
	if err != nil {
		return nil, false, err
	}
	return s.notification(ctx, row)
}

// Invitation gives the notification about the invite that another server sent the user, to a room that this server is not in, at this
// position; nil if there is none, or none any more. Of the event only what was shown is known.
func (c *Counter) Invitation(ctx context.Context, userID, roomID string, pos uint64) (n *Notification, highlight bool, err error) {
	m, ok, err := schema.Memberships.Get(ctx, c.store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || !ok || !m.OutOfBand() || m.Membership != "invite" || m.Pos != pos {
		return nil, false, err
	}
	row := schema.Event{RoomID: roomID, EventID: m.EventID, Pos: m.Pos, Type: "m.room.member", StateKey: &userID, Sender: m.Sender, Status: schema.Accepted}
	gjson.ParseBytes(m.StrippedState).ForEach(func(_, e gjson.Result) bool {
		if e.Get("type").Str == "m.room.member" && e.Get("state_key").Str == userID {
			row.JSON = []byte(e.Raw)
		}
		return row.JSON == nil
	})
	s, err := c.survey(ctx, m)
	if err != nil {
		return nil, false, err
	}
	s.room = &roomFacts{ctx: ctx, store: c.store, userID: userID, row: schema.Room{RoomID: roomID, Version: roomversion.Default}}
	if n, highlight, err = s.notification(ctx, &row); n != nil {
		n.Read, n.Shown = false, m.StrippedState // receipts were of an earlier stay
	}
	return n, highlight, err
}
