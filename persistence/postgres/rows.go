package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/matrixon/matrixon/persistence"
)

// tableRows are what a batch makes of the tables: for each row its last change, because a change is always of the whole row. So all changes of
// one table are two statements, however many there are.
type tableRows struct {
	order  []*table
	tables map[*table]*changes
}

// changes are those of one table.
type changes struct {
	at   map[string]int // by key, in ops
	ops  []op
	gone int // how many of them delete
}

type op struct {
	arguments []any // of all columns; of the key only, for a deletion
	remove    bool
}

// add takes a change of the row with the key in place of one that came before.
func (r *tableRows) add(t *table, key string, o op) {
	c := r.tables[t]
	if c == nil {
		if r.tables == nil {
			r.tables = map[*table]*changes{}
		}
		c = &changes{at: map[string]int{}}
		r.tables[t], r.order = c, append(r.order, t)
	}
	i, again := c.at[key]
	if !again {
		c.at[key] = len(c.ops)
		c.ops = append(c.ops, o)
	} else {
		if c.ops[i].remove {
			c.gone--
		}
		c.ops[i] = o
	}
	if o.remove {
		c.gone++
	}
}

// queue asks for all changes.
func (r *tableRows) queue(b *pgx.Batch) {
	for _, t := range r.order {
		c := r.tables[t]
		if c.gone > 0 {
			b.Queue(t.removeAll, t.arrays(c.ops, t.schema.Keys(), true, c.gone)...)
		}
		if n := len(c.ops) - c.gone; n > 0 {
			b.Queue(t.putAll, t.arrays(c.ops, len(t.columns), false, n)...)
		}
	}
}

// arrays are the first columns of the rows that are removed, or of those that are put, each as one array.
func (t *table) arrays(ops []op, columns int, remove bool, n int) []any {
	arrays := make([]any, columns)
	for i := range arrays {
		switch c := t.columns[i]; {
		case c.Type == persistence.Int64, c.Type == persistence.Uint64:
			arrays[i] = column[int64](ops, i, remove, n)
		case c.Type == persistence.Bool:
			arrays[i] = column[bool](ops, i, remove, n)
		case c.Type == persistence.Bytes && !c.JSON:
			arrays[i] = column[[]byte](ops, i, remove, n)
		case c.Type == persistence.String:
			arrays[i] = column[string](ops, i, remove, n)
		default:
			arrays[i] = nullable(ops, i, remove, n)
		}
	}
	return arrays
}

// column is one column of the rows; what is nil stays its zero value, which for bytes is NULL.
func column[T any](ops []op, i int, remove bool, n int) []T {
	values := make([]T, 0, n)
	for _, o := range ops {
		if o.remove == remove {
			v, _ := o.arguments[i].(T)
			values = append(values, v)
		}
	}
	return values
}

// nullable is a column of texts of which some are NULL.
func nullable(ops []op, i int, remove bool, n int) []*string {
	values := make([]*string, 0, n)
	for _, o := range ops {
		if o.remove == remove {
			if v, ok := o.arguments[i].(string); ok {
				values = append(values, &v)
			} else {
				values = append(values, nil)
			}
		}
	}
	return values
}

// many are the statements for several rows at once.
func (t *table) many() {
	var arrays, names, same []string
	for i, c := range t.columns {
		kind, _, _ := strings.Cut(sqlType(c), " ")
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, kind))
		names = append(names, quote(c.Name))
		if c.Key {
			same = append(same, fmt.Sprintf("t.%s = gone.%s", quote(c.Name), quote(c.Name)))
		}
	}
	keys := t.schema.Keys()
	t.removeAll = fmt.Sprintf("DELETE FROM %s AS t USING unnest(%s) AS gone (%s) WHERE %s", t.name,
		strings.Join(arrays[:keys], ", "), strings.Join(names[:keys], ", "), strings.Join(same, " AND "))
	into, conflict, _ := strings.Cut(t.put, " VALUES ")
	_, conflict, _ = strings.Cut(conflict, ") ON CONFLICT")
	t.putAll = into + " SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ") ON CONFLICT" + conflict
}
