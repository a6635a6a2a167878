package postgres

import (
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/persistence"
)

// table is a declared table in SQL.
type table struct {
	schema  *persistence.Schema
	columns []persistence.Column
	name    string // quoted
	list    string // the columns, quoted
	put     string
	exists  string
	get     string
	// The same for several rows at once, from arrays.
	putAll, removeAll string
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func newTable(s *persistence.Schema) *table {
	t := &table{schema: s, columns: s.Columns(), name: quote(s.Name())}
	var names, values, keys, same, changes []string
	for i, c := range t.columns {
		name := quote(c.Name)
		names = append(names, name)
		values = append(values, fmt.Sprintf("$%d", i+1))
		if c.Key {
			keys = append(keys, name)
			same = append(same, fmt.Sprintf("%s = $%d", name, i+1))
		} else {
			changes = append(changes, fmt.Sprintf("%s = excluded.%s", name, name))
		}
	}
	t.list = strings.Join(names, ", ")
	action := "NOTHING"
	if len(changes) > 0 {
		action = "UPDATE SET " + strings.Join(changes, ", ")
	}
	t.put = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT (%s) DO %s", t.name, t.list, strings.Join(values, ", "), strings.Join(keys, ", "), action)
	where := " WHERE " + strings.Join(same, " AND ")
	t.exists = "SELECT EXISTS (SELECT FROM " + t.name + where + ")"
	t.get = "SELECT " + t.list + " FROM " + t.name + where
	t.many()
	return t
}

// ddl is the statement that makes the table of a schema. Text is ordered byte by byte.
func ddl(s *persistence.Schema) string {
	var lines, keys []string
	for _, c := range s.Columns() {
		kind := sqlType(c)
		if c.Type != persistence.NullableString && c.Type != persistence.Bytes || c.Key {
			kind += " NOT NULL"
		}
		lines = append(lines, "    "+quote(c.Name)+" "+kind)
		if c.Key {
			keys = append(keys, quote(c.Name))
		}
	}
	lines = append(lines, "    PRIMARY KEY ("+strings.Join(keys, ", ")+")")
	return "CREATE TABLE " + quote(s.Name()) + " (\n" + strings.Join(lines, ",\n") + "\n);\n"
}

func sqlType(c persistence.Column) string {
	switch c.Type {
	case persistence.Int64, persistence.Uint64:
		return "bigint"
	case persistence.Bool:
		return "boolean"
	case persistence.Bytes:
		if c.JSON {
			return `text COLLATE "C"` // as it was written, to the byte: signatures are over it
		}
		return "bytea"
	default:
		return `text COLLATE "C"`
	}
}

// arguments are the values of the first n columns of the row, for SQL. Columns that are positions get the commit's, when
// there is one.
func (t *table) arguments(row any, n int, position persistence.Position) []any {
	values := t.schema.Values(make([]any, 0, len(t.columns)), row)[:n]
	for i, c := range t.columns[:n] {
		switch v := values[i].(type) {
		case string:
			values[i] = escape(v)
		case *string:
			if v == nil {
				values[i] = nil
			} else {
				values[i] = escape(*v)
			}
		case uint64:
			if c.Position && position != 0 && (v == 0 || !c.Once) {
				v = uint64(position)
			}
			values[i] = int64(v)
		case []byte:
			values[i] = blob(v, c)
		}
	}
	return values
}

// bounds are the arguments of a range. What is above every number that Postgres keeps stands for the largest of them.
func (t *table) bounds(row any, n int) []any {
	values := t.arguments(row, n, 0)
	for i, c := range t.columns[:n] {
		if v, ok := values[i].(int64); ok && v < 0 && c.Type == persistence.Uint64 {
			values[i] = int64(math.MaxInt64)
		}
	}
	return values
}

func blob(v []byte, c persistence.Column) any {
	switch {
	case v == nil && !c.Key:
		return nil
	case c.JSON:
		return escape(string(v))
	case v == nil:
		return []byte{}
	default:
		return v
	}
}

// Postgres keeps every text but one with a NUL in it. So a NUL is kept as 01 01, and an 01 as 01 02, which leaves the order
// of texts as it is and everything else legible.
var (
	escaper   = strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02")
	unescaper = strings.NewReplacer("\x01\x01", "\x00", "\x01\x02", "\x01")
)

func escape(s string) string {
	if strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, 1) < 0 {
		return s
	}
	return escaper.Replace(s)
}

func unescape(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return unescaper.Replace(s)
}
