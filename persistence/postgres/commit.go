package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/matrixon/matrixon/persistence"
)

// The group committer: one goroutine takes everything that waits and writes it in one transaction, in three round trips. The
// first waits for the turn of this node: it locks the positions. What has come meanwhile goes along. The second locks the streams and
// looks whether absent rows are absent; the third writes and commits. A commit that must be refused is left out, which disturbs
// no other.
//
// Nodes take turns in the order in which they asked. For that they wait for an advisory lock: Postgres gives it to whoever has waited the
// longest as it is released, while a row that is unlocked goes to whoever is there first, which is the node that has just committed: it has
// the next batch ready before the others are awake. The row is locked all the same: it is what everything else relies on.

const (
	maxBatchCommits = 2048
	maxBatchBytes   = 4 << 20
	batchTimeout    = 15 * time.Second
	// turnLock is the key of the advisory lock by which nodes take turns.
	turnLock int64 = 0x636f6d6d697473 // "commits"
	// resolveFor is how long the fate of a batch is asked for before its writers are told that it is open.
	resolveFor = 60 * time.Second
)

// await waits for work and takes as much as fits a batch. It gives nil when there will be no more.
func (s *Store) await() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closing {
		s.work.Wait()
	}
	return s.take(nil)
}

// take adds what waits to a batch, as much as fits. The caller holds mu.
func (s *Store) take(batch []*request) []*request {
	size := 0
	for _, r := range batch {
		size += r.size
	}
	n := 0
	for n < len(s.queue) && len(batch) < maxBatchCommits && (len(batch) == 0 || size+s.queue[n].size <= maxBatchBytes) {
		size += s.queue[n].size
		batch = append(batch, s.queue[n])
		n++
	}
	s.queue = slices.Delete(s.queue, 0, n)
	return batch
}

func (s *Store) commitLoop() {
	c := committer{store: s}
	defer c.disconnect()
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	if err := c.connect(ctx); err != nil {
		s.log.Debug("the committer will connect when there is something to commit", "error", err)
	}
	cancel()
	for {
		requests := s.await()
		if len(requests) == 0 {
			return
		}
		c.commit(requests, true)
	}
}

// committer has a connection of its own.
type committer struct {
	store *Store
	conn  *pgx.Conn
}

func (c *committer) disconnect() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx)
	c.conn = nil
}

// connect makes a connection whose transactions Postgres ends when this node falls silent in the middle: they hold up all others.
func (c *committer) connect(ctx context.Context) error {
	if c.conn != nil && !c.conn.IsClosed() {
		return nil
	}
	config := c.store.pool.Config().ConnConfig
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "2000"
	config.RuntimeParams["statement_timeout"] = "10000"
	var err error
	c.conn, err = pgx.ConnectConfig(ctx, config)
	return err
}

// commit has the fate of every request told. It returns when that is decided. With more, what waits by the time it is this node's
// turn is taken along.
func (c *committer) commit(requests []*request, more bool) {
	pause := 20 * time.Millisecond
	deadline := time.Now().Add(resolveFor)
	for {
		b := &batch{id: rand.Text(), requests: requests}
		err := c.try(b, more)
		requests = b.requests
		if err == nil {
			c.store.answered()
			c.store.committed(b)
			return
		}
		c.disconnect()
		if unreachable(err) {
			err = c.store.unavailable(err)
		} else {
			c.store.log.Warn("a batch was not committed at once", "commits", len(requests), "error", err)
		}
		if c.resolve(b, deadline) {
			c.store.committed(b)
			return
		}
		if broken(err) && len(requests) > 1 { // something in it cannot be written: the others shall not suffer from it
			for i := range requests {
				c.commit(requests[i:i+1], false)
			}
			return
		}
		if broken(err) || time.Now().After(deadline) {
			for _, r := range requests {
				r.position, r.err = 0, fmt.Errorf("persistence: the database did not take a commit: %w", err)
			}
			b.first, b.last = 0, 0
			c.store.committed(b)
			return
		}
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

// broken reports whether Postgres refused what was written, so that trying again is of no use: classes 22 (data) and 23
// (integrity), 42 (definition) and 54 (limits).
func broken(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || len(refused.Code) < 2 {
		return false
	}
	return slices.Contains([]string{"22", "23", "42", "54"}, refused.Code[:2])
}

// resolve finds out whether the batch was committed after all. Taking the lock of the positions waits until the transaction, if it
// is still there, has ended.
func (c *committer) resolve(b *batch, deadline time.Time) bool {
	if b.last == 0 {
		return false // it was never asked to be
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		found, err := c.find(b)
		if err == nil {
			return found
		}
		c.disconnect()
		if time.Now().After(deadline) {
			c.store.log.Error("whether a batch was committed is not known", "error", err)
			return false
		}
		time.Sleep(pause)
	}
}

func (c *committer) find(b *batch) (found bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return false, err
	}
	var q pgx.Batch
	q.Queue("BEGIN")
	q.Queue("SELECT last FROM positions FOR UPDATE")
	q.Queue("SELECT EXISTS (SELECT FROM commits WHERE last = $1 AND batch = $2)", int64(b.last), b.id).QueryRow(func(row pgx.Row) error { return row.Scan(&found) })
	q.Queue("ROLLBACK")
	return found, c.conn.SendBatch(ctx, &q).Close()
}

// head is where a stream is.
type head struct {
	epoch persistence.Epoch
	seq   uint64
}

// try carries out one transaction. With a nil error every request has its fate, and it is durable.
func (c *committer) try(b *batch, more bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return err
	}
	a := assembly{store: c.store, heads: map[persistence.Stream]head{}, there: map[string]bool{}}
	last, err := c.turn(ctx)
	if err != nil {
		return err
	}
	if more {
		c.store.mu.Lock()
		b.requests = c.store.take(b.requests)
		c.store.mu.Unlock()
	}
	if q := a.look(b.requests); q.Len() > 0 {
		if err := c.conn.SendBatch(ctx, q).Close(); err != nil {
			return err
		}
	}
	a.next = last
	first := a.next + 1
	for _, r := range b.requests {
		a.add(r)
	}
	if a.next < first { // all were refused
		_, err := c.conn.Exec(ctx, "ROLLBACK")
		return err
	}
	b.first, b.last = first, a.next
	c.store.mu.Lock()
	c.store.inFlight = b.id
	c.store.mu.Unlock()
	if err := a.finish(b); err != nil {
		b.first, b.last = 0, 0
		return err
	}
	return c.conn.SendBatch(ctx, &a.writes).Close()
}

// turn begins the transaction and waits until it is this node's turn: it gives the newest position, which stays that until the end.
func (c *committer) turn(ctx context.Context) (persistence.Position, error) {
	var last int64
	var q pgx.Batch
	q.Queue("BEGIN")
	q.Queue("SELECT pg_advisory_xact_lock($1)", turnLock)
	q.Queue("SELECT last FROM positions FOR UPDATE").QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
	err := c.conn.SendBatch(ctx, &q).Close()
	return persistence.Position(last), err
}

// assembly decides about requests and collects what the accepted ones write.
type assembly struct {
	store  *Store
	heads  map[persistence.Stream]head
	moved  map[persistence.Stream]bool // whose heads have changed
	there  map[string]bool             // rows that were asked for, or written
	next   persistence.Position
	rows   tableRows
	writes pgx.Batch
}

// look is the second round trip: streams, which nobody claims until this transaction is over, and absent rows, which no other
// node can write until then.
func (a *assembly) look(requests []*request) *pgx.Batch {
	q := new(pgx.Batch)
	var kinds, ids []string
	for _, r := range requests {
		if s := r.commit.Stream; s != (persistence.Stream{}) {
			kinds, ids = append(kinds, escape(s.Kind)), append(ids, escape(s.ID))
		}
	}
	if len(kinds) > 0 {
		q.Queue(`SELECT s.kind, s.id, s.epoch, s.seq FROM streams s WHERE (s.kind, s.id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
			ORDER BY s.kind, s.id FOR UPDATE`, kinds, ids).Query(a.readHeads)
	}
	for _, r := range requests {
		for _, m := range r.commit.Absent {
			t := a.store.table(m.Schema)
			key := rowKey(m)
			if _, asked := a.there[key]; asked {
				continue
			}
			a.there[key] = false
			q.Queue(t.exists, t.arguments(m.Row, m.Schema.Keys(), 0)...).QueryRow(func(row pgx.Row) error {
				var is bool
				err := row.Scan(&is)
				a.there[key] = is
				return err
			})
		}
	}
	return q
}

func (a *assembly) readHeads(rows pgx.Rows) error {
	for rows.Next() {
		var kind, id string
		var epoch, seq int64
		if err := rows.Scan(&kind, &id, &epoch, &seq); err != nil {
			return err
		}
		a.heads[persistence.Stream{Kind: unescape(kind), ID: unescape(id)}] = head{persistence.Epoch(epoch), uint64(seq)}
	}
	return rows.Err()
}

func rowKey(m persistence.Mutation) string {
	return m.Schema.Name() + "\x00" + string(m.Schema.EncodeKey(nil, m.Row, nil))
}

// add accepts a request, or refuses it.
func (a *assembly) add(r *request) {
	c := r.commit
	r.position, r.err = 0, a.refusal(c)
	if r.err != nil {
		return
	}
	a.next++
	r.position = a.next
	for _, m := range c.Write {
		a.write(m, r.position)
	}
	if c.Stream == (persistence.Stream{}) {
		return
	}
	h := a.heads[c.Stream]
	h.seq += c.Advance
	a.heads[c.Stream] = h
	if c.Advance > 0 {
		if a.moved == nil {
			a.moved = map[persistence.Stream]bool{}
		}
		a.moved[c.Stream] = true
	}
	if c.Snapshot != nil {
		a.writes.Queue(`INSERT INTO snapshots (kind, id, seq, data) VALUES ($1, $2, $3, $4)
			ON CONFLICT (kind, id) DO UPDATE SET seq = excluded.seq, data = excluded.data`, escape(c.Stream.Kind), escape(c.Stream.ID), int64(h.seq), c.Snapshot)
	}
}

func (a *assembly) refusal(c *persistence.Commit) error {
	if c.Stream != (persistence.Stream{}) {
		h := a.heads[c.Stream]
		if c.Epoch == 0 || c.Epoch != h.epoch {
			return persistence.ErrFenced
		}
		if c.Seq != h.seq {
			return persistence.ErrConflict
		}
	}
	for _, m := range c.Absent {
		if a.there[rowKey(m)] {
			return persistence.ErrExists
		}
	}
	return nil
}

func (a *assembly) write(m persistence.Mutation, p persistence.Position) {
	t := a.store.table(m.Schema)
	key := a.writtenKey(m, p)
	if m.Delete {
		a.rows.add(t, key, op{t.arguments(m.Row, m.Schema.Keys(), 0), true})
	} else {
		a.rows.add(t, key, op{t.arguments(m.Row, len(t.columns), p), false})
	}
	if len(a.there) > 0 {
		a.there[key] = !m.Delete
	}
}

// writtenKey is the key of a row as it is written: with the position, if that is part of it.
func (a *assembly) writtenKey(m persistence.Mutation, p persistence.Position) string {
	if m.Delete {
		return rowKey(m)
	}
	var stamps []int
	key := m.Schema.EncodeKey(nil, m.Row, &stamps)
	persistence.Stamp(key, stamps, p)
	return m.Schema.Name() + "\x00" + string(key)
}

// finish adds what goes with every batch.
func (a *assembly) finish(b *batch) error {
	var kinds, ids []string
	var seqs []int64
	for s := range a.moved {
		kinds, ids, seqs = append(kinds, escape(s.Kind)), append(ids, escape(s.ID)), append(seqs, int64(a.heads[s].seq))
	}
	if len(kinds) > 0 {
		a.writes.Queue(`UPDATE streams SET seq = w.seq FROM unnest($1::text[], $2::text[], $3::bigint[]) AS w (kind, id, seq)
			WHERE streams.kind = w.kind AND streams.id = w.id`, kinds, ids, seqs)
	}
	a.rows.queue(&a.writes)
	notices, err := encodeNotices(b.requests)
	if err != nil {
		return err
	}
	a.writes.Queue("UPDATE positions SET last = $1", int64(b.last))
	a.writes.Queue("INSERT INTO commits (first, last, node, batch, notices) VALUES ($1, $2, $3, $4, $5)",
		int64(b.first), int64(b.last), a.store.options.Node, b.id, notices)
	a.writes.Queue("SELECT pg_notify($1, $2)", channel, word(a.store.id, b, notices))
	a.writes.Queue("COMMIT")
	return nil
}
