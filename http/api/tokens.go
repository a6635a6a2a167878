package api

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// cachedSessions bounds how many sessions are remembered: more than one node has devices syncing. Each takes about half a kB.
const cachedSessions = 400_000

// Tokens authenticates by the access tokens in the store and remembers what it found.
type Tokens struct {
	options TokensOptions
	cache   *cache.Cache[[32]byte, remembered]

	// forgotten counts how often sessions were forgotten, of each user together with those who share the place; all, of everybody.
	seed      maphash.Seed
	forgotten [4096]atomic.Uint64
	all       atomic.Uint64
}

// remembered is a session as it was read when those of its user had been forgotten so often: it is good until they are once more. So one that
// was read before it was revoked is not believed after.
type remembered struct {
	session   *Session
	forgotten uint64
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
	return &Tokens{options: o, seed: maphash.MakeSeed(), cache: cache.New(cache.Options[[32]byte, remembered]{
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
	known, ok := t.cache.Get(hash)
	s := known.session
	if !ok || known.forgotten != t.place(s.UserID).Load() {
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
	before := t.all.Load()
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
			t.Forget(s.UserID)
		}
	}
	if r := (remembered{s, t.place(s.UserID).Load()}); t.all.Load() == before { // it is what it was when the reading began
		t.cache.Set(hash, r)
	}
	return s, nil
}

// place counts for the user.
func (t *Tokens) place(userID string) *atomic.Uint64 {
	return &t.forgotten[maphash.String(t.seed, userID)%uint64(len(t.forgotten))]
}

// Forget makes this node look again at every session of the user, after a logout, a lock or another change of the account. It is effective
// when it returns.
func (t *Tokens) Forget(userID string) {
	t.all.Add(1) // first: whoever sees the user's count changed sees this too
	t.place(userID).Add(1)
}

// Close ends what runs beside the cache. Authenticate still works afterwards.
func (t *Tokens) Close() { t.cache.Close() }
