// Package dehydrated keeps a user's dehydrated device (MSC3814): a device that nobody uses, whose keys lie here encrypted, so that
// others can send it the keys of messages while the user has no other device. Besides that it is a device like others.
package dehydrated

import (
	"context"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

type operations struct{ remove account.Removal }

// Handlers are the operations for user.New.
func Handlers(o account.Options) []user.Handler {
	ops := operations{o.RemoveDevice()}
	return []user.Handler{user.Handle(ops.put), user.Handle(ops.delete)}
}

// Get gives the user's dehydrated device; 404 M_NOT_FOUND when there is none.
func Get(ctx context.Context, r persistence.Reader, userID string) (schema.DehydratedDevice, error) {
	row, ok, err := schema.DehydratedDevices.Get(ctx, r, schema.DehydratedDevice{UserID: userID})
	if err == nil && !ok {
		err = mxerr.NotFound("you have no dehydrated device")
	}
	return row, err
}

func (ops operations) put(ctx context.Context, o *user.Op, m *messages.PutDehydratedDevice) (*messages.Done, error) {
	if err := account.NotCrossSigningKey(ctx, o, m.DeviceId); err != nil {
		return nil, err
	}
	old, replaces, err := schema.DehydratedDevices.Get(ctx, o.Store, schema.DehydratedDevice{UserID: o.UserID})
	if err != nil {
		return nil, err
	}
	if !replaces || old.DeviceID != m.DeviceId {
		_, taken, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: m.DeviceId})
		if err != nil {
			return nil, err
		}
		if taken {
			return nil, mxerr.Forbidden("you have a device of this id, which is not dehydrated")
		}
	}
	device := schema.Device{UserID: o.UserID, DeviceID: m.DeviceId, DisplayName: m.DisplayName, CreatedTS: o.Now.UnixMilli()}
	upload := &messages.UploadKeys{By: &messages.Requester{UserId: o.UserID, DeviceId: m.DeviceId},
		DeviceKeys: m.DeviceKeys, OneTimeKeys: m.OneTimeKeys, FallbackKeys: m.FallbackKeys}
	uploaded, _, err := keys.Put(ctx, o, &device, upload, true)
	if err != nil {
		return nil, err
	}
	notices := user.Notices{User: &messages.UserNotice{Keys: true}}
	var writes []persistence.Mutation
	if replaces {
		notices.User.LoggedOutDevices = []string{old.DeviceID}
		if writes, err = ops.remove(ctx, o, old.DeviceID); err != nil {
			return nil, err
		}
	}
	changed := []string{m.DeviceId}
	if replaces && old.DeviceID != m.DeviceId {
		changed = append(changed, old.DeviceID)
	}
	change, list, err := o.DeviceListChange(ctx, changed...)
	if err != nil {
		return nil, err
	}
	notices.DeviceList = list
	writes = append(append(append(writes, uploaded...), change...), schema.Devices.Put(device),
		schema.DehydratedDevices.Put(schema.DehydratedDevice{UserID: o.UserID, DeviceID: m.DeviceId, Data: m.Data}))
	_, err = o.Commit(ctx, writes, nil, notices)
	return &messages.Done{}, err
}

func (ops operations) delete(ctx context.Context, o *user.Op, _ *messages.DeleteDehydratedDevice) (*messages.DehydratedDeviceDeleted, error) {
	row, err := Get(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	writes, err := ops.remove(ctx, o, row.DeviceID)
	if err != nil {
		return nil, err
	}
	change, list, err := o.DeviceListChange(ctx, row.DeviceID)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, append(writes, change...), nil, user.Notices{
		User: &messages.UserNotice{Keys: true, LoggedOutDevices: []string{row.DeviceID}}, DeviceList: list})
	return &messages.DehydratedDeviceDeleted{DeviceId: row.DeviceID}, err
}
