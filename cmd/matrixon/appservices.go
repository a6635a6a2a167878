package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/matrixon/matrixon/http/admin"
)

type appservicesCommand struct {
	List    appservicesList    `cmd:"" help:"List the application services, and how far each has been sent what concerns it."`
	Inspect appservicesInspect `cmd:"" help:"Show what one is registered with, and how it is."`
	Retry   appservicesRetry   `cmd:"" help:"Send what waits for one now, however long it would wait after a failure."`
}

type appservicesList struct{ configFlags }

// Run lists.
func (c appservicesList) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var all admin.Appservices
		if err := ask(ctx, do, http.MethodGet, "/appservices", nil, &all); err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tUSER\tNODE\tSTATE\tBEHIND\tEVENTS\tTAKEN LAST\tFAILURES\tLAST FAILURE")
		for _, a := range all.Appservices {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\n", a.ID, a.UserID, a.Node, a.State, a.Behind, a.Events, when(a.AcknowledgedTS), a.Failures, a.LastFailure)
		}
		return w.Flush()
	})
}

// when is a time in ms as people read it; empty when there is none.
func when(ts int64) string {
	if ts == 0 {
		return ""
	}
	return time.UnixMilli(ts).Format(time.RFC3339)
}

// appservicePath is where an application service stands in the operator's interface.
func appservicePath(id string) string { return "/appservices/" + url.PathEscape(id) }

type appservicesInspect struct {
	configFlags
	ID string `arg:"" help:"The id in the registration."`
}

// Run shows.
func (c appservicesInspect) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var a admin.Appservice
		if err := ask(ctx, do, http.MethodGet, appservicePath(c.ID), nil, &a); err != nil {
			return err
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
		line := func(name string, value any) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%v\n", name, value)
			}
		}
		line("id", a.ID)
		line("user", a.UserID)
		line("url", a.URL)
		namespaces(line, "users", a.Users)
		namespaces(line, "aliases", a.Aliases)
		namespaces(line, "rooms", a.Rooms)
		line("protocols", strings.Join(a.Protocols, ", "))
		line("rate limited", a.RateLimited)
		line("ephemeral", a.Ephemeral)
		line("encryption", a.Encryption)
		line("state", a.State)
		line("node", a.Node)
		line("behind", a.Behind)
		line("events", a.Events)
		line("unacknowledged bytes", a.Unacknowledged)
		line("taken last", when(a.AcknowledgedTS))
		line("failures", a.Failures)
		line("last failure", a.LastFailure)
		line("next attempt", when(a.NextAttemptTS))
		return w.Flush()
	})
}

func namespaces(line func(string, any), name string, all []admin.Namespace) {
	for _, n := range all {
		if n.Exclusive {
			n.Regex += " (exclusive)"
		}
		line(name, n.Regex)
	}
}

type appservicesRetry struct {
	configFlags
	ID string `arg:"" help:"The id in the registration."`
}

// Run has it tried again.
func (c appservicesRetry) Run(ctx context.Context, m *Main) error {
	return c.running(ctx, m, func(do doer) error {
		var answer struct{}
		if err := ask(ctx, do, http.MethodPost, appservicePath(c.ID)+"/retry", nil, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintln(m.Stdout, c.ID, "is tried again")
		return err
	})
}
