package user

import (
	"context"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// DeviceListChange gives what a commit must contain when the user's devices or cross-signing keys change, so that
// everyone who shares a room learns of it (client-server API, "Tracking the device list for a user").
func (o *Op) DeviceListChange(ctx context.Context) ([]persistence.Mutation, *messages.DeviceListNotice, error) {
	rooms, err := reader.JoinedRooms(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, nil, err
	}
	return []persistence.Mutation{
		schema.DeviceListChanges.Put(schema.DeviceListChange{UserID: o.UserID}),
		schema.DeviceListLogs.Put(schema.DeviceListLog{UserID: o.UserID}),
	}, &messages.DeviceListNotice{UserId: o.UserID, Rooms: rooms}, nil
}
