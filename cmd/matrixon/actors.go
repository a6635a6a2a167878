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

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/admin"
)

type actorsCommand struct {
	List    actorsList    `cmd:"" help:"List active actors, the busiest first."`
	Inspect actorsInspect `cmd:"" help:"Show what one actor says of itself."`
	Move    actorsMove    `cmd:"" help:"Have one actor live on another node."`
	Stop    actorsStop    `cmd:"" help:"Put one actor to rest; it wakes with its next message."`
}

type actorsList struct {
	configFlags
	Kind  string `help:"Only of this kind, such as room, user, destination or appservice." placeholder:"KIND"`
	Node  string `help:"Only those that live on this node." placeholder:"NODE"`
	Match string `help:"Only those in whose id this stands." placeholder:"TEXT"`
	Sort  string `help:"By mailbox, rate, load, messages or recent." default:"load" enum:"mailbox,rate,load,messages,recent"`
	Limit int    `help:"How many." default:"50"`
}

// Run lists.
func (c actorsList) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var answer struct {
			Actors      []admin.Actor     `json:"actors"`
			Unreachable map[string]string `json:"unreachable"`
		}
		q := url.Values{"kind": {c.Kind}, "node": {c.Node}, "match": {c.Match}, "sort": {c.Sort}, "limit": {strconv.Itoa(c.Limit)}}
		if err := ask(ctx, do, http.MethodGet, "/actors?"+q.Encode(), nil, &answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KIND\tID\tNODE\tSTATE\tMAILBOX\tMESSAGES\tRATE/S\tLOAD\tAGE\tLAST")
		for _, a := range answer.Actors {
			age := time.Since(time.UnixMilli(a.ActivatedTS)).Round(time.Second)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%.1f\t%.3f\t%v\t%s\n", a.Kind, a.ID, a.Node, a.State, a.Mailbox, a.Handled, a.Rate, a.Load, age, a.LastMessage)
		}
		for _, node := range slices.Sorted(maps.Keys(answer.Unreachable)) {
			fmt.Fprintf(m.Stderr, "node %s does not answer: %s\n", node, answer.Unreachable[node])
		}
		return w.Flush()
	})
}

// actorPath is where an actor stands in the operator's interface: the ids of rooms and users tell their kind, others need it in front.
func actorPath(id string) (string, error) {
	kind := map[byte]string{'!': "room", '@': "user"}[(id + " ")[0]]
	if kind == "" {
		var ok bool
		if kind, id, ok = strings.Cut(id, "/"); !ok {
			return "", fmt.Errorf("%q is neither a room (!id) nor a user (@name:server) nor anything else (kind/id)", kind)
		}
	}
	return "/actors/" + url.PathEscape(kind) + "/" + url.PathEscape(id), nil
}

type actorsInspect struct {
	configFlags
	ID string `arg:"" help:"A room, a user, or another as in appservice/irc."`
}

// Run shows.
func (c actorsInspect) Run(ctx context.Context, m *Main) error {
	path, err := actorPath(c.ID)
	if err != nil {
		return err
	}
	return c.running(ctx, m, func(do doer) error {
		var raw jsontext.Value
		if err := ask(ctx, do, http.MethodGet, path, nil, &raw); err != nil {
			return err
		}
		summary := gjson.ParseBytes(raw).Map()
		details := summary["details"].Map()
		delete(summary, "details")
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		for _, part := range []map[string]gjson.Result{summary, details} {
			for _, name := range slices.Sorted(maps.Keys(part)) {
				value := part[name].String()
				if strings.HasSuffix(name, "_ts") {
					value = time.UnixMilli(part[name].Int()).Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\n", name, value)
			}
		}
		return w.Flush()
	})
}

type actorsStop struct {
	configFlags
	ID string `arg:"" help:"A room, a user, or another as in appservice/irc."`
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

type actorsMove struct {
	configFlags
	ID string `arg:"" help:"A room, a user, or another as in appservice/irc."`
	To string `required:"" help:"The node; auto leaves it to the cluster again." placeholder:"NODE"`
}

// Run moves.
func (c actorsMove) Run(ctx context.Context, m *Main) error {
	path, err := actorPath(c.ID)
	if err != nil {
		return err
	}
	to := c.To
	if to == "auto" {
		to = ""
	}
	return c.running(ctx, m, func(do doer) error {
		var answer struct{}
		start := time.Now()
		if err := ask(ctx, do, http.MethodPost, path+"/move?to="+url.QueryEscape(to), nil, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintf(m.Stdout, "moved %s to %s in %v\n", c.ID, c.To, time.Since(start).Round(time.Millisecond))
		return err
	})
}

type clusterCommand struct {
	Status    clusterStatus    `cmd:"" help:"Show the nodes, and what lives on each."`
	Drain     clusterDrain     `cmd:"" help:"Have a node give all it has to the others, and take nothing new."`
	Rebalance clusterRebalance `cmd:"" help:"Move a few busy actors so that the nodes are equally busy."`
}

type clusterRebalance struct {
	configFlags
	DryRun bool `help:"Only say what would be moved, and why."`
}

// Run rebalances.
func (c clusterRebalance) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var answer struct {
			Moves []admin.Move `json:"moves"`
		}
		if err := ask(ctx, do, http.MethodPost, "/cluster/rebalance?dry_run="+strconv.FormatBool(c.DryRun), nil, &answer); err != nil {
			return err
		}
		verb := "moved"
		if c.DryRun {
			verb = "would move"
		}
		for _, move := range answer.Moves {
			fmt.Fprintf(m.Stdout, "%s %s %s from %s to %s: %s\n", verb, move.Kind, move.ID, move.From, move.To, move.Why)
		}
		if len(answer.Moves) == 0 {
			fmt.Fprintln(m.Stdout, "there is nothing to even out")
		}
		return nil
	})
}

type clusterDrain struct {
	configFlags
	Node string `arg:"" help:"The node."`
	Undo bool   `help:"Have it take actors again."`
}

// Run drains, and shows how the node empties.
func (c clusterDrain) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var answer struct{}
		path := "/cluster/" + url.PathEscape(c.Node) + "/drain?draining=" + strconv.FormatBool(!c.Undo)
		if err := ask(ctx, do, http.MethodPost, path, nil, &answer); err != nil {
			return err
		}
		if c.Undo {
			_, err := fmt.Fprintln(m.Stdout, c.Node, "takes actors again")
			return err
		}
		for {
			left, err := c.left(ctx, do)
			if err != nil || left == 0 {
				fmt.Fprintln(m.Stdout, c.Node, "is empty")
				return err
			}
			fmt.Fprintln(m.Stdout, left, "actors left on", c.Node)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// left is how many actors still live on the node.
func (c clusterDrain) left(ctx context.Context, do doer) (int64, error) {
	nodes, err := describeCluster(ctx, do)
	if err != nil {
		return 0, err
	}
	for _, n := range nodes {
		if n.Node == c.Node {
			left := int64(0)
			for kind, count := range n.Actors {
				if kind != "node" { // that lives where it is
					left += count
				}
			}
			return left, nil
		}
	}
	return 0, nil
}

func describeCluster(ctx context.Context, do doer) ([]admin.Status, error) {
	var answer struct {
		Nodes []admin.Status `json:"nodes"`
	}
	err := ask(ctx, do, http.MethodGet, "/cluster", nil, &answer)
	return answer.Nodes, err
}

type clusterStatus struct{ configFlags }

// Run shows.
func (c clusterStatus) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		nodes, err := describeCluster(ctx, do)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NODE\tADDRESS\tVERSION\tUPTIME\tROOMS\tUSERS\tLOAD\tPOSITION\tSTATE")
		for _, n := range nodes {
			state := "serving"
			switch {
			case n.Trouble != "":
				state = n.Trouble
			case n.Draining:
				state = "draining"
			}
			up := time.Since(time.UnixMilli(n.StartedTS)).Round(time.Second)
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%d\t%d\t%.3f\t%d\t%s\n", n.Node, n.Address, n.Version, up, n.Actors["room"], n.Actors["user"], n.Load, n.Position, state)
		}
		return w.Flush()
	})
}
