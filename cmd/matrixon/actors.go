package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/matrixon/matrixon/http/admin"
)

type actorsCommand struct {
	List    actorsList    `cmd:"" help:"List active actors, the busiest first."`
	Inspect actorsInspect `cmd:"" help:"Show what one actor says of itself."`
	Stop    actorsStop    `cmd:"" help:"Put one actor to rest; it wakes with its next message."`
}

type actorsList struct {
	configFlags
	Kind  string `help:"Only of this kind: room or user." placeholder:"KIND"`
	Sort  string `help:"By mailbox, load, messages or recent." default:"load" enum:"mailbox,load,messages,recent"`
	Limit int    `help:"How many." default:"50"`
}

// Run lists.
func (c actorsList) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var answer struct {
			Actors []admin.Actor `json:"actors"`
		}
		q := url.Values{"kind": {c.Kind}, "sort": {c.Sort}, "limit": {strconv.Itoa(c.Limit)}}
		if err := ask(ctx, do, http.MethodGet, "/actors?"+q.Encode(), nil, &answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KIND\tID\tSTATE\tMAILBOX\tMESSAGES\tRATE/S\tLOAD\tAGE\tLAST")
		for _, a := range answer.Actors {
			age := time.Since(time.UnixMilli(a.ActivatedTS)).Round(time.Second)
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.1f\t%.3f\t%v\t%s\n", a.Kind, a.ID, a.State, a.Mailbox, a.Handled, a.Rate, a.Load, age, a.LastMessage)
		}
		return w.Flush()
	})
}

// actorPath is where an actor stands in the operator's interface: its id tells its kind.
func actorPath(id string) (string, error) {
	kind := map[byte]string{'!': "room", '@': "user"}[(id + " ")[0]]
	if kind == "" {
		return "", fmt.Errorf("%q is neither a room (!id) nor a user (@name:server)", id)
	}
	return "/actors/" + kind + "/" + url.PathEscape(id), nil
}

type actorsInspect struct {
	configFlags
	ID string `arg:"" help:"A room or a user."`
}

// Run shows.
func (c actorsInspect) Run(ctx context.Context, m *Main) error {
	path, err := actorPath(c.ID)
	if err != nil {
		return err
	}
	return c.running(ctx, m, func(do doer) error {
		var summary map[string]any
		if err := ask(ctx, do, http.MethodGet, path, nil, &summary); err != nil {
			return err
		}
		details, _ := summary["details"].(map[string]any)
		delete(summary, "details")
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		for _, part := range []map[string]any{summary, details} {
			for _, name := range slices.Sorted(maps.Keys(part)) {
				value := fmt.Sprint(part[name])
				if ms, err := strconv.ParseInt(value, 10, 64); err == nil && strings.HasSuffix(name, "_ts") {
					value = time.UnixMilli(ms).Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\n", name, value)
			}
		}
		return w.Flush()
	})
}

type actorsStop struct {
	configFlags
	ID string `arg:"" help:"A room or a user."`
}

// Run stops.
func (c actorsStop) Run(ctx context.Context, m *Main) error {
	path, err := actorPath(c.ID)
	if err != nil {
		return err
	}
	return c.running(ctx, m, func(do doer) error {
		var answer struct{}
		if err := ask(ctx, do, http.MethodPost, path+"/stop", nil, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintln(m.Stdout, "stopped", c.ID)
		return err
	})
}

type clusterCommand struct {
	Status clusterStatus `cmd:"" help:"Show the nodes, and what lives on each."`
}

type clusterStatus struct{ configFlags }

// Run shows.
func (c clusterStatus) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var answer struct {
			Nodes []admin.Status `json:"nodes"`
		}
		if err := ask(ctx, do, http.MethodGet, "/cluster", nil, &answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NODE\tVERSION\tUPTIME\tROOMS\tUSERS\tPOSITION")
		for _, n := range answer.Nodes {
			up := (time.Duration(n.UptimeMS) * time.Millisecond).Round(time.Second)
			fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%d\t%d\n", n.Node, n.Version, up, n.Actors["room"], n.Actors["user"], n.Position)
		}
		return w.Flush()
	})
}
