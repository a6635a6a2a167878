package persistence

import (
	"context"
	"iter"
)

// Table is a declared table of rows of type R: a struct whose fields carry a `col` tag, in column order.
//
//	type Alias struct {
//		Alias  string `col:"alias,key"`
//		RoomID string `col:"room_id"`
//	}
//
// Key columns come first; rows are ordered by them, strings and byte slices byte-wise, integers by value.
// Column types: string, int64, uint64, bool, []byte, *string (nil is SQL's NULL; not in keys). A uint64 column may
// be marked "position": the store sets it to the commit's position, in keys too; marked "position,once", only when it is zero. A []byte column may be marked "json",
// which a backend with such a type may use to show it legibly; its bytes come back as they went in.
type Table[R any] struct{ schema *Schema }

// NewTable declares a table. It panics when R does not follow the rules of Table: declarations are package variables.
func NewTable[R any](name string) *Table[R] {
	t := &Table[R]{schema: newSchema[R](name)}
	register(t.schema)
	return t
}

// Schema describes the table to backends.
func (t *Table[R]) Schema() *Schema { return t.schema }

// Get reads the row whose key columns are set in key.
func (t *Table[R]) Get(ctx context.Context, r Reader, key R) (R, bool, error) {
	ok, err := r.ReadRow(ctx, t.schema, &key)
	return key, ok, err
}

// Put writes a row, replacing the one with the same key.
func (t *Table[R]) Put(row R) Mutation { return Mutation{Schema: t.schema, Row: &row} }

// Delete removes the row whose key columns are set in key; it is no error when there is none.
func (t *Table[R]) Delete(key R) Mutation { return Mutation{Schema: t.schema, Row: &key, Delete: true} }

// Range selects rows by key; see RowRange.
type Range[R any] struct {
	Prefix              R
	Keys                int
	From, Before, After *R
	Reverse             bool
	Limit               int
}

// Scan iterates over the rows of the range. It stops at the first error, which it yields with a zero row.
func (t *Table[R]) Scan(ctx context.Context, r Reader, q Range[R]) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		rr := RowRange{Prefix: &q.Prefix, Keys: q.Keys, Reverse: q.Reverse, Limit: q.Limit}
		if q.From != nil {
			rr.From = q.From
		}
		if q.Before != nil {
			rr.Before = q.Before
		}
		if q.After != nil {
			rr.After = q.After
		}
		err := r.ScanRows(ctx, t.schema, rr, func(row any) bool { return yield(*row.(*R), nil) })
		if err != nil {
			var zero R
			yield(zero, err)
		}
	}
}

// All collects the rows of the range.
func (t *Table[R]) All(ctx context.Context, r Reader, q Range[R]) ([]R, error) {
	var rows []R
	for row, err := range t.Scan(ctx, r, q) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
