package account

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Devices lists the user's devices.
func Devices(ctx context.Context, r persistence.Reader, userID string) ([]schema.Device, error) {
	return schema.Devices.All(ctx, r, persistence.Range[schema.Device]{Prefix: schema.Device{UserID: userID}, Keys: 1})
}

// Profile gives all fields of the user's profile.
func Profile(ctx context.Context, r persistence.Reader, userID string) ([]schema.ProfileField, error) {
	return schema.ProfileFields.All(ctx, r, persistence.Range[schema.ProfileField]{Prefix: schema.ProfileField{UserID: userID}, Keys: 1})
}

// RoomMembership gives the user's membership of a room, empty when there never was one.
func RoomMembership(ctx context.Context, r persistence.Reader, userID, roomID string) (string, error) {
	m, _, err := schema.Memberships.Get(ctx, r, schema.Membership{UserID: userID, RoomID: roomID})
	return m.Membership, err
}

// Sweep deletes what has expired and nobody asks for any more: login and OpenID tokens, authentication sessions. It is
// to be called now and then, on any node; sessionLife is how long authentication sessions live.
func Sweep(ctx context.Context, s persistence.Store, now time.Time, sessionLife time.Duration) error {
	var old []persistence.Mutation
	for t, err := range schema.ShortTokens.Scan(ctx, s, persistence.Range[schema.ShortToken]{}) {
		if err != nil {
			return err
		}
		if expired(now, t.ExpiresTS) {
			old = append(old, schema.ShortTokens.Delete(t))
		}
	}
	for a, err := range schema.AuthSessions.Scan(ctx, s, persistence.Range[schema.AuthSession]{}) {
		if err != nil {
			return err
		}
		if now.UnixMilli()-a.CreatedTS > sessionLife.Milliseconds() {
			old = append(old, schema.AuthSessions.Delete(a))
		}
	}
	for len(old) > 0 {
		n := min(len(old), batch)
		if _, err := persistence.Await(ctx, s, &persistence.Commit{Write: old[:n]}); err != nil {
			return err
		}
		old = old[n:]
	}
	return nil
}
