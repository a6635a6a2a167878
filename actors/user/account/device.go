package account

import (
	"context"
	"slices"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// removeDevices deletes devices (client-server API, "Device management" and "Logout").
func (ops *operations) removeDevices(ctx context.Context, o *user.Op, m *messages.RemoveDevices) (*messages.Done, error) {
	if m.All {
		devices, err := devicesBut(ctx, o, m.Except...)
		if err != nil {
			return nil, err
		}
		browsers, err := browserSessionsOf(ctx, o, "")
		if err != nil {
			return nil, err
		}
		return &messages.Done{}, ops.remove(ctx, o, devices, browsers)
	}
	var devices []schema.Device
	for _, id := range m.DeviceIds {
		d, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: id})
		if err != nil {
			return nil, err
		}
		if ok {
			devices = append(devices, d)
		}
	}
	return &messages.Done{}, ops.remove(ctx, o, devices, nil)
}

func devicesBut(ctx context.Context, o *user.Op, except ...string) ([]schema.Device, error) {
	devices, err := Devices(ctx, o.Store, o.UserID)
	return slices.DeleteFunc(devices, func(d schema.Device) bool { return slices.Contains(except, d.DeviceID) }), err
}

// remove deletes devices with all that belongs to them, together with further writes.
func (ops *operations) remove(ctx context.Context, o *user.Op, devices []schema.Device, writes []persistence.Mutation) error {
	if len(devices) == 0 && len(writes) == 0 {
		return nil
	}
	var notices user.Notices
	var told []string // whose keys others may have
	notice := &messages.UserNotice{}
	for _, d := range devices {
		gone, err := ops.removal(ctx, o, d.DeviceID)
		if err != nil {
			return err
		}
		writes = append(writes, gone...)
		notice.LoggedOutDevices = append(notice.LoggedOutDevices, d.DeviceID)
		if len(d.Keys) > 0 {
			told = append(told, d.DeviceID)
		}
	}
	if len(devices) > 0 {
		notice.AccountData = true // see silencedOf
		notices.User = notice
	}
	if len(told) > 0 {
		change, list, err := o.DeviceListChange(ctx, told...)
		if err != nil {
			return err
		}
		writes = append(writes, change...)
		notices.DeviceList = list
	}
	_, err := o.Commit(ctx, writes, nil, notices)
	return err
}

// removal gives the deletion of everything that belongs to a device. Key backups are the user's, and stay.
func (ops *operations) removal(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error) {
	writes := []persistence.Mutation{schema.Devices.Delete(schema.Device{UserID: o.UserID, DeviceID: deviceID})}
	parts := []Removal{
		tokensOf,
		dropping(schema.ToDevices, func(u, d string) schema.ToDevice { return schema.ToDevice{UserID: u, DeviceID: d} }),
		dropping(schema.OneTimeKeys, func(u, d string) schema.OneTimeKey { return schema.OneTimeKey{UserID: u, DeviceID: d} }),
		dropping(schema.FallbackKeys, func(u, d string) schema.FallbackKey { return schema.FallbackKey{UserID: u, DeviceID: d} }),
		dropping(schema.KeySignatures, func(u, d string) schema.KeySignature { return schema.KeySignature{UserID: u, KeyID: d} }),
		dropping(schema.SlidingConnections, func(u, d string) schema.SlidingConnection { return schema.SlidingConnection{UserID: u, DeviceID: d} }),
		pushersOf,
		dehydratedOf,
		silencedOf,
		func(_ context.Context, o *user.Op, d string) ([]persistence.Mutation, error) {
			return []persistence.Mutation{schema.OAuthSessions.Delete(schema.OAuthSession{UserID: o.UserID, DeviceID: d})}, nil
		},
		dropping(schema.Transactions, func(u, d string) schema.Transaction { return schema.Transaction{UserID: u, DeviceID: d} }),
	}
	for _, part := range append(parts, ops.options.DeviceRemoved...) {
		gone, err := part(ctx, o, deviceID)
		if err != nil {
			return nil, err
		}
		writes = append(writes, gone...)
	}
	return writes, nil
}

// RemoveDevice is the Removal of a device with everything that belongs to it.
func (o Options) RemoveDevice() Removal { return (&operations{o}).removal }

// RemoveDevices deletes devices with everything that belongs to them, and tells who must know.
func (o Options) RemoveDevices(ctx context.Context, op *user.Op, ids ...string) error {
	_, err := (&operations{o}).removeDevices(ctx, op, &messages.RemoveDevices{DeviceIds: ids})
	return err
}

// dehydratedOf is the Removal of what says that the device is the dehydrated one.
func dehydratedOf(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error) {
	row, ok, err := schema.DehydratedDevices.Get(ctx, o.Store, schema.DehydratedDevice{UserID: o.UserID})
	if err != nil || !ok || row.DeviceID != deviceID {
		return nil, err
	}
	return []persistence.Mutation{schema.DehydratedDevices.Delete(row)}, nil
}

// silencedOf is the Removal of the account data that says whether the device shows notifications (MSC3890).
func silencedOf(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error) {
	row := schema.AccountData{UserID: o.UserID, Type: "org.matrix.msc3890.local_notification_settings." + deviceID}
	old, ok, err := schema.AccountDatas.Get(ctx, o.Store, row)
	if err != nil || !ok || len(old.Content) == 0 {
		return nil, err
	}
	return []persistence.Mutation{schema.AccountDatas.Put(row)}, nil
}

// browserSessionsOf is the Removal of what keeps the user signed in to the server's pages: "log out everywhere" means them too.
func browserSessionsOf(ctx context.Context, o *user.Op, _ string) ([]persistence.Mutation, error) {
	return drain(ctx, o, schema.BrowserSessions, schema.BrowserSession{UserID: o.UserID}, 1)
}

// dropping is the Removal of the rows of a table that begin with a user and a device.
func dropping[R any](t *persistence.Table[R], prefix func(userID, deviceID string) R) Removal {
	return func(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error) {
		return drain(ctx, o, t, prefix(o.UserID, deviceID), 2)
	}
}

// updateDevice renames a device. Others see its name beside its keys, so they are told when it has some.
func (ops *operations) updateDevice(ctx context.Context, o *user.Op, m *messages.UpdateDevice) (*messages.DeviceUpdated, error) {
	d, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: m.DeviceId})
	if err != nil {
		return nil, err
	}
	switch {
	case !ok && !m.Create:
		return nil, mxerr.NotFound("you have no device %q", m.DeviceId)
	case !ok:
		if err := NotCrossSigningKey(ctx, o, m.DeviceId); err != nil {
			return nil, err
		}
		d.CreatedTS = o.Now.UnixMilli()
	case m.DisplayName == nil || *m.DisplayName == d.DisplayName:
		return &messages.DeviceUpdated{}, nil
	}
	if m.DisplayName != nil {
		d.DisplayName = *m.DisplayName
	}
	writes := []persistence.Mutation{schema.Devices.Put(d)}
	var notices user.Notices
	if len(d.Keys) > 0 {
		change, list, err := o.DeviceListChange(ctx, d.DeviceID)
		if err != nil {
			return nil, err
		}
		writes = append(writes, change...)
		notices.DeviceList = list
	}
	_, err = o.Commit(ctx, writes, nil, notices)
	return &messages.DeviceUpdated{Created: !ok}, err
}

// devicesSeen notes when devices were used; those that are gone by now stay gone.
func (ops *operations) devicesSeen(ctx context.Context, o *user.Op, m *messages.DevicesSeen) (*messages.Done, error) {
	var writes []persistence.Mutation
	for _, seen := range m.Devices {
		d, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: seen.DeviceId})
		if err != nil {
			return nil, err
		}
		if !ok || d.LastSeenTS >= seen.Ts {
			continue
		}
		d.LastSeenTS, d.LastSeenIP, d.UserAgent = seen.Ts, seen.Ip, seen.UserAgent
		writes = append(writes, schema.Devices.Put(d))
	}
	if len(writes) == 0 {
		return &messages.Done{}, nil
	}
	_, err := o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}
