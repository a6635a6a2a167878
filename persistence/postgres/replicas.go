package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/matrixon/matrixon/persistence"
)

// replicaEvery is how often a replica is asked how far it is.
const replicaEvery = 100 * time.Millisecond

// replica is a streaming copy of the database that answers reads which need not see the newest (persistence.AsOf).
type replica struct {
	pool *pgxpool.Pool
	log  *slog.Logger
	host string
	// has is the newest position that is known to be there; 0 while it does not answer. What was there stays there.
	has atomic.Uint64
}

func openReplica(ctx context.Context, url string, o Options) (*replica, error) {
	config, err := poolConfig(url, o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	c := config.ConnConfig
	return &replica{pool: pool, log: o.Log, host: fmt.Sprintf("%s:%d", c.Host, c.Port)}, nil
}

// follow keeps asking the replica how far it is, until ctx ends.
func (r *replica) follow(ctx context.Context) {
	ticker := time.NewTicker(replicaEvery)
	defer ticker.Stop()
	well := true
	for {
		if err := r.look(ctx); ctx.Err() != nil {
			return
		} else if is := err == nil; is != well {
			well = is
			if is {
				r.log.Info("a replica of the database answers again", "replica", r.host)
			} else {
				r.log.Warn("a replica of the database does not answer; the primary is asked instead", "replica", r.host, "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *replica) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var last int64
	if err := r.pool.QueryRow(ctx, "SELECT last FROM positions").Scan(&last); err != nil {
		r.has.Store(0)
		return err
	}
	r.has.Store(uint64(last))
	return nil
}

// source is where a read goes: to a replica that has what it needs, in turn, else to the primary.
func (s *Store) source(ctx context.Context) (pool *pgxpool.Pool, from *replica) {
	need, ok := persistence.AsOfPosition(ctx)
	if !ok || len(s.replicas) == 0 {
		return s.pool, nil
	}
	first := int(s.turn.Add(1))
	for i := range s.replicas {
		if r := s.replicas[(first+i)%len(s.replicas)]; r.has.Load() >= uint64(max(need, 1)) {
			return r.pool, r
		}
	}
	return s.pool, nil
}

// failed notes that a read from a replica has failed, and reports whether the primary should be asked instead: it always should, unless
// rows were given to the caller already, or the caller has gone.
func (r *replica) failed(ctx context.Context, given bool, err error) bool {
	if r == nil || err == nil || ctx.Err() != nil {
		return false
	}
	r.has.Store(0) // until it answers again
	return !given
}
