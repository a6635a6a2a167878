// Package account holds what a local user's account consists of: its sessions and devices, password, profile, account
// data, filters and push rules. Operations run in the lane of the user's actor, one at a time, so they may read,
// decide and write; the functions that only read take a persistence.Reader and need no actor.
package account

import (
	"context"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Removal gives what else must be deleted, in the same commit, with a device.
type Removal func(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error)

// Options let other areas take part in the life of an account.
type Options struct {
	// DeviceRemoved is asked when a device is removed, for example for its pushers.
	DeviceRemoved []Removal
	// Deactivated is asked, with an empty device id, when an account is deactivated.
	Deactivated []Removal
}

type operations struct{ options Options }

// Handlers are the operations for user.New.
func Handlers(o Options) []user.Handler {
	ops := &operations{o}
	return []user.Handler{
		user.Handle(ops.register),
		user.Handle(ops.logIn),
		user.Handle(ops.refresh),
		user.Handle(ops.confirm),
		user.Handle(ops.removeDevices),
		user.Handle(ops.updateDevice),
		user.Handle(ops.devicesSeen),
		user.Handle(ops.setPassword),
		user.Handle(ops.deactivate),
		user.Handle(ops.setFlags),
		user.Handle(ops.setProfileField),
		user.Handle(ops.setAccountData),
		user.Handle(ops.setFullyRead),
		user.Handle(ops.setTag),
		user.Handle(ops.storeFilter),
		user.Handle(ops.issueShortToken),
		user.Handle(ops.putPushRule),
		user.Handle(ops.deletePushRule),
		user.Handle(ops.changePushRule),
		user.Handle(ops.setPusher),
		user.Handle(ops.removePusher),
		user.Handle(ops.addThirdPartyID),
		user.Handle(ops.removeThirdPartyID),
		user.Handle(ops.listUser),
		user.Handle(ops.report),
		user.Handle(ops.closeReport),
		user.Handle(ops.setThreadSubscription),
		user.Handle(ops.transferRoomSettings),
	}
}

// existing gives the user's account, which must be there.
func existing(ctx context.Context, o *user.Op) (schema.Account, error) {
	a, ok, err := schema.Accounts.Get(ctx, o.Store, schema.Account{UserID: o.UserID})
	if err == nil && !ok {
		err = mxerr.NotFound("there is no account %s on this server", o.UserID)
	}
	return a, err
}

// batch is how many rows one commit deletes when there may be many.
const batch = 500

// drain gives the deletions of all rows below the prefix. If they are too many for one commit, all but the last are
// deleted at once: callers remove something that is going anyway.
func drain[R any](ctx context.Context, o *user.Op, t *persistence.Table[R], prefix R, keys int) ([]persistence.Mutation, error) {
	for {
		rows, err := t.All(ctx, o.Store, persistence.Range[R]{Prefix: prefix, Keys: keys, Limit: batch})
		if err != nil {
			return nil, err
		}
		writes := make([]persistence.Mutation, len(rows))
		for i, row := range rows {
			writes[i] = t.Delete(row)
		}
		if len(rows) < batch {
			return writes, nil
		}
		if _, err := o.Commit(ctx, writes, nil, user.Notices{}); err != nil {
			return nil, err
		}
	}
}
