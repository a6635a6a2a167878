package push

import (
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/persistence/schema"
)

// recount finds for whom the event makes the number of what is unread another without being news to them: it takes back what they have
// not read, it is of their own and so reads what is before it, or they take an invite or leave a room.
func (f *finding) recount(ctx context.Context, row *schema.Event, users []string) error {
	count := schema.PushItem{Pos: row.Pos, RoomID: row.RoomID, TS: row.ReceivedTS}
	switch {
	case row.Type == "m.room.member" && row.StateKey != nil:
		if !f.users.has(*row.StateKey) || gjson.GetBytes(row.JSON, "content.membership").Str == "invite" {
			return nil
		}
		return f.add(ctx, *row.StateKey, count)
	case row.Type == "m.room.redaction":
		if err := f.takenBack(ctx, row, users, count); err != nil {
			return err
		}
	}
	if !f.users.has(row.Sender) {
		return nil
	}
	before, err := f.Unread.Counts(ctx, row.Sender, row.RoomID, row.Seq-1)
	if err != nil || before.Total().Notify == 0 {
		return err
	}
	return f.add(ctx, row.Sender, count)
}

// takenBack finds who has not read what the redaction takes back.
func (f *finding) takenBack(ctx context.Context, row *schema.Event, users []string, count schema.PushItem) error {
	// Which of the two it is the room's version says; the other means nothing.
	for _, target := range gjson.GetManyBytes(row.JSON, "redacts", "content.redacts") {
		at, ok, err := schema.EventsByID.Get(ctx, f.Store, schema.EventByID{RoomID: row.RoomID, EventID: target.Str})
		if err != nil {
			return err
		}
		for _, userID := range users {
			if !ok || userID == row.Sender || !f.users.has(userID) {
				continue
			}
			read, err := f.Unread.ReadUpTo(ctx, userID, row.RoomID)
			if err != nil {
				return err
			}
			if at.Seq <= read {
				continue
			}
			if err := f.add(ctx, userID, count); err != nil {
				return err
			}
		}
	}
	return nil
}
