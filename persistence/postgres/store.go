// Package postgres keeps the data of a cluster in one Postgres that all its nodes share.
//
// # Positions
//
// A sync token is a position: everything at or below it has been told. So no commit may become visible below a position
// that some node has passed already. Each batch of commits takes its positions from one row that it keeps locked until it
// is committed; so batches of all nodes become visible in the order of their positions, one after the other, and an
// aborted batch leaves no hole. That makes commits of a cluster as fast as Postgres can synchronise batches in a row; because
// a node writes everything that waits as one batch, more load makes larger batches, not longer queues.
//
// # Notices
//
// Each batch leaves its notices in the table commits. Every node reads that table in order, woken by NOTIFY, and so is told
// of all commits of all nodes, in the same order and without a gap, whoever died in between. Its own batches it tells from
// memory, and those of which NOTIFY said everything need not be read. Rows are deleted after a quarter of an hour; a node that was away for longer must begin anew.
//
// # Failures
//
// A connection that breaks during COMMIT leaves open whether it happened. The store then asks: it takes the lock of the
// positions, which waits until the old transaction is over either way, and looks for the batch in commits.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/internal/ordered"
)

// Options say where the database is. Zero values mean the defaults.
type Options struct {
	URL  string
	Node string // who we are, for those who look into the table commits
	// Replicas are the URLs of streaming copies. They answer the reads of persistence.AsOf, if they are far enough.
	Replicas []string
	Log      *slog.Logger
	// Connections bounds the connections for reading; 32 by default. Writing takes three more.
	Connections int
	// MaxWaiting is how many commits may wait for their done functions before ErrOverloaded; 65536 by default.
	MaxWaiting int
	// MaxBytes is how large the waiting commits may be together, roughly; 256 MiB by default.
	MaxBytes int
	// Lost is called once when the store cannot go on: it was away for longer than notices are kept.
	Lost func(error)
}

// Store implements persistence.Store.
type Store struct {
	options  Options
	log      *slog.Logger
	pool     *pgxpool.Pool
	replicas []*replica
	turn     atomic.Uint32 // of the replicas
	closed   atomic.Bool
	follower persistence.Follower
	position ordered.Progress
	health   health
	tables   sync.Map // *persistence.Schema → *table

	mu       sync.Mutex
	work     *sync.Cond
	queue    []*request
	waiting  int
	bytes    int
	closing  bool
	batches  []*batch // decided, not yet told
	inFlight string   // the id of the batch that is being committed
	heard    []heard  // batches of other nodes, to be told
	told     *sync.Cond
	feedWork chan struct{}
	notified atomic.Bool // another node says that there is something to read
	id       string      // of this store among all that have the database open

	stop    context.CancelFunc // of everything in the background
	running sync.WaitGroup     // the committer
	feeding sync.WaitGroup     // what tells
	once    sync.Once
}

// request is a commit that waits.
type request struct {
	commit *persistence.Commit
	size   int
	done   persistence.Done
	// refused says that it was never queued.
	refused bool

	position persistence.Position
	err      error
}

// batch is what one transaction committed, or refused.
type batch struct {
	id          string
	first, last persistence.Position // 0 when nothing in it was accepted
	requests    []*request
}

// Open connects to the database and brings it to the layout of this version.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Connections == 0 {
		o.Connections = 32
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 65536
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	config, err := poolConfig(o.URL, o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, pool, o.Log); err != nil {
		pool.Close()
		return nil, err
	}
	unfinished, err := copyBegun(ctx, pool)
	if err == nil && unfinished {
		err = persistence.ErrUnfinished
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	s := &Store{options: o, log: o.Log, pool: pool, feedWork: make(chan struct{}, 1), id: rand.Text()}
	s.work, s.told = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	var last int64
	if err := pool.QueryRow(ctx, "SELECT last FROM positions").Scan(&last); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reading the position: %w", err)
	}
	s.position.Set(uint64(last))
	for _, url := range o.Replicas {
		r, err := openReplica(ctx, url, pool, o)
		if err != nil {
			s.closePools()
			return nil, fmt.Errorf("a replica: %w", err)
		}
		s.replicas = append(s.replicas, r)
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, r := range s.replicas {
		s.feeding.Go(func() { r.follow(background) })
	}
	s.running.Go(s.commitLoop)
	s.feeding.Go(func() { s.feed(background) })
	s.feeding.Go(func() { s.listen(background) })
	s.feeding.Go(func() { s.prune(background) })
	return s, nil
}

// poolConfig says how connections for reading are made.
func poolConfig(url string, o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(o.Connections)
	config.MinIdleConns = int32(min(o.Connections, idleConnections))
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = "matrixon " + o.Node
	return config, nil
}

// idleConnections are kept for what comes: making one takes as long as many reads, most of all when the node has just been started and
// its actors come back all at once.
const idleConnections = 4

func (s *Store) closePools() {
	s.pool.Close()
	for _, r := range s.replicas {
		r.pool.Close()
	}
}

// connectTimeout bounds making a connection.
const connectTimeout = 5 * time.Second

func (s *Store) table(schema *persistence.Schema) *table {
	if t, ok := s.tables.Load(schema); ok {
		return t.(*table)
	}
	t, _ := s.tables.LoadOrStore(schema, newTable(schema))
	return t.(*table)
}

// Follow implements persistence.Store.
func (s *Store) Follow(f persistence.Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follower = f
}

func (s *Store) tell(p persistence.Position, notices []proto.Message) {
	s.mu.Lock()
	f := s.follower
	s.mu.Unlock()
	if f != nil && len(notices) > 0 {
		f(p, notices)
	}
}

// Position implements persistence.Store.
func (s *Store) Position() persistence.Position { return persistence.Position(s.position.Now()) }

// CatchUp implements persistence.Store.
func (s *Store) CatchUp(ctx context.Context) (persistence.Position, error) {
	if err := s.readable(ctx); err != nil {
		return 0, err
	}
	var last int64
	if err := s.pool.QueryRow(ctx, "SELECT last FROM positions").Scan(&last); err != nil {
		return 0, s.readError(ctx, err)
	}
	s.wakeFeed()
	err := s.position.Wait(ctx, uint64(last))
	return s.Position(), err
}

// Submit implements persistence.Store.
func (s *Store) Submit(c *persistence.Commit, done persistence.Done) {
	r := &request{commit: c, done: done, size: sizeOf(c)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() { // nothing else is told any more, so there is no order to keep
		go done(0, persistence.ErrClosed)
		return
	}
	switch {
	case s.closing:
		r.err = persistence.ErrClosed
	case s.waiting > 0 && (s.waiting >= s.options.MaxWaiting || s.bytes+r.size > s.options.MaxBytes):
		r.err = persistence.ErrOverloaded
	case !valid(c):
		r.err = errors.New("persistence: a commit without a stream cannot name an epoch, a sequence number or a snapshot, and a stream needs a kind")
	}
	if r.err != nil {
		r.refused = true
		s.batches = append(s.batches, &batch{requests: []*request{r}})
		s.wakeFeed()
		return
	}
	s.waiting++
	s.bytes += r.size
	s.queue = append(s.queue, r)
	s.work.Signal()
}

func valid(c *persistence.Commit) bool {
	if c.Stream == (persistence.Stream{}) {
		return c.Epoch == 0 && c.Seq == 0 && c.Advance == 0 && c.Snapshot == nil
	}
	return c.Stream.Kind != ""
}

// sizeOf is roughly what a commit takes.
func sizeOf(c *persistence.Commit) int {
	const perRow = 512
	size := 256 + len(c.Snapshot) + perRow*len(c.Write)
	for _, m := range c.Write {
		for i, v := range m.Schema.Values(make([]any, 0, 20), m.Row) {
			if b, ok := v.([]byte); ok && i > 0 {
				size += len(b)
			}
		}
	}
	return size
}

// Claim implements persistence.Store.
func (s *Store) Claim(ctx context.Context, stream persistence.Stream) (persistence.Activation, error) {
	if stream.Kind == "" {
		return persistence.Activation{}, errors.New("persistence: a stream needs a kind")
	}
	if err := s.readable(ctx); err != nil {
		return persistence.Activation{}, err
	}
	// In one piece, which is one transaction: as long as it lasts no batch with a commit of the stream gets on, and no other batch either.
	var a persistence.Activation
	var q pgx.Batch
	kind, id := escape(stream.Kind), escape(stream.ID)
	q.Queue(`INSERT INTO streams (kind, id, epoch, seq) VALUES ($1, $2, 1, 0)
		ON CONFLICT (kind, id) DO UPDATE SET epoch = streams.epoch + 1 RETURNING epoch, seq`, kind, id).QueryRow(func(row pgx.Row) error {
		var epoch, seq int64
		err := row.Scan(&epoch, &seq)
		a.Epoch, a.Seq = persistence.Epoch(epoch), uint64(seq)
		return err
	})
	q.Queue("SELECT seq, data FROM snapshots WHERE kind = $1 AND id = $2", kind, id).QueryRow(func(row pgx.Row) error {
		var at int64
		err := row.Scan(&at, &a.Snapshot)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		a.SnapshotSeq = uint64(at)
		return err
	})
	err := s.pool.SendBatch(ctx, &q).Close()
	if err != nil {
		return persistence.Activation{}, s.readError(ctx, err)
	}
	return a, nil
}

// drain waits until everything that was decided has been told, as far as that is possible. Then the store is closed.
func (s *Store) drain() {
	late := false
	timer := time.AfterFunc(batchTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.told.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.batches) > 0 && !late {
		s.told.Wait()
	}
	s.closed.Store(true)
}

// Close implements persistence.Store.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closing = true
		s.work.Broadcast()
		s.mu.Unlock()
		s.running.Wait() // everything that was queued has been committed
		s.drain()
		s.stop()
		s.feeding.Wait()
		s.closePools()
	})
	return nil
}
