package oauth

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// sweepBatch is how many rows one commit deletes.
const sweepBatch = 500

// Sweep deletes what has expired and nobody asks for any more: codes, browsers that were signed in, clients that nobody has let in,
// rendezvous sessions. It is to be called now and then, on any node.
func Sweep(ctx context.Context, store persistence.Store, now time.Time) error {
	ms := now.UnixMilli()
	s := sweep{ctx: ctx, store: store}
	over(&s, schema.OAuthGrants, func(r schema.OAuthGrant) bool { return ms >= r.ExpiresTS })
	over(&s, schema.OAuthDeviceCodes, func(r schema.OAuthDeviceCode) bool { return ms >= r.ExpiresTS })
	over(&s, schema.OAuthDeviceWaits, func(r schema.OAuthDeviceWait) bool { return ms >= r.ExpiresTS })
	over(&s, schema.BrowserSessions, func(r schema.BrowserSession) bool { return ms >= r.ExpiresTS })
	over(&s, schema.CrossSigningResets, func(r schema.CrossSigningReset) bool { return ms >= r.ExpiresTS })
	over(&s, schema.OAuthClients, func(r schema.OAuthClient) bool { return !r.Used && ms-r.CreatedTS >= unusedLife.Milliseconds() })
	over(&s, schema.RendezvousRows, func(r schema.Rendezvous) bool { return ms >= r.ExpiresTS })
	return s.flush()
}

type sweep struct {
	ctx   context.Context
	store persistence.Store
	old   []persistence.Mutation
	err   error
}

// over deletes the rows of a table that are gone.
func over[R any](s *sweep, t *persistence.Table[R], gone func(R) bool) {
	if s.err != nil {
		return
	}
	for row, err := range t.Scan(s.ctx, s.store, persistence.Range[R]{}) {
		if err != nil {
			s.err = err
			return
		}
		if gone(row) {
			s.old = append(s.old, t.Delete(row))
		}
	}
}

// flush deletes what has gathered.
func (s *sweep) flush() error {
	for len(s.old) > 0 && s.err == nil {
		n := min(len(s.old), sweepBatch)
		_, s.err = persistence.Await(s.ctx, s.store, &persistence.Commit{Write: s.old[:n]})
		s.old = s.old[n:]
	}
	return s.err
}
