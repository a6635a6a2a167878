package account

import (
	"bytes"
	"context"
	"net/http"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// maxPushers is how many pushers a user can have. Every notification goes to each of them.
const maxPushers = 50

// EmailPusher is the kind of pushers that send email; their app id is EmailApp.
const (
	HTTPPusher  = "http"
	EmailPusher = "email"
	EmailApp    = "m.email"
)

// Pushers lists the user's pushers.
func Pushers(ctx context.Context, r persistence.Reader, userID string) ([]schema.Pusher, error) {
	return schema.Pushers.All(ctx, r, persistence.Range[schema.Pusher]{Prefix: schema.Pusher{UserID: userID}, Keys: 1})
}

// setPusher makes or replaces a pusher. Who merely turns one on or off, from whichever device (MSC3881), leaves it with the
// device that made it.
func (ops *operations) setPusher(ctx context.Context, o *user.Op, m *messages.SetPusher) (*messages.Done, error) {
	row := schema.Pusher{
		UserID: o.UserID, AppID: m.AppId, Pushkey: m.Pushkey, Kind: m.Kind, AppDisplayName: m.AppDisplayName,
		DeviceDisplayName: m.DeviceDisplayName, ProfileTag: m.ProfileTag, Lang: m.Lang, Data: m.Data, Enabled: m.Enabled,
		DeviceID: m.DeviceId, SetTS: o.Now.UnixMilli(),
	}
	if m.Kind == EmailPusher {
		_, own, err := schema.ThirdPartyIDsByUser.Get(ctx, o.Store, schema.ThirdPartyIDByUser{UserID: o.UserID, Medium: Email, Address: m.Pushkey})
		if err != nil {
			return nil, err
		}
		if !own {
			return nil, mxerr.New(http.StatusBadRequest, "M_THREEPID_NOT_FOUND", "the address is none of your account's")
		}
	}
	pushers, err := Pushers(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	known := false
	for _, old := range pushers {
		if old.AppID != row.AppID || old.Pushkey != row.Pushkey {
			continue
		}
		known = true
		if old.Enabled != row.Enabled && sameButEnabled(old, row) {
			row.DeviceID, row.SetTS = old.DeviceID, old.SetTS
		}
	}
	if !known && len(pushers) >= maxPushers {
		return nil, mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "you have %d pushers already: remove one first", maxPushers)
	}
	_, err = o.Commit(ctx, []persistence.Mutation{
		schema.Pushers.Put(row),
		schema.PushersByKey.Put(schema.PusherByKey{AppID: row.AppID, Pushkey: row.Pushkey, UserID: o.UserID}),
	}, nil, user.Notices{Pusher: &messages.PusherNotice{}})
	return &messages.Done{}, err
}

// sameButEnabled reports whether two pushers differ in nothing that a client says but in being enabled.
func sameButEnabled(a, b schema.Pusher) bool {
	return a.Kind == b.Kind && a.AppDisplayName == b.AppDisplayName && a.DeviceDisplayName == b.DeviceDisplayName &&
		a.ProfileTag == b.ProfileTag && a.Lang == b.Lang && bytes.Equal(a.Data, b.Data)
}

func (ops *operations) removePusher(ctx context.Context, o *user.Op, m *messages.RemovePusher) (*messages.Done, error) {
	row, ok, err := schema.Pushers.Get(ctx, o.Store, schema.Pusher{UserID: o.UserID, AppID: m.AppId, Pushkey: m.Pushkey})
	if err != nil || !ok || m.SetBefore != 0 && row.SetTS > m.SetBefore {
		return &messages.Done{}, err
	}
	writes, err := withoutPusher(ctx, o, row)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}

// withoutPusher gives the deletion of a pusher with what waits for it.
func withoutPusher(ctx context.Context, o *user.Op, row schema.Pusher) ([]persistence.Mutation, error) {
	waiting, err := drain(ctx, o, schema.PushItems, schema.PushItem{UserID: row.UserID, AppID: row.AppID, Pushkey: row.Pushkey}, 3)
	return append(waiting,
		schema.Pushers.Delete(row),
		schema.PushersByKey.Delete(schema.PusherByKey{AppID: row.AppID, Pushkey: row.Pushkey, UserID: row.UserID}),
		schema.PushDigests.Delete(schema.PushDigest{UserID: row.UserID, AppID: row.AppID, Pushkey: row.Pushkey}),
	), err
}

// pushersOf is the Removal of a device's pushers: they end with the session that made them.
func pushersOf(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error) {
	return withoutPushers(ctx, o, func(row schema.Pusher) bool { return row.DeviceID == deviceID })
}

// allPushers is the Removal of an account's pushers.
func allPushers(ctx context.Context, o *user.Op, _ string) ([]persistence.Mutation, error) {
	return withoutPushers(ctx, o, func(schema.Pusher) bool { return true })
}

func withoutPushers(ctx context.Context, o *user.Op, which func(schema.Pusher) bool) ([]persistence.Mutation, error) {
	pushers, err := Pushers(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	for _, row := range pushers {
		if !which(row) {
			continue
		}
		gone, err := withoutPusher(ctx, o, row)
		if err != nil {
			return nil, err
		}
		writes = append(writes, gone...)
	}
	return writes, nil
}
