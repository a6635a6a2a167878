package console

import (
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// functions are what the pages compute.
var functions = template.FuncMap{
	"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	"rate":    func(r float64) string { return fmt.Sprintf("%.1f/s", r) },
	"bar":     func(share float64) int { return int(max(0, min(100, 100*share))) },
	"ago":     ago,
	"time": func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC")
	},
	"sorted":  func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) },
	"numbers": func(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) },
	"words":   func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	"link": func(page string, pairs ...string) string {
		q := url.Values{}
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				q.Set(pairs[i], pairs[i+1])
			}
		}
		return Base + page + "?" + q.Encode()
	},
	"pagesOf": func() []string { return []string{"nodes", "actors", "rooms", "users"} },
	"kinds":   func() []string { return []string{cluster.KindRoom, cluster.KindUser} },
	"columns": func() []column {
		return []column{{"mailbox", "Waiting"}, {"rate", "Messages"}, {"load", "Load"}, {"messages", "Handled"}, {"recent", "Last"}}
	},
	"changes": changes,
	"withParam": func(q url.Values, name, value string) string {
		changed := url.Values{}
		for k, v := range q {
			if k != "from" && len(v) > 0 && v[0] != "" {
				changed.Set(k, v[0])
			}
		}
		changed.Set(name, value)
		return "?" + changed.Encode()
	},
}

// column is one by which actors can be sorted.
type column struct{ Sort, Title string }

// change is what can be done about an account.
type change struct{ Change, Value, Title, Ask string }

func changes(u admin.User) []change {
	toggle := func(name string, is bool, on, off string) change {
		if is {
			return change{name, "false", off, off + ": " + u.UserID + "?"}
		}
		return change{name, "true", on, on + ": " + u.UserID + "?"}
	}
	return []change{
		toggle("admin", u.Admin, "Make administrator", "No longer administrator"),
		toggle("suspended", u.Suspended, "Suspend", "End the suspension"),
		toggle("locked", u.Locked, "Lock", "Unlock"),
		{"deactivate", "true", "Deactivate", "End the account " + u.UserID + " for good? This cannot be undone."},
	}
}

// ago says how long it is since a moment in milliseconds, roughly.
func ago(ms int64) string {
	if ms == 0 {
		return "never"
	}
	switch d := time.Since(time.UnixMilli(ms)); {
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

func isStatus(err error, status int) bool {
	var refused *mxerr.Error
	return errors.As(err, &refused) && refused.Status == status
}
