package reader

import (
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence/schema"
)

// waits reports whether the event is a redaction of another server's user whose target has not come: until it has, nobody knows whether the
// redaction counts, and clients are not sent it (rooms/v3, "Handling redactions"). In room versions 1 and 2, where events say their ids, there is no
// such rule. One that is known not to count is soft-failed.
func (a *Access) waits(ctx context.Context, row *schema.Event) (bool, error) {
	target := redacts(row)
	if target == "" || row.StateKey != nil || id.ServerOf(row.Sender) == id.ServerOf(a.UserID) || gjson.GetBytes(row.JSON, "event_id").Exists() {
		return false, nil
	}
	_, here, err := schema.EventsByID.Get(ctx, a.r.store, schema.EventByID{RoomID: a.RoomID, EventID: target})
	return !here, err
}
