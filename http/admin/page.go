package admin

import (
	"context"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence"
)

// examined bounds how many rows one request looks at, however few of them match.
const examined = 10_000

// Page is which part of a long list is wanted.
type Page struct {
	From  string // the Next of the page before
	Limit int64  // 0: 100
	Match string // only rows in which this stands, in upper or lower case
}

// The rows of a page: when nothing is said, and at most.
const (
	pageRows = 100
	pageMost = 1000
)

// paged reads the parameters from, limit and match.
func paged(r *api.Request) (Page, error) {
	limit, err := r.Int("limit", pageRows, 1, pageMost)
	return Page{From: r.Param("from"), Limit: limit, Match: r.Param("match")}, err
}

// matches reports whether what is searched for stands in one of the texts.
func (p Page) matches(texts ...string) bool {
	match := strings.ToLower(p.Match)
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), match) {
			return true
		}
	}
	return false
}

// collect reads a page of a table's range. after makes the row with a key; wanted gives the key of a row, and whether it is in
// the list; filtered says that it leaves out rows for another reason than Page.Match. next is where the following page begins, empty when there is none; a page may be short, or empty, and yet
// have a next.
func collect[R any](ctx context.Context, store persistence.Reader, table *persistence.Table[R], within persistence.Range[R], p Page,
	filtered bool, after func(key string) R, wanted func(R) (key string, is bool)) (rows []R, next string, err error) {
	limit := int(p.Limit)
	if limit == 0 {
		limit = pageRows
	}
	within.Limit = limit + 1
	if filtered || p.Match != "" {
		within.Limit = examined + 1
	}
	if p.From != "" {
		row := after(p.From)
		within.After = &row
	}
	seen, last := 0, ""
	for row, err := range table.Scan(ctx, store, within) {
		if err != nil {
			return nil, "", err
		}
		if len(rows) == limit || seen == examined {
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
