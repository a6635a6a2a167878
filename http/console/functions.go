package console

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/matrixon/matrixon/matrix/id"
)

// functions are what templates call.
var functions = template.FuncMap{
	"actorURL": func(kind, id string) string {
		return Base + "/actors/" + url.PathEscape(kind) + "/" + url.PathEscape(id)
	},
	"roomURL":        func(id string) string { return Base + "/rooms/" + url.PathEscape(id) },
	"userURL":        func(id string) string { return Base + "/users/" + url.PathEscape(id) },
	"nodeURL":        func(name string) string { return Base + "/nodes/" + url.PathEscape(name) },
	"reportURL":      func(id string) string { return Base + "/reports/" + url.PathEscape(id) },
	"serviceURL":     func(id string) string { return Base + "/appservices/" + url.PathEscape(id) },
	"destinationURL": func(name string) string { return Base + "/destinations/" + url.PathEscape(name) },
	"date":           date,
	"ago":            func(ts int64) string { return ago(time.Since(time.UnixMilli(ts))) },
	"percent":        percent,
	"number":         number,
	"rate":           func(f float64) string { return fmt.Sprintf("%.1f", f) },
	"bar":            bar,
	"add":            func(a, b int64) int64 { return a + b },
	"tokensURL":      func() string { return Base + "/tokens" },
	"isOf":           func(userID, server string) bool { return id.ServerOf(userID) == server },
	"key":            func(s string) string { return strings.ReplaceAll(s, "_", " ") },
}

// date is a time in UTC, as <time> wants it and people can read it.
func date(ts int64) string {
	if ts <= 0 {
		return "–"
	}
	return time.UnixMilli(ts).UTC().Format("2006-01-02 15:04:05Z")
}

// ago is a span in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// percent is a share, with as many digits as it needs.
func percent(share float64) string {
	switch p := share * 100; {
	case p == 0:
		return "0 %"
	case p < 0.1:
		return "< 0.1 %"
	case p < 10:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// number separates thousands.
func number(n any) string {
	if p, is := n.(*int64); is {
		n = *p
	}
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && c != '-' && digits[i-1] != '-' && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// bar is the width of a bar of at most 100 for a part of a whole.
func bar(part, whole float64) string {
	if whole <= 0 || part <= 0 || math.IsNaN(part) {
		return "0"
	}
	return fmt.Sprintf("%.1f", max(1, min(100, 100*part/whole)))
}
