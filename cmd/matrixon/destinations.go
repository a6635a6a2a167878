package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/matrixon/matrixon/http/admin"
)

type destinationsCommand struct {
	List    destinationsList    `cmd:"" help:"List the servers that were sent something, and how that goes."`
	Inspect destinationsInspect `cmd:"" help:"Show what waits for one."`
	Retry   destinationsRetry   `cmd:"" help:"Send now what waits for one, however long it would wait after a failure, also after pause."`
	Pause   destinationsPause   `cmd:"" help:"Send one nothing until retry. What waits is kept."`
	Reset   destinationsReset   `cmd:"" help:"Forget the failures of one, and put its transaction together anew. What waits is kept."`
}

type destinationsList struct {
	configFlags
	Match string `help:"Only those in whose name or last error this stands."`
}

// Run lists.
func (c destinationsList) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SERVER\tCIRCUIT\tFAILURES\tFAILING SINCE\tNEXT ATTEMPT\tTAKEN LAST\tLAST ERROR")
		for from := ""; ; {
			var page admin.Destinations
			if err := ask(ctx, do, http.MethodGet, "/destinations?"+url.Values{"match": {c.Match}, "from": {from}}.Encode(), nil, &page); err != nil {
				return err
			}
			for _, d := range page.Destinations {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", d.Destination, d.Circuit, d.Failures, when(d.FailingSinceTS), when(d.RetryTS), when(d.LastSuccessTS), d.LastError)
			}
			if from = page.Next; from == "" {
				return w.Flush()
			}
		}
	})
}

// destinationNamed is a server that something is done with.
type destinationNamed struct {
	configFlags
	Server string `arg:"" help:"The server's name."`
}

// operate makes the request and shows the answer.
func (c destinationNamed) operate(ctx context.Context, m *Main, method, action string) error {
	return c.running(ctx, m, func(do doer) error {
		var d admin.DestinationQueue
		if err := ask(ctx, do, method, "/destinations/"+url.PathEscape(c.Server)+action, nil, &d); err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		line := func(name string, value any) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%v\n", name, value)
			}
		}
		line("server", d.Destination.Destination)
		line("circuit", d.Circuit)
		line("failures", d.Failures)
		line("failing since", when(d.FailingSinceTS))
		line("next attempt", when(d.RetryTS))
		line("taken last", when(d.LastSuccessTS))
		line("last error", d.LastError)
		line("transaction", d.TxnID)
		line("  events in it", d.TxnPDUs)
		line("  other notes in it", d.TxnEDUs)
		line("events waiting", d.QueuedEvents)
		line("messages to devices and changes of devices waiting", d.QueuedEDUs)
		line("typing, receipts and presence waiting", d.QueuedEphemeral)
		line("rooms to catch up with", d.MissedRooms)
		if d.More {
			line("more waits", "yes, not counted")
		}
		return w.Flush()
	})
}

type (
	destinationsInspect struct{ destinationNamed }
	destinationsRetry   struct{ destinationNamed }
	destinationsPause   struct{ destinationNamed }
	destinationsReset   struct{ destinationNamed }
)

// Run shows.
func (c destinationsInspect) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, http.MethodGet, "")
}

// Run has it tried now.
func (c destinationsRetry) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, http.MethodPost, "/retry")
}

// Run leaves it alone.
func (c destinationsPause) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, http.MethodPost, "/pause")
}

// Run begins anew.
func (c destinationsReset) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, http.MethodPost, "/reset")
}
