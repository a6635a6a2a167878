package account

import (
	"context"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// deactivate ends an account (client-server API, "Account deactivation"). The first commit makes it unusable; what
// follows cleans up and can be repeated. The rooms are left by whoever asked.
func (ops *operations) deactivate(ctx context.Context, o *user.Op, m *messages.DeactivateAccount) (*messages.Done, error) {
	a, err := existing(ctx, o)
	if err != nil {
		return nil, err
	}
	a.Deactivated, a.PasswordHash, a.Admin = true, "", false
	a.Erased = a.Erased || m.Erase
	devices, err := Devices(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	name, err := displayName(ctx, o)
	if err != nil {
		return nil, err
	}
	writes := append(listed(o.UserID, Terms(o.UserID, name), nil), schema.Accounts.Put(a))
	if err := ops.remove(ctx, o, devices, writes); err != nil {
		return nil, err
	}
	return &messages.Done{}, ops.clear(ctx, o, a.Erased)
}

// clear deletes what is left of a deactivated account but its name.
func (ops *operations) clear(ctx context.Context, o *user.Op, erase bool) error {
	id := o.UserID
	parts := []Removal{
		all(schema.AccountDatas, schema.AccountData{UserID: id}),
		all(schema.Filters, schema.Filter{UserID: id}),
		all(schema.CrossSigningKeys, schema.CrossSigningKey{UserID: id}),
		all(schema.KeySignatures, schema.KeySignature{UserID: id}),
		all(schema.KeyBackups, schema.KeyBackup{UserID: id}),
		all(schema.KeyBackupSessions, schema.KeyBackupSession{UserID: id}),
		all(schema.UnreadCounts, schema.UnreadCount{UserID: id}),
		all(schema.Presences, schema.Presence{UserID: id}),
		allPushers,
		thirdPartyIDsOf,
		browserSessionsOf,
		all(schema.CrossSigningResets, schema.CrossSigningReset{UserID: id}),
		all(schema.ThreadSubscriptions, schema.ThreadSubscription{UserID: id}),
		all(schema.ThreadSubscriptionChanges, schema.ThreadSubscriptionChange{UserID: id}),
	}
	if erase {
		parts = append(parts, all(schema.ProfileFields, schema.ProfileField{UserID: id}), profileChangesOf)
	}
	var writes []persistence.Mutation
	for _, part := range append(parts, ops.options.Deactivated...) {
		gone, err := part(ctx, o, "")
		if err != nil {
			return err
		}
		writes = append(writes, gone...)
	}
	change, list, err := o.DeviceListChange(ctx)
	if err != nil {
		return err
	}
	_, err = o.Commit(ctx, append(writes, change...), nil, user.Notices{DeviceList: list})
	return err
}

// all is the Removal of all rows of a table that begin with the user.
func all[R any](t *persistence.Table[R], prefix R) Removal {
	return func(ctx context.Context, o *user.Op, _ string) ([]persistence.Mutation, error) {
		return drain(ctx, o, t, prefix, 1)
	}
}
