// Package keyring knows the keys with which servers sign: those of other servers, which it fetches, checks and keeps, and those of this
// one, which it publishes (server-server API, "Retrieving server keys").
package keyring

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Options are what a Ring needs.
type Options struct {
	Own      *Own
	Store    persistence.Store
	Caller   federation.Caller
	Notaries []string // servers that are asked for the keys of those that do not answer
	Now      func() time.Time
	Log      *slog.Logger
}

// Ring knows the keys of servers (federation.Keys). It is safe for concurrent use.
type Ring struct {
	o        Options
	known    *cache.Cache[name, schema.ServerKey]
	attempts *cache.Cache[string, attempt]
	flight   singleflight.Group
}

type name struct{ server, keyID string }

// attempt is when a server, or the notaries for a key, may be asked again.
type attempt struct {
	failed int
	begun  time.Time
	next   time.Time
}

const (
	rememberedKeys     = 50_000 // those least in use are read from the store again
	rememberedAttempts = 50_000
	// longestValidity is how far into the future a key may be valid (server-server API, "Publishing Keys").
	longestValidity = 7 * 24 * time.Hour
	// A server that gave its keys is not asked again for a minute, whichever key is wanted. One that did not is left alone for as long, and
	// twice as long after each further failure.
	attemptShortest, attemptLongest = time.Minute, time.Hour
	// fetchTimeout bounds asking a server and, after it, the notaries.
	fetchTimeout, askTimeout = 40 * time.Second, 12 * time.Second
	maxDocument              = 256 << 10
)

// New makes a ring.
func New(o Options) *Ring {
	return &Ring{o: o, known: cache.New(cache.Options[name, schema.ServerKey]{Size: rememberedKeys}),
		attempts: cache.New(cache.Options[string, attempt]{Size: rememberedAttempts})}
}

// Key implements federation.Keys.
func (r *Ring) Key(ctx context.Context, server, keyID string, at int64) (ed25519.PublicKey, error) {
	if server == r.o.Own.ServerName {
		return r.o.Own.key(ctx, keyID, at)
	}
	none := fmt.Errorf("%w: %.255s of %.255s", federation.ErrNoKey, keyID, server)
	if !strings.HasPrefix(keyID, "ed25519:") {
		return nil, none
	}
	row, err := r.stored(ctx, server, keyID, at)
	if err != nil {
		return nil, err
	}
	before, asked := r.attempts.Get(server)
	if !good(row, at) && row.ExpiredTS == 0 {
		for _, fetch := range []func(context.Context) error{
			func(ctx context.Context) error { return r.direct(ctx, server) },
			func(ctx context.Context) error { return r.viaNotaries(ctx, server, keyID, at) },
		} {
			if err := fetch(ctx); err != nil {
				return nil, err
			}
			if row, err = r.stored(ctx, server, keyID, at); err != nil {
				return nil, err
			}
			if good(row, at) || row.ExpiredTS != 0 {
				break
			}
		}
	}
	// Who was asked a short while ago, and not now, may have the key by now.
	passed := asked && r.o.Now().Before(before.next)
	if a, _ := r.attempts.Get(server); !good(row, at) && row.ExpiredTS == 0 && (a.failed > 0 || passed) {
		return nil, fmt.Errorf("%w: %.255s of %.255s", federation.ErrKeyUnavailable, keyID, server)
	}
	if !good(row, at) {
		return nil, none
	}
	return row.Public, nil
}

// good reports whether the key is known and was valid at the time, 0 being any.
func good(row schema.ServerKey, at int64) bool {
	switch {
	case row.Public == nil:
		return false
	case at == 0:
		return true
	case row.ExpiredTS != 0:
		return at <= row.ExpiredTS
	}
	return at <= row.ValidUntilTS
}

// stored gives what is known of the key, without a public key if nothing is. What is remembered may be less than what another node has
// stored since.
func (r *Ring) stored(ctx context.Context, server, keyID string, at int64) (schema.ServerKey, error) {
	k := name{server, keyID}
	if row, ok := r.known.Get(k); ok && good(row, at) {
		return row, nil
	}
	row, ok, err := schema.ServerKeys.Get(ctx, r.o.Store, schema.ServerKey{Server: server, KeyID: keyID})
	if err != nil || !ok {
		return schema.ServerKey{}, err
	}
	r.known.Set(k, row)
	return row, nil
}

// once runs the fetch that has this name, unless it ran a short while ago; those who want the same at the same time share it, and it goes on
// though they go. Its error is only that of the store or of ctx: a server that has no keys to give is noted as such.
func (r *Ring) once(ctx context.Context, what string, fetch func(context.Context) (gave bool, err error)) error {
	if a, ok := r.attempts.Get(what); ok && r.o.Now().Before(a.next) {
		return nil
	}
	done := r.flight.DoChan(what, func() (any, error) {
		// It may have ended between the look above and this one.
		was, ok := r.attempts.Get(what)
		if ok && r.o.Now().Before(was.next) {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		gave, err := fetch(ctx)
		next := attempt{begun: r.o.Now(), next: r.o.Now().Add(attemptShortest)}
		if !gave {
			next.failed, next.next = was.failed+1, r.o.Now().Add(min(attemptShortest<<min(was.failed, 10), attemptLongest))
		}
		r.attempts.Set(what, next)
		return nil, err
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

// heardPause is how long a failed attempt must be past for the server to be asked again because somebody speaks in its name.
const heardPause = 10 * time.Second

// Heard has a server that did not give its keys be asked again for the next one that is wanted, since it seems to be back.
func (r *Ring) Heard(server string) {
	a, ok := r.attempts.Get(server)
	if now := r.o.Now(); ok && a.failed > 0 && now.Before(a.next) && !now.Before(a.begun.Add(heardPause)) {
		a.next = now
		r.attempts.Set(server, a)
	}
}

// direct asks the server itself for its keys.
func (r *Ring) direct(ctx context.Context, server string) error {
	return r.once(ctx, server, func(ctx context.Context) (bool, error) {
		raw, err := r.o.Caller.Call(ctx, federation.Request{Destination: server, Method: "GET", URI: "/_matrix/key/v2/server",
			Limit: maxDocument, Timeout: askTimeout, Eager: true})
		if err != nil {
			r.o.Log.Debug("a server does not give its keys", "server", server, "error", err)
			return false, nil
		}
		d, err := parse(raw, server)
		if err != nil {
			r.o.Log.Warn("what a server publishes as its keys is refused", "server", server, "error", err)
			return false, nil
		}
		return true, r.keep(ctx, d, true)
	})
}

// Own gives the keys of this server.
func (r *Ring) Own() *Own { return r.o.Own }
