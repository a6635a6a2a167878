package api

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/cache"
)

// Limit is a kind of action whose rate is limited, as the configuration names it.
type Limit string

// The kinds of actions.
const (
	LimitLogin       Limit = "login"        // attempts by address
	LimitLoginFailed Limit = "login_failed" // failures by account
	LimitRegister    Limit = "register"
	LimitMessage     Limit = "message" // events that a user sends
	LimitJoin        Limit = "join"
	LimitInvite      Limit = "invite"
	LimitCreateRoom  Limit = "create_room"
	LimitSearch      Limit = "search"
	LimitMedia       Limit = "media"
	LimitMediaRemote Limit = "media_remote" // KiB of files that are fetched from other servers
	LimitKeys        Limit = "keys"
	LimitAccount     Limit = "account" // changes of the account: profile, account data, push rules, devices
	LimitRead        Limit = "read"    // costly reading
	LimitReport      Limit = "report"
	LimitEmail       Limit = "email"      // messages to an email address that somebody names
	LimitFederation  Limit = "federation" // requests by remote server
)

// Rate is how often something may happen: Burst times at once, and PerSecond in the long run.
type Rate struct {
	PerSecond float64
	Burst     int
}

// DefaultRates are made for people and their bots: they stop loops and guessing, not conversations.
func DefaultRates() map[Limit]Rate {
	return map[Limit]Rate{
		LimitLogin:       {1, 20},
		LimitLoginFailed: {0.1, 10},
		LimitRegister:    {0.2, 10},
		LimitMessage:     {20, 200},
		LimitJoin:        {1, 30},
		LimitInvite:      {1, 50},
		LimitCreateRoom:  {0.5, 20},
		LimitSearch:      {2, 20},
		LimitMedia:       {20, 200},
		LimitMediaRemote: {1024, 1 << 19},
		LimitKeys:        {50, 500},
		LimitAccount:     {10, 200},
		LimitRead:        {50, 500},
		LimitReport:      {0.2, 10},
		LimitEmail:       {0.005, 5},
		LimitFederation:  {100, 1000},
	}
}

const (
	// limitKeys bounds how many callers are counted at once; those least in use are forgotten first.
	limitKeys = 100_000
	// limitMemory is how long a caller is remembered who does nothing; by then every bucket is full again, or nearly.
	limitMemory = 10 * time.Minute
)

// Limiter counts actions.
type Limiter interface {
	// Take counts n actions of key, or refuses them with 429 M_LIMIT_EXCEEDED. With n 0 it refuses when none is left, but
	// counts nothing.
	Take(ctx context.Context, kind Limit, key string, n int) error
}

// Limits counts actions in memory. A nil *Limits allows everything.
type Limits struct {
	rates   map[Limit]Rate
	now     func() time.Time
	buckets *cache.Cache[limitKey, *rate.Limiter]
}

type limitKey struct {
	kind Limit
	key  string
}

// NewLimits makes limits of these rates; a kind that has none, or a rate of zero, is not limited.
func NewLimits(rates map[Limit]Rate, now func() time.Time) *Limits {
	return &Limits{rates: rates, now: now, buckets: cache.New(cache.Options[limitKey, *rate.Limiter]{
		Size:     limitKeys,
		Accessed: limitMemory,
	})}
}

// Limited reports whether actions of this kind are counted at all.
func (l *Limits) Limited(kind Limit) bool { return l != nil && l.rates[kind].PerSecond > 0 }

// Take implements Limiter.
func (l *Limits) Take(_ context.Context, kind Limit, key string, n int) error {
	if !l.Limited(kind) {
		return nil
	}
	r := l.rates[kind]
	bucket := l.buckets.GetOrMake(limitKey{kind, key}, func() *rate.Limiter {
		return rate.NewLimiter(rate.Limit(r.PerSecond), max(r.Burst, 1))
	})
	now := l.now()
	if n == 0 {
		if tokens := bucket.TokensAt(now); tokens < 1 {
			return mxerr.LimitExceeded(waitFor(1-tokens, r))
		}
		return nil
	}
	if bucket.AllowN(now, n) {
		return nil
	}
	return mxerr.LimitExceeded(waitFor(float64(n)-bucket.TokensAt(now), r))
}

// waitFor is how many milliseconds it takes until that many tokens have come.
func waitFor(tokens float64, r Rate) int64 {
	return max(1, int64(tokens/r.PerSecond*1000)+1)
}

// Close ends what runs beside the counting. Take still works afterwards.
func (l *Limits) Close() {
	if l != nil {
		l.buckets.Close()
	}
}
