package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// listFlags choose from a long list, and how it is printed.
type listFlags struct {
	configFlags
	Match string `help:"Only those in which this stands, in upper or lower case."`
	JSON  bool   `name:"json" help:"Print one JSON object a line, as the admin API gives it."`
}

// list prints a list of the operator's interface, page after page: as a table with this heading, or as JSON. The rows of a page stand
// under the last part of the path.
func list[R any](ctx context.Context, m *Main, f listFlags, path string, query url.Values, heading string, cells func(R) []any) error {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "1000")
	if f.Match != "" {
		query.Set("match", f.Match)
	}
	return f.operate(ctx, m, func(do doer) error {
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		if !f.JSON && heading != "" {
			fmt.Fprintln(w, heading)
		}
		for {
			var page map[string]jsontext.Value
			if err := ask(ctx, do, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
				return err
			}
			var rows []jsontext.Value
			if err := json.Unmarshal(page[path[strings.LastIndexByte(path, '/')+1:]], &rows); err != nil {
				return err
			}
			for _, raw := range rows {
				if f.JSON {
					fmt.Fprintf(m.Stdout, "%s\n", raw)
					continue
				}
				var row R
				if err := json.Unmarshal(raw, &row); err != nil {
					return err
				}
				fmt.Fprintln(w, strings.TrimRight(strings.Join(texts(cells(row)), "\t"), "\t"))
			}
			next := ""
			if raw, ok := page["next"]; ok {
				if err := json.Unmarshal(raw, &next); err != nil {
					return err
				}
			}
			if next == "" {
				return w.Flush()
			}
			query.Set("from", next)
		}
	})
}

// texts are cells as they are printed: in one line each, whatever users have written, and without what steers a terminal.
func texts(cells []any) []string {
	all := make([]string, len(cells))
	for i, cell := range cells {
		all[i] = printable(fmt.Sprint(cell))
	}
	return all
}

// facts prints names and values, without those that are empty.
func facts(m *Main, pairs ...any) error {
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := printable(fmt.Sprint(pairs[i+1])); value != "" {
			fmt.Fprintf(w, "%v\t%s\n", pairs[i], value)
		}
	}
	return w.Flush()
}

// marks names what is so.
func marks(is ...any) string {
	var all []string
	for i := 0; i+1 < len(is); i += 2 {
		if is[i+1] == true {
			all = append(all, fmt.Sprint(is[i]))
		}
	}
	return strings.Join(all, " ")
}

// printable replaces what is not to be printed, such as line breaks and escape sequences, by a space.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
