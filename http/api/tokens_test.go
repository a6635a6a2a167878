package api_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// slow is a store in which something happens after each read of a row.
type slow struct {
	persistence.Store
	reads atomic.Int64
	after func()
}

func (s *slow) ReadRow(ctx context.Context, sc *persistence.Schema, row any) (bool, error) {
	s.reads.Add(1)
	ok, err := s.Store.ReadRow(ctx, sc, row)
	if s.after != nil {
		s.after()
	}
	return ok, err
}

func newTokens(t *testing.T, o api.TokensOptions) *api.Tokens {
	tokens := api.NewTokens(o)
	t.Cleanup(tokens.Close)
	return tokens
}

func tokenStore(t *testing.T, token string, expires int64) *slow {
	t.Helper()
	s := memory.New(memory.Options{})
	t.Cleanup(func() { _ = s.Close() })
	write(t, s, schema.Accounts.Put(schema.Account{UserID: "@a:x"}),
		schema.AccessTokens.Put(schema.AccessToken{Hash: secret.Hash(token), UserID: "@a:x", DeviceID: "D", ExpiresTS: expires}))
	return &slow{Store: s}
}

func write(t *testing.T, s persistence.Store, rows ...persistence.Mutation) {
	t.Helper()
	if _, err := persistence.Await(context.Background(), s, &persistence.Commit{Write: rows}); err != nil {
		t.Fatal(err)
	}
}

func TestSessionsAreRemembered(t *testing.T) {
	t.Parallel()
	token := secret.New(secret.Access)
	store := tokenStore(t, token, 0)
	tokens := newTokens(t, api.TokensOptions{Store: store, Now: time.Now, Remember: time.Minute})
	for range 3 {
		s, err := tokens.Authenticate(context.Background(), token, nil)
		if err != nil || s.UserID != "@a:x" || s.DeviceID != "D" {
			t.Fatalf("%+v %v", s, err)
		}
	}
	if store.reads.Load() != 3 {
		t.Errorf("%d reads for three requests", store.reads.Load())
	}
	write(t, store.Store, schema.AccessTokens.Delete(schema.AccessToken{Hash: secret.Hash(token)}))
	if _, err := tokens.Authenticate(context.Background(), token, nil); err != nil {
		t.Errorf("the session was not remembered: %v", err)
	}
	tokens.Forget("@a:x")
	if _, err := tokens.Authenticate(context.Background(), token, nil); mxerr.From(err).Code != "M_UNKNOWN_TOKEN" {
		t.Errorf("after the logout: %v", err)
	}
}

func TestARevokedSessionIsNotRememberedByARaceWithItsReading(t *testing.T) {
	t.Parallel()
	token := secret.New(secret.Access)
	store := tokenStore(t, token, 0)
	tokens := newTokens(t, api.TokensOptions{Store: store, Now: time.Now, Remember: time.Hour})
	store.after = func() {
		store.after = nil
		write(t, store.Store, schema.AccessTokens.Delete(schema.AccessToken{Hash: secret.Hash(token)}))
		tokens.Forget("@a:x")
	}
	if _, err := tokens.Authenticate(context.Background(), token, nil); err != nil {
		t.Fatalf("the token was valid when it was read: %v", err)
	}
	if _, err := tokens.Authenticate(context.Background(), token, nil); mxerr.From(err).Code != "M_UNKNOWN_TOKEN" {
		t.Errorf("the revoked session was remembered: %v", err)
	}
}

func TestRevocationElsewhereIsNoticedInTime(t *testing.T) {
	t.Parallel()
	token := secret.New(secret.Access)
	store := tokenStore(t, token, 0)
	tokens := newTokens(t, api.TokensOptions{Store: store, Now: time.Now, Remember: time.Nanosecond})
	if _, err := tokens.Authenticate(context.Background(), token, nil); err != nil {
		t.Fatal(err)
	}
	write(t, store.Store, schema.AccessTokens.Delete(schema.AccessToken{Hash: secret.Hash(token)}))
	if _, err := tokens.Authenticate(context.Background(), token, nil); mxerr.From(err).Code != "M_UNKNOWN_TOKEN" {
		t.Errorf("believed longer than it should be: %v", err)
	}
}

func TestMadeUpTokensAreNotLookedUp(t *testing.T) {
	t.Parallel()
	token := secret.New(secret.Access)
	store := tokenStore(t, token, 0)
	tokens := newTokens(t, api.TokensOptions{Store: store, Now: time.Now, Remember: time.Minute})
	flipped := token[:10] + string(token[10]^1) + token[11:]
	for _, bad := range []string{"", "x", "mxat_", flipped, token + "a", token[:len(token)-1], secret.New(secret.Refresh), strings.Repeat("mxat_", 1000)} {
		if _, err := tokens.Authenticate(context.Background(), bad, nil); mxerr.From(err).Code != "M_UNKNOWN_TOKEN" {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	if store.reads.Load() != 0 {
		t.Errorf("%d reads for tokens that cannot exist", store.reads.Load())
	}
}

func TestExpiredTokensLogOutSoftly(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	token := secret.New(secret.Access)
	store := tokenStore(t, token, now.UnixMilli()+1000)
	used := 0
	tokens := newTokens(t, api.TokensOptions{Store: store, Now: func() time.Time { return now }, Remember: time.Hour,
		FirstUse: func(context.Context, *api.Session) bool { used++; return false }})
	if _, err := tokens.Authenticate(context.Background(), token, nil); err != nil || used != 1 {
		t.Fatalf("%v, told %d times", err, used)
	}
	now = now.Add(time.Second)
	_, err := tokens.Authenticate(context.Background(), token, nil)
	if e := mxerr.From(err); e.Code != "M_UNKNOWN_TOKEN" || e.Fields["soft_logout"] != true {
		t.Errorf("%v %v", err, e.Fields)
	}
}

func TestTokensOfDifferentKindsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, kind := range []secret.Kind{secret.Access, secret.Refresh, secret.Login, secret.OpenID, secret.Session} {
		for range 100 {
			token := secret.New(kind)
			if seen[token] || !secret.Is(kind, token) || !strings.HasPrefix(token, string(kind)+"_") {
				t.Fatalf("%s", token)
			}
			seen[token] = true
		}
	}
}
