package reader

import (
	"context"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Enterable refuses the user of this server who would come into a room that administrators have blocked: 403 M_FORBIDDEN. Who is in it
// already is not asked to leave, and may change how they are called there.
func (r *Reader) Enterable(ctx context.Context, roomID, userID string) error {
	_, blocked, err := schema.BlockedRooms.Get(ctx, r.store, schema.BlockedRoom{RoomID: roomID})
	if err != nil || !blocked {
		return err
	}
	member, _, err := schema.Memberships.Get(ctx, r.store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || member.Membership == "join" {
		return err
	}
	return mxerr.Forbidden("the administrators of this server have blocked this room")
}
