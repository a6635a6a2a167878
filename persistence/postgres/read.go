package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/matrixon/matrixon/persistence"
)

// readTimeout bounds one query.
const readTimeout = 30 * time.Second

// A scan fetches its rows in portions: few at first, because most scans end early. fewRows is how many one query is tried for before, because
// most ranges have no more, and a cursor takes four.
const (
	fewRows      = 100
	firstPortion = 100
	nextPortion  = 1000
)

// binary asks for values in Postgres' binary format, which decode understands.
var binaryFormat = pgx.QueryResultFormats{1}

// ReadRow implements persistence.Reader.
func (s *Store) ReadRow(ctx context.Context, schema *persistence.Schema, row any) (bool, error) {
	if err := s.readable(ctx); err != nil {
		return false, err
	}
	t := s.table(schema)
	if r := s.replicaFor(ctx); r != nil {
		found, err := t.read(ctx, r.pool, replicaTimeout, row)
		if err == nil {
			return found, nil
		}
		if err := r.failed(ctx, false, err); err != nil {
			return false, err
		}
	}
	found, err := t.read(ctx, s.pool, readTimeout, row)
	return found, s.readError(ctx, err)
}

// read reads one row.
func (t *table) read(ctx context.Context, pool *pgxpool.Pool, timeout time.Duration, row any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows, err := pool.Query(ctx, t.get, append([]any{binaryFormat}, t.arguments(row, t.schema.Keys(), 0)...)...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	found := rows.Next()
	if found {
		if err := t.decode(row, rows.RawValues()); err != nil {
			return false, err
		}
	}
	rows.Close()
	return found, rows.Err()
}

// ScanRows implements persistence.Reader. What it gives is the state at one moment, however long the caller takes.
func (s *Store) ScanRows(ctx context.Context, schema *persistence.Schema, r persistence.RowRange, yield func(row any) bool) error {
	if err := s.readable(ctx); err != nil {
		return err
	}
	t := s.table(schema)
	query, args, err := t.scan(r)
	if err != nil {
		return err
	}
	sc := scan{pool: s.pool, timeout: readTimeout, table: t, row: schema.NewRow(), yield: yield}
	all := sc.whole
	if r.Limit == 0 || r.Limit > nextPortion {
		few := r
		few.Limit = fewRows + 1
		if sc.few, sc.fewArgs, err = t.scan(few); err != nil {
			return err
		}
		all = sc.either
	}
	if r := s.replicaFor(ctx); r != nil {
		sc.pool, sc.timeout = r.pool, replicaTimeout
		err := all(ctx, query, args)
		if err == nil {
			return nil
		}
		if err := r.failed(ctx, sc.given, err); err != nil {
			return err
		}
		sc.pool, sc.timeout = s.pool, readTimeout
	}
	return s.readError(ctx, all(ctx, query, args))
}

// scan is the query of a range.
func (t *table) scan(r persistence.RowRange) (string, []any, error) {
	keys := t.schema.Keys()
	if r.Keys < 0 || r.Keys > keys || r.Limit < 0 || (r.From != nil || r.Before != nil) && r.Keys == keys {
		return "", nil, fmt.Errorf("persistence: table %s: a range cannot have %d key columns with these bounds and limit %d", t.schema.Name(), r.Keys, r.Limit)
	}
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if r.Keys > 0 {
		for i, v := range t.bounds(r.Prefix, r.Keys) {
			where = append(where, quote(t.columns[i].Name)+" = "+arg(v))
		}
	}
	if r.From != nil {
		where = append(where, quote(t.columns[r.Keys].Name)+" >= "+arg(t.bounds(r.From, r.Keys+1)[r.Keys]))
	}
	if r.Before != nil {
		where = append(where, quote(t.columns[r.Keys].Name)+" < "+arg(t.bounds(r.Before, r.Keys+1)[r.Keys]))
	}
	order, compare := "", ">"
	if r.Reverse {
		order, compare = " DESC", "<"
	}
	if r.After != nil {
		var names, values []string
		for i, v := range t.bounds(r.After, keys) {
			names = append(names, quote(t.columns[i].Name))
			values = append(values, arg(v))
		}
		where = append(where, "("+strings.Join(names, ", ")+") "+compare+" ("+strings.Join(values, ", ")+")")
	}
	q := "SELECT " + t.list + " FROM " + t.name
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	var by []string
	for _, c := range t.columns[:keys] {
		by = append(by, quote(c.Name)+order)
	}
	q += " ORDER BY " + strings.Join(by, ", ")
	if r.Limit > 0 {
		q += " LIMIT " + arg(int64(r.Limit))
	}
	return q, args, nil
}

// scan carries out one scan.
type scan struct {
	pool    *pgxpool.Pool
	timeout time.Duration // of one query
	table   *table
	row     any
	yield   func(any) bool
	given   bool   // whether the caller has had a row
	few     string // the query for not more than a few rows
	fewArgs []any
}

// page is some rows, as Postgres sent them.
type page [][][]byte

func read(rows pgx.Rows) (page, error) {
	defer rows.Close()
	var p page
	for rows.Next() {
		var buffer []byte
		raw := rows.RawValues()
		row := make([][]byte, len(raw))
		size := 0
		for _, v := range raw {
			size += len(v)
		}
		buffer = make([]byte, 0, size)
		for i, v := range raw {
			if v != nil {
				from := len(buffer)
				buffer = append(buffer, v...)
				row[i] = buffer[from:len(buffer):len(buffer)]
			}
		}
		p = append(p, row)
	}
	return p, rows.Err()
}

// give hands rows to the caller; it reports whether the caller wants more.
func (sc *scan) give(p page) (bool, error) {
	for _, raw := range p {
		if err := sc.table.decode(sc.row, raw); err != nil {
			return false, err
		}
		sc.given = true
		if !sc.yield(sc.row) {
			return false, nil
		}
	}
	return true, nil
}

// ask reads everything that a query finds.
func (sc *scan) ask(ctx context.Context, query string, args []any) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, sc.timeout)
	defer cancel()
	rows, err := sc.pool.Query(ctx, query, append([]any{binaryFormat}, args...)...)
	if err != nil {
		return nil, err
	}
	return read(rows)
}

// whole reads a range that is known to be small.
func (sc *scan) whole(ctx context.Context, query string, args []any) error {
	p, err := sc.ask(ctx, query, args)
	if err != nil {
		return err
	}
	_, err = sc.give(p)
	return err
}

// either reads a range that may be small.
func (sc *scan) either(ctx context.Context, query string, args []any) error {
	p, err := sc.ask(ctx, sc.few, sc.fewArgs)
	if err != nil {
		return err
	}
	if len(p) > fewRows {
		return sc.portions(ctx, query, args)
	}
	_, err = sc.give(p)
	return err
}

// portions reads a range of any size with a cursor. The connection is given back before the caller gets the rows if the first
// portion was all.
func (sc *scan) portions(ctx context.Context, query string, args []any) error {
	conn, err := sc.acquire(ctx)
	if err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			sc.release(conn)
		}
	}()
	p, err := sc.begin(ctx, conn, query, args)
	for n := firstPortion; err == nil; n = nextPortion {
		if len(p) < n {
			open = false
			sc.release(conn)
		}
		var more bool
		if more, err = sc.give(p); err != nil || !more || !open {
			return err
		}
		p, err = sc.fetch(ctx, conn, nextPortion)
	}
	return err
}

func (sc *scan) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, sc.timeout)
	defer cancel()
	return sc.pool.Acquire(ctx)
}

// begin opens the cursor and reads the first portion.
func (sc *scan) begin(ctx context.Context, conn *pgxpool.Conn, query string, args []any) (page, error) {
	ask, cancel := context.WithTimeout(ctx, sc.timeout)
	defer cancel()
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	b.Queue("DECLARE scan NO SCROLL CURSOR FOR "+query, args...)
	if err := conn.SendBatch(ask, &b).Close(); err != nil {
		return nil, err
	}
	return sc.fetch(ctx, conn, firstPortion)
}

func (sc *scan) fetch(ctx context.Context, conn *pgxpool.Conn, n int) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, sc.timeout)
	defer cancel()
	rows, err := conn.Query(ctx, fmt.Sprintf("FETCH %d FROM scan", n), binaryFormat)
	if err != nil {
		return nil, err
	}
	return read(rows)
}

// release ends the transaction of the cursor and gives the connection back.
func (sc *scan) release(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), sc.timeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = conn.Conn().Close(ctx) // so that the pool makes another one
	}
	conn.Release()
}

// decode fills the row from values in binary format.
func (t *table) decode(row any, raw [][]byte) error {
	for i, p := range t.schema.Pointers(make([]any, 0, len(t.columns)), row) {
		v := raw[i]
		switch p := p.(type) {
		case *string:
			*p = unescape(string(v))
		case **string:
			*p = nil
			if v != nil {
				text := unescape(string(v))
				*p = &text
			}
		case *int64:
			n, err := t.integer(v, i)
			if err != nil {
				return err
			}
			*p = n
		case *uint64:
			n, err := t.integer(v, i)
			if err != nil {
				return err
			}
			*p = uint64(n)
		case *bool:
			*p = len(v) == 1 && v[0] == 1
		case *[]byte:
			*p = nil
			if v != nil {
				if *p = append([]byte{}, v...); t.columns[i].JSON {
					*p = []byte(unescape(string(v)))
				}
			}
		}
	}
	return nil
}

func (t *table) integer(v []byte, column int) (int64, error) {
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: table %s, column %s", persistence.ErrCorrupt, t.schema.Name(), t.columns[column].Name)
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// readable says why nothing can be read.
func (s *Store) readable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return persistence.ErrClosed
	}
	return nil
}
