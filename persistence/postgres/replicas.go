package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/matrixon/matrixon/persistence"
)

const (
	// replicaEvery is how often a replica is asked how far it is, and replicaTrust how long its answer is relied on.
	replicaEvery = 100 * time.Millisecond
	replicaTrust = time.Second
	// replicaTimeout bounds one query of a replica; then the primary is asked.
	replicaTimeout = 5 * time.Second
)

// replica is a streaming copy of the database that answers reads which need not see the newest (persistence.AsOf). The row of the
// positions is written in the transactions of the commits, which become visible on a replica in their order too; so what it
// says to have, all its later answers include.
type replica struct {
	pool    *pgxpool.Pool
	primary *pgxpool.Pool
	log     *slog.Logger
	host    string
	// has is the newest position that is known to be there; 0 while it does not answer.
	has    atomic.Uint64
	looked atomic.Int64 // when it said so, in ns
}

func openReplica(ctx context.Context, url string, primary *pgxpool.Pool, o Options) (*replica, error) {
	config, err := poolConfig(url, o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	c := config.ConnConfig
	return &replica{pool: pool, primary: primary, log: o.Log, host: fmt.Sprintf("%s:%d", c.Host, c.Port)}, nil
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
				r.log.Info("a replica of the database is used again", "replica", r.host)
			} else {
				r.log.Warn("a replica of the database is not used; the primary is asked instead", "replica", r.host, "error", err)
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
	began := time.Now()
	last, err := r.examine(ctx)
	if err != nil {
		r.has.Store(0)
		return err
	}
	r.looked.Store(began.UnixNano())
	r.has.Store(uint64(last))
	return nil
}

// examine asks the replica for its newest batch, and the primary whether it has that too. For a replica may follow a server that
// the primary is no longer, or be another database altogether; the names of batches are random.
func (r *replica) examine(ctx context.Context) (last int64, err error) {
	var batch string
	err = r.pool.QueryRow(ctx, "SELECT last, batch FROM commits ORDER BY last DESC LIMIT 1").Scan(&last, &batch)
	if errors.Is(err, pgx.ErrNoRows) { // nothing has been committed yet, or not since the data was copied
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var same bool
	err = r.primary.QueryRow(ctx, "SELECT EXISTS (SELECT FROM commits WHERE last = $1 AND batch = $2)", last, batch).Scan(&same)
	if err == nil && !same {
		err = errors.New("its newest commits are not the primary's: it follows another server, or is very far behind")
	}
	return last, err
}

// reaches reports whether the replica has everything up to the position.
func (r *replica) reaches(p persistence.Position) bool {
	return r.has.Load() >= uint64(max(p, 1)) && time.Now().UnixNano()-r.looked.Load() < int64(replicaTrust)
}

// replicaFor is a replica that has what is read under the context, each in turn; nil: the primary is to be asked.
func (s *Store) replicaFor(ctx context.Context) *replica {
	need, ok := persistence.AsOfPosition(ctx)
	if !ok || len(s.replicas) == 0 {
		return nil
	}
	first := int(s.turn.Add(1))
	for i := range s.replicas {
		if r := s.replicas[(first+i)%len(s.replicas)]; r.reaches(need) {
			return r
		}
	}
	return nil
}

// Replicas tells how many replicas there are, and how many of them are used.
func (s *Store) Replicas() (configured, used int) {
	for _, r := range s.replicas {
		if r.reaches(1) {
			used++
		}
	}
	return len(s.replicas), used
}

// failed notes that a read from a replica has failed, and gives what is to be done about it: nothing when the primary can be asked instead.
// It cannot when rows were given to the caller already, which the primary would give as they are at another moment.
func (r *replica) failed(ctx context.Context, given bool, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	r.has.Store(0) // until it answers again
	if given {
		return fmt.Errorf("%w: replica %s: %w", persistence.ErrUnavailable, r.host, err)
	}
	return nil
}
