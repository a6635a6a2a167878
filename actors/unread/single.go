package unread

import (
	"context"

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
