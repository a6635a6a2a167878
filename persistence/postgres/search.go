package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// Search is the full-text index in the same database, shared by all nodes. Tokens become the lexemes of a tsvector as they are:
// no dictionary of Postgres has a say in what is found.
type Search struct {
	store   *Store
	portion int // texts that are looked at first
}

// Search gives the full-text index. It lives as long as the store.
func (s *Store) Search() *Search { return &Search{store: s, portion: 5000} }

// Update implements persistence.Searcher.
func (x *Search) Update(ctx context.Context, put []persistence.Text, remove []persistence.TextRef) error {
	if err := x.store.readable(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	for _, t := range put {
		batch.Queue(`INSERT INTO search_texts (room_id, seq, key, sender, ts, tokens) VALUES ($1, $2, $3, $4, $5, array_to_tsvector($6::text[]))
			ON CONFLICT (room_id, seq) DO UPDATE SET key = excluded.key, sender = excluded.sender, ts = excluded.ts, tokens = excluded.tokens`,
			t.RoomID, int64(t.Seq), t.Key, t.Sender, t.TS, t.Tokens)
	}
	for _, ref := range remove {
		batch.Queue("DELETE FROM search_texts WHERE room_id = $1 AND seq = $2", ref.RoomID, int64(ref.Seq))
	}
	if batch.Len() == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, x.store.pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
	return x.store.readError(ctx, err)
}

// Search implements persistence.Searcher. What is in very many texts is found among the newest ones, along the index of their times. What
// is not is looked up by its tokens in all of them.
func (x *Search) Search(ctx context.Context, q persistence.TextQuery) ([]persistence.TextHit, error) {
	if len(q.Tokens) == 0 || len(q.Rooms) == 0 || q.Limit <= 0 {
		return nil, nil
	}
	if err := x.store.readable(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	search := x.best
	if q.Recent {
		search = x.recent
	}
	hits, err := search(ctx, q)
	return hits, x.store.readError(ctx, err)
}

// recent finds the newest.
func (x *Search) recent(ctx context.Context, q persistence.TextQuery) ([]persistence.TextHit, error) {
	const (
		sparse = 200 // of so many texts one must be found, or all are looked up
		twice  = 2   // as many as will do, as far as can be told
	)
	for portion, most := x.portion, 10*x.portion; portion <= most; {
		since, err := x.since(ctx, q.After, portion)
		if err != nil {
			return nil, err
		}
		if since == math.MinInt64 {
			break
		}
		hits, _, err := x.find(ctx, q, since)
		if err != nil || len(hits) == q.Limit {
			return hits, err
		}
		if len(hits) == 0 || len(hits) < portion/sparse {
			break
		}
		portion *= twice * (q.Limit/len(hits) + 1)
	}
	hits, _, err := x.find(ctx, q, math.MinInt64)
	return hits, err
}

// best finds the best, of what is found very often those among the newest texts. What comes after a hit is of the same.
func (x *Search) best(ctx context.Context, q persistence.TextQuery) ([]persistence.TextHit, error) {
	const (
		more  = 4  // times as many are ranked as are looked at for what is recent
		often = 20 // of so many texts one is found
	)
	if q.After != nil {
		since := q.After.Since
		if since == 0 {
			since = math.MinInt64
		}
		hits, _, err := x.find(ctx, q, since)
		return hits, err
	}
	since, err := x.since(ctx, nil, more*x.portion)
	if err != nil {
		return nil, err
	}
	hits, total, err := x.find(ctx, q, since)
	if err == nil && since > math.MinInt64 && total < more*x.portion/often {
		hits, _, err = x.find(ctx, q, math.MinInt64)
	}
	return hits, err
}

// since is when the newest texts begin, so many of them, from a hit on; math.MinInt64 when there are no more than that.
func (x *Search) since(ctx context.Context, after *persistence.TextHit, portion int) (ts int64, err error) {
	last := int64(math.MaxInt64)
	if after != nil {
		last = after.TS
	}
	err = x.store.pool.QueryRow(ctx, "SELECT ts FROM search_texts WHERE ts <= $1 ORDER BY ts DESC, room_id DESC, seq DESC OFFSET $2 LIMIT 1", last, portion).Scan(&ts)
	if errors.Is(err, pgx.ErrNoRows) {
		return math.MinInt64, nil
	}
	return ts, err
}

// find finds texts that are not older, and says how many there are before and after q.After.
func (x *Search) find(ctx context.Context, q persistence.TextQuery, since int64) (hits []persistence.TextHit, total int, err error) {
	sql, args := searchQuery(q, since)
	// It is planned anew each time: how it is best done depends on how frequent the tokens are.
	rows, err := x.store.pool.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		return nil, 0, err
	}
	hits, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (hit persistence.TextHit, err error) {
		var seq int64
		err = row.Scan(&hit.RoomID, &seq, &hit.TS, &hit.Rank, &total)
		hit.Seq = uint64(seq)
		if !q.Recent && since > math.MinInt64 {
			hit.Since = since
		}
		return hit, err
	})
	return hits, total, err
}

// searchQuery writes the query; where it goes on is compared as a row, so that ties are not torn apart.
func searchQuery(q persistence.TextQuery, since int64) (string, []any) {
	args := []any{tsquery(q.Tokens), q.Rooms}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	where := "tokens @@ $1::tsquery AND room_id = ANY($2)"
	if len(q.Keys) > 0 {
		where += " AND key = ANY(" + arg(q.Keys) + ")"
	}
	if len(q.Senders) > 0 {
		where += " AND sender = ANY(" + arg(q.Senders) + ")"
	}
	if since > math.MinInt64 {
		where += " AND ts >= " + arg(since)
	}
	if q.Recent && q.After != nil {
		where += " AND ts <= " + arg(q.After.TS)
	}
	// The rank takes the length of the text into account.
	columns, rank, total := []string{"ts", "room_id", "seq"}, "0", "0"
	if !q.Recent {
		columns = append([]string{"rank"}, columns...)
		rank, total = "ts_rank(tokens, $1::tsquery, 1)", "count(*) OVER ()"
	}
	after := ""
	if a := q.After; a != nil {
		values := []string{arg(a.TS), arg(a.RoomID), arg(int64(min(a.Seq, math.MaxInt64)))}
		if !q.Recent {
			values = append([]string{arg(a.Rank)}, values...)
		}
		after = " WHERE (" + strings.Join(columns, ", ") + ") < (" + strings.Join(values, ", ") + ")"
	}
	// The sum keeps the planner from going along the times without an end, in the hope that enough is found soon. That has been tried.
	order := strings.Replace(strings.Join(columns, " DESC, "), "ts", "ts + 0", 1) + " DESC"
	return "SELECT room_id, seq, ts, rank, total FROM (SELECT room_id, seq, ts, " + rank + "::float8 AS rank, " + total + "::bigint AS total FROM search_texts WHERE " +
		where + ") AS found" + after + " ORDER BY " + order + " LIMIT " + arg(q.Limit), args
}

// tsquery writes the tokens as Postgres reads them.
func tsquery(tokens []words.Token) string {
	quoted := make([]string, len(tokens))
	for i, token := range tokens {
		quoted[i] = "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(token.Text) + "'"
		if token.Prefix {
			quoted[i] += ":*"
		}
	}
	return strings.Join(quoted, " & ")
}

// Complete implements persistence.Searcher.
func (x *Search) Complete(ctx context.Context) (complete bool, err error) {
	if err := x.store.readable(ctx); err != nil {
		return false, err
	}
	err = x.store.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM search_complete)").Scan(&complete)
	return complete, x.store.readError(ctx, err)
}

// MarkComplete implements persistence.Searcher.
func (x *Search) MarkComplete(ctx context.Context) error {
	if err := x.store.readable(ctx); err != nil {
		return err
	}
	_, err := x.store.pool.Exec(ctx, "INSERT INTO search_complete DEFAULT VALUES ON CONFLICT DO NOTHING")
	return x.store.readError(ctx, err)
}

// Close implements persistence.Searcher. The connections are the store's.
func (x *Search) Close() error { return nil }
