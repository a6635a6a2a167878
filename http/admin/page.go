package admin

import (
	"context"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence"
)

// examined bounds how many rows one request looks at, however few of them match.
const examined = 10_000

// page is which part of a long list is wanted.
type page struct {
	from  string // the key after which it begins
	limit int
	match string // in lower case
	// filtered says that not every row of the table is wanted.
	filtered bool
}

// paged reads the parameters from, limit and match.
func paged(r *api.Request, most int64) (page, error) {
	limit, err := r.Int("limit", min(100, most), 1, most)
	match := strings.ToLower(r.Param("match"))
	return page{from: r.Param("from"), limit: int(limit), match: match, filtered: match != ""}, err
}

// matches reports whether what is searched for stands in one of the texts.
func (p page) matches(texts ...string) bool {
	if p.match == "" {
		return true
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), p.match) {
			return true
		}
	}
	return false
}

// collect reads a page of a table's range. after makes the row with a key; wanted gives the key of a row, and whether it is in
// the list. next is where the following page begins, empty when there is none; a page may be short, or empty, and yet
// have a next.
func collect[R any](ctx context.Context, store persistence.Reader, table *persistence.Table[R], within persistence.Range[R], p page,
	after func(key string) R, wanted func(R) (key string, is bool)) (rows []R, next string, err error) {
	within.Limit = p.limit + 1
	if p.filtered {
		within.Limit = examined + 1
	}
	if p.from != "" {
		row := after(p.from)
		within.After = &row
	}
	seen, last := 0, ""
	for row, err := range table.Scan(ctx, store, within) {
		if err != nil {
			return nil, "", err
		}
		if len(rows) == p.limit || seen == examined {
			return rows, last, nil
		}
		seen++
		var is bool
		if last, is = wanted(row); is {
			rows = append(rows, row)
		}
	}
	return rows, "", nil
}
