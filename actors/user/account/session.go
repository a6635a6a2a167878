package account

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The kinds of tokens in schema.TokenByDevice.
const (
	accessKind  = "access"
	refreshKind = "refresh"
)

// The kinds of schema.ShortToken.
const (
	LoginToken  = "login"
	OpenIDToken = "openid"
)

// logIn opens a session of an existing account (client-server API, "Login").
func (ops *operations) logIn(ctx context.Context, o *user.Op, m *messages.LogIn) (*messages.Done, error) {
	a, err := existing(ctx, o)
	if err != nil {
		return nil, err
	}
	if a.Deactivated {
		return nil, mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "this account has been deactivated")
	}
	writes, err := OpenSession(ctx, o, m.Session)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}

// OpenSession gives the writes that make a session: earlier tokens of the device end with it (client-server API,
// "Relationship between access tokens and devices").
func OpenSession(ctx context.Context, o *user.Op, s *messages.OpenSession) ([]persistence.Mutation, error) {
	if err := NotCrossSigningKey(ctx, o, s.DeviceId); err != nil {
		return nil, err
	}
	writes, err := spendLoginToken(ctx, o, s.LoginTokenHash)
	if err != nil {
		return nil, err
	}
	_, known, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: s.DeviceId})
	if err != nil {
		return nil, err
	}
	if known {
		ended, err := tokensOf(ctx, o, s.DeviceId)
		if err != nil {
			return nil, err
		}
		writes = append(writes, ended...)
		writes = append(writes, schema.OAuthSessions.Delete(schema.OAuthSession{UserID: o.UserID, DeviceID: s.DeviceId}))
	} else {
		writes = append(writes, schema.Devices.Put(schema.Device{
			UserID: o.UserID, DeviceID: s.DeviceId, DisplayName: s.DisplayName, CreatedTS: o.Now.UnixMilli(),
		}))
	}
	return append(writes, issue(o.UserID, s.DeviceId, s.AccessHash, s.AccessExpiresTs, s.RefreshHash, s.RefreshExpiresTs)...), nil
}

// issue gives the writes of a new access token, and of a refresh token unless its hash is empty.
func issue(userID, deviceID string, access []byte, accessExpires int64, refresh []byte, refreshExpires int64) []persistence.Mutation {
	writes := []persistence.Mutation{
		schema.AccessTokens.Put(schema.AccessToken{Hash: access, UserID: userID, DeviceID: deviceID, ExpiresTS: accessExpires}),
		schema.TokensByDevice.Put(schema.TokenByDevice{UserID: userID, DeviceID: deviceID, Kind: accessKind, Hash: access}),
	}
	if len(refresh) > 0 {
		writes = append(writes,
			schema.RefreshTokens.Put(schema.RefreshToken{Hash: refresh, UserID: userID, DeviceID: deviceID, AccessHash: access, ExpiresTS: refreshExpires}),
			schema.TokensByDevice.Put(schema.TokenByDevice{UserID: userID, DeviceID: deviceID, Kind: refreshKind, Hash: refresh}),
		)
	}
	return writes
}

// NotCrossSigningKey refuses a device id that is a cross-signing key of the user: their ids share a namespace.
func NotCrossSigningKey(ctx context.Context, o *user.Op, deviceID string) error {
	keys := schema.CrossSigningKeys.Scan(ctx, o.Store, persistence.Range[schema.CrossSigningKey]{Prefix: schema.CrossSigningKey{UserID: o.UserID}, Keys: 1})
	for key, err := range keys {
		if err != nil {
			return err
		}
		for _, public := range gjson.GetBytes(key.JSON, "keys").Map() {
			if public.Str == deviceID {
				return mxerr.Forbidden("the device id is the same as a cross-signing key")
			}
		}
	}
	return nil
}

// spendLoginToken gives the deletion of the login token, which must be valid.
func spendLoginToken(ctx context.Context, o *user.Op, hash []byte) ([]persistence.Mutation, error) {
	if len(hash) == 0 {
		return nil, nil
	}
	t, ok, err := schema.ShortTokens.Get(ctx, o.Store, schema.ShortToken{Kind: LoginToken, Hash: hash})
	if err != nil {
		return nil, err
	}
	if !ok || t.UserID != o.UserID || expired(o.Now, t.ExpiresTS) {
		return nil, mxerr.Forbidden("the login token is not valid, or no longer")
	}
	return []persistence.Mutation{schema.ShortTokens.Delete(t)}, nil
}

// Expired reports whether what is good until expiresTS (ms; 0 is for ever) is good no more.
func Expired(now time.Time, expiresTS int64) bool { return expired(now, expiresTS) }

func expired(now time.Time, expiresTS int64) bool {
	return expiresTS > 0 && now.UnixMilli() >= expiresTS
}

// refresh buys new tokens (client-server API, "Refreshing access tokens"). The old refresh token stays until what it
// bought is used, so that a client that never got the answer can ask again; what it bought before then ends.
func (ops *operations) refresh(ctx context.Context, o *user.Op, m *messages.RefreshSession) (*messages.SessionRefreshed, error) {
	old, ok, err := schema.RefreshTokens.Get(ctx, o.Store, schema.RefreshToken{Hash: m.RefreshHash})
	if err != nil {
		return nil, err
	}
	if !ok || old.UserID != o.UserID {
		return nil, UnknownRefreshToken(false)
	}
	if expired(o.Now, old.ExpiresTS) {
		return nil, UnknownRefreshToken(true)
	}
	tokens, err := refreshTokensOf(ctx, o.Store, o.UserID, old.DeviceID)
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	for _, t := range tokens {
		if bytes.Equal(t.NextHash, old.Hash) || bytes.Equal(t.Hash, old.NextHash) {
			writes = append(writes, end(t)...)
		}
	}
	old.NextHash = m.NewRefreshHash
	writes = append(writes, schema.RefreshTokens.Put(old))
	writes = append(writes, issue(o.UserID, old.DeviceID, m.NewAccessHash, m.NewAccessExpiresTs, m.NewRefreshHash, m.NewRefreshExpiresTs)...)
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.SessionRefreshed{DeviceId: old.DeviceID}, err
}

// UnknownRefreshToken is 401 M_UNKNOWN_TOKEN of a refresh; soft says that the device can log in again and go on.
func UnknownRefreshToken(soft bool) *mxerr.Error {
	return mxerr.New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "the refresh token is not valid, or no longer").With("soft_logout", soft)
}

// confirm ends the pair of tokens that the one with this access token replaced.
func (ops *operations) confirm(ctx context.Context, o *user.Op, m *messages.ConfirmSession) (*messages.Done, error) {
	replaced, err := replacedBy(ctx, o.Store, o.UserID, m.DeviceId, m.AccessHash)
	if err != nil || len(replaced) == 0 {
		return &messages.Done{}, err
	}
	var writes []persistence.Mutation
	for _, t := range replaced {
		writes = append(writes, end(t)...)
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}

// Unconfirmed reports whether the access token is the first sign that a refresh arrived, so that ConfirmSession is due.
func Unconfirmed(ctx context.Context, r persistence.Reader, userID, deviceID string, accessHash []byte) (bool, error) {
	replaced, err := replacedBy(ctx, r, userID, deviceID, accessHash)
	return len(replaced) > 0, err
}

// replacedBy gives the refresh tokens that bought the pair with this access token.
func replacedBy(ctx context.Context, r persistence.Reader, userID, deviceID string, accessHash []byte) ([]schema.RefreshToken, error) {
	tokens, err := refreshTokensOf(ctx, r, userID, deviceID)
	if err != nil {
		return nil, err
	}
	var replaced []schema.RefreshToken
	for _, bought := range tokens {
		if !bytes.Equal(bought.AccessHash, accessHash) {
			continue
		}
		for _, t := range tokens {
			if bytes.Equal(t.NextHash, bought.Hash) {
				replaced = append(replaced, t)
			}
		}
	}
	return replaced, nil
}

func refreshTokensOf(ctx context.Context, r persistence.Reader, userID, deviceID string) ([]schema.RefreshToken, error) {
	var tokens []schema.RefreshToken
	prefix := schema.TokenByDevice{UserID: userID, DeviceID: deviceID, Kind: refreshKind}
	for row, err := range schema.TokensByDevice.Scan(ctx, r, persistence.Range[schema.TokenByDevice]{Prefix: prefix, Keys: 3}) {
		if err != nil {
			return nil, err
		}
		t, ok, err := schema.RefreshTokens.Get(ctx, r, schema.RefreshToken{Hash: row.Hash})
		if err != nil {
			return nil, err
		}
		if ok {
			tokens = append(tokens, t)
		}
	}
	return tokens, nil
}

// end gives the deletions of a refresh token and of the access token that came with it.
func end(t schema.RefreshToken) []persistence.Mutation {
	index := schema.TokenByDevice{UserID: t.UserID, DeviceID: t.DeviceID}
	access, refresh := index, index
	access.Kind, access.Hash = accessKind, t.AccessHash
	refresh.Kind, refresh.Hash = refreshKind, t.Hash
	return []persistence.Mutation{
		schema.RefreshTokens.Delete(t),
		schema.AccessTokens.Delete(schema.AccessToken{Hash: t.AccessHash}),
		schema.TokensByDevice.Delete(access),
		schema.TokensByDevice.Delete(refresh),
	}
}

// tokensOf gives the deletions of all tokens of a device.
func tokensOf(ctx context.Context, o *user.Op, deviceID string) ([]persistence.Mutation, error) {
	var writes []persistence.Mutation
	prefix := schema.TokenByDevice{UserID: o.UserID, DeviceID: deviceID}
	for row, err := range schema.TokensByDevice.Scan(ctx, o.Store, persistence.Range[schema.TokenByDevice]{Prefix: prefix, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		if row.Kind == accessKind {
			writes = append(writes, schema.AccessTokens.Delete(schema.AccessToken{Hash: row.Hash}))
		} else {
			writes = append(writes, schema.RefreshTokens.Delete(schema.RefreshToken{Hash: row.Hash}))
		}
		writes = append(writes, schema.TokensByDevice.Delete(row))
	}
	return writes, nil
}

// issueShortToken stores a login or OpenID token.
func (ops *operations) issueShortToken(ctx context.Context, o *user.Op, m *messages.IssueShortToken) (*messages.Done, error) {
	_, err := o.Commit(ctx, []persistence.Mutation{schema.ShortTokens.Put(schema.ShortToken{
		Kind: m.TokenKind, Hash: m.Hash, UserID: o.UserID, ExpiresTS: m.ExpiresTs,
	})}, nil, user.Notices{})
	return &messages.Done{}, err
}
