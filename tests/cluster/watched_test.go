package cluster

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

var (
	// series are a metric in an expression of PromQL, with what is asked of its labels.
	series = regexp.MustCompile(`\b((?:matrixon|process|go)_\w+)(\{[^}]*\})?`)
	// grouped are the labels that an expression sums by.
	grouped = regexp.MustCompile(`\bby \(([^)]*)\)`)
	// label is one in a selector or in a sample.
	label = regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)"`)
	alert = regexp.MustCompile(`(?m)^ +expr: (.+)$`)
	// scraped are the labels that Prometheus adds.
	scraped = []string{"instance", "job"}
)

// TestWatchedMetrics holds the dashboard and the alerts in deploy/ against what a node really tells: a figure that no longer exists looks like
// one with which nothing is wrong.
func TestWatchedMetrics(t *testing.T) {
	t.Parallel()
	bridge := filepath.Join(t.TempDir(), "irc.yaml")
	if err := os.WriteFile(bridge, []byte("id: irc\nurl: http://127.0.0.1:1\nas_token: one\nhs_token: two\nsender_localpart: irc\nnamespaces: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, 1, "appservices=["+bridge+"]")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	alice, err := register(ctx, f.web, "alice")
	if err != nil {
		t.Fatal(err)
	}
	roomID := alice.must(t, ctx, "POST", "/createRoom", map[string]any{}).Get("room_id").Str
	if _, err := alice.send(ctx, roomID, "t", "hello"); err != nil {
		t.Fatal(err)
	}
	told := labelsOf(page(ctx, t, f.members[0].URL+"/metrics"))
	for told["matrixon_appservice_failures"] == nil && ctx.Err() == nil { // the bridge's actor wakes a little later
		time.Sleep(20 * time.Millisecond)
		told = labelsOf(page(ctx, t, f.members[0].URL+"/metrics"))
	}

	expressions := 0
	for _, file := range []string{"grafana/matrixon.json", "prometheus/alerts.yaml"} {
		raw, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, expr := range expressionsIn(string(raw)) {
			expressions++
			var known []string // labels of all that the expression names
			for _, s := range series.FindAllStringSubmatch(expr, -1) {
				labels, there := told[s[1]]
				if !there {
					t.Errorf("%s: no node tells %s, in: %s", file, s[1], expr)
					continue
				}
				known = append(known, labels...)
				for _, l := range label.FindAllStringSubmatch(s[2], -1) {
					if !slices.Contains(scraped, l[1]) && !slices.Contains(labels, l[1]) {
						t.Errorf("%s: %s has no label %s, in: %s", file, s[1], l[1], expr)
					}
				}
			}
			for _, g := range grouped.FindAllStringSubmatch(expr, -1) {
				for l := range strings.SplitSeq(g[1], ",") {
					if l = strings.TrimSpace(l); !slices.Contains(scraped, l) && !slices.Contains(known, l) {
						t.Errorf("%s: nothing has a label %s, in: %s", file, l, expr)
					}
				}
			}
		}
	}
	if expressions < 20 {
		t.Errorf("only %d expressions were found", expressions)
	}
}

// labelsOf lists the labels of each series in what a node tells Prometheus.
func labelsOf(metrics string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(strings.Fields(line)[0], "{")
		labels := []string{}
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			labels = append(labels, l[1])
		}
		all[name] = labels
	}
	return all
}

// expressionsIn finds what a dashboard or a file of alerts asks for.
func expressionsIn(text string) []string {
	var all []string
	if gjson.Valid(text) {
		for _, target := range gjson.Get(text, "panels.#.targets|@flatten").Array() {
			all = append(all, target.Get("expr").Str)
		}
		return all
	}
	for _, m := range alert.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}
