package client

import (
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// moveSettings takes the user's tags, push rules and direct chats along into a room that replaces one that the user has been in (client-server API,
// "Room Upgrades"). Both rooms must say so: anybody can make a room that claims to replace another. The user is in the room already, so
// that a failure is merely logged.
func (h *rooms) moveSettings(ctx context.Context, userID, roomID string) {
	old, err := h.replacedBy(ctx, userID, roomID)
	if err == nil && old != "" {
		_, err = AskUser[*messages.Done](ctx, h.Deps, userID, &messages.TransferRoomSettings{OldRoom: old, NewRoom: roomID})
	}
	if err != nil {
		h.Log.Warn("what a user has set for a room was not moved to the one that replaces it", "room", roomID, "error", err)
	}
}

// replacedBy gives the room that the room replaces, if the user is in the room and has been in that one.
func (h *rooms) replacedBy(ctx context.Context, userID, roomID string) (string, error) {
	create, ok, err := h.Reader.Current(ctx, roomID, "m.room.create", "")
	if err != nil || !ok {
		return "", err
	}
	old := gjson.GetBytes(create.JSON, "content.predecessor.room_id").Str
	if old == "" || old == roomID {
		return "", nil
	}
	now, _, err := schema.Memberships.Get(ctx, h.Store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || now.Membership != "join" {
		return "", err
	}
	before, _, err := schema.Memberships.Get(ctx, h.Store, schema.Membership{UserID: userID, RoomID: old})
	if err != nil || before.JoinedSeq == 0 {
		return "", err
	}
	tombstone, ok, err := h.Reader.Current(ctx, old, "m.room.tombstone", "")
	if err != nil || !ok || gjson.GetBytes(tombstone.JSON, "content.replacement_room").Str != roomID {
		return "", err
	}
	return old, nil
}
