package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
)

// Search is the full-text index in the same database, shared by all nodes. Tokens become the lexemes of a tsvector as they are:
// no dictionary of Postgres has a say in what is found.
type Search struct{ store *Store }

// Search gives the full-text index. It lives as long as the store.
func (s *Store) Search() *Search { return &Search{s} }

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

// Search implements persistence.Searcher.
func (x *Search) Search(ctx context.Context, q persistence.TextQuery) ([]persistence.TextHit, error) {
	if len(q.Tokens) == 0 || len(q.Rooms) == 0 || q.Limit <= 0 {
		return nil, nil
	}
	if err := x.store.readable(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	sql, args := searchQuery(q)
	rows, err := x.store.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, x.store.readError(ctx, err)
	}
	hits, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (hit persistence.TextHit, err error) {
		var seq int64
		err = row.Scan(&hit.RoomID, &seq, &hit.TS, &hit.Rank)
		hit.Seq = uint64(seq)
		return hit, err
	})
	return hits, x.store.readError(ctx, err)
}

// searchQuery writes the query; where it goes on is compared as a row, so that ties are not torn apart.
func searchQuery(q persistence.TextQuery) (string, []any) {
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
	// The rank takes the length of the text into account.
	order := []string{"ts", "room_id", "seq"}
	if !q.Recent {
		order = append([]string{"rank"}, order...)
	}
	after := ""
	if a := q.After; a != nil {
		values := []string{arg(a.TS), arg(a.RoomID), arg(int64(min(a.Seq, math.MaxInt64)))}
		if !q.Recent {
			values = append([]string{arg(a.Rank)}, values...)
		}
		after = " WHERE (" + strings.Join(order, ", ") + ") < (" + strings.Join(values, ", ") + ")"
	}
	return "SELECT room_id, seq, ts, rank FROM (SELECT room_id, seq, ts, ts_rank(tokens, $1::tsquery, 1)::float8 AS rank FROM search_texts WHERE " +
		where + ") AS found" + after + " ORDER BY " + strings.Join(order, " DESC, ") + " DESC LIMIT " + arg(q.Limit), args
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
