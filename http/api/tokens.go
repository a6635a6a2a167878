package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// cachedSessions bounds how many sessions are remembered.
const cachedSessions = 100_000

// Tokens authenticates by the access tokens in the store and remembers what it found.
type Tokens struct {
	options TokensOptions
	cache   *cache.Cache[[32]byte, *Session]

	// mu orders forgetting and remembering: a session that was read before it was revoked must not be remembered after.
	mu      sync.Mutex
	revoked uint64
}

// TokensOptions are what Tokens needs.
type TokensOptions struct {
	Store persistence.Reader
	Now   func() time.Time
	// Remember is how long a session is believed without looking again. It bounds how long a token still works on this
	// node that was revoked on another: a second in a cluster, longer on a single node, where Forget tells at once.
	Remember time.Duration
	// FirstUse is told of a token with an expiry when it is looked up, so that the refresh token that bought it
	// can be retired (client-server API, "Refreshing access tokens"). It reports whether it ended other tokens of the device.
	FirstUse func(ctx context.Context, s *Session) (ended bool)
}

// NewTokens makes an authenticator.
func NewTokens(o TokensOptions) *Tokens {
	return &Tokens{options: o, cache: cache.New(cache.Options[[32]byte, *Session]{
		Size:    cachedSessions,
		Written: o.Remember,
	})}
}

// Authenticate finds the session of the token.
func (t *Tokens) Authenticate(ctx context.Context, token string, _ *http.Request) (*Session, error) {
	if !secret.Is(secret.Access, token) {
		return nil, UnknownToken(false)
	}
	hash := sha256.Sum256([]byte(token))
	s, ok := t.cache.Get(hash)
	if !ok {
		var err error
		if s, err = t.look(ctx, hash); err != nil {
			return nil, err
		}
	}
	if !s.Expires.IsZero() && !t.options.Now().Before(s.Expires) {
		return nil, UnknownToken(true)
	}
	return s, nil
}

// look reads the session from the store.
func (t *Tokens) look(ctx context.Context, hash [32]byte) (*Session, error) {
	t.mu.Lock()
	before := t.revoked
	t.mu.Unlock()
	row, ok, err := schema.AccessTokens.Get(ctx, t.options.Store, schema.AccessToken{Hash: hash[:]})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, UnknownToken(false)
	}
	account, ok, err := schema.Accounts.Get(ctx, t.options.Store, schema.Account{UserID: row.UserID})
	if err != nil {
		return nil, err
	}
	if !ok || account.Deactivated {
		return nil, UnknownToken(false)
	}
	device, _, err := schema.Devices.Get(ctx, t.options.Store, schema.Device{UserID: row.UserID, DeviceID: row.DeviceID})
	if err != nil {
		return nil, err
	}
	var oauth schema.OAuthSession
	if row.ExpiresTS > 0 { // as all tokens of OAuth 2.0
		oauth, _, err = schema.OAuthSessions.Get(ctx, t.options.Store, schema.OAuthSession{UserID: row.UserID, DeviceID: row.DeviceID})
		if err != nil {
			return nil, err
		}
	}
	s := &Session{
		OAuth:  oauth.ClientID,
		UserID: row.UserID, DeviceID: row.DeviceID, DeviceSince: device.CreatedTS, TokenHash: hash,
		Admin: account.Admin, Locked: account.Locked, Suspended: account.Suspended,
	}
	if row.ExpiresTS > 0 {
		s.Expires = time.UnixMilli(row.ExpiresTS)
		if t.options.FirstUse != nil && t.options.Now().Before(s.Expires) && t.options.FirstUse(ctx, s) {
			t.Forget(s.UserID, s.DeviceID)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.revoked == before {
		t.cache.Set(hash, s)
	}
	return s, nil
}

// Forget makes this node look again at every session of the user, after a logout, a lock or another change of the
// account. An empty deviceID means all devices. It is effective when it returns.
func (t *Tokens) Forget(userID, deviceID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked++
	for hash, s := range t.cache.All() {
		if s.UserID == userID && (deviceID == "" || s.DeviceID == deviceID) {
			t.cache.Delete(hash)
		}
	}
}

// Close ends what runs beside the cache. Authenticate still works afterwards.
func (t *Tokens) Close() { t.cache.Close() }
