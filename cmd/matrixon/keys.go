package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/matrixon/matrixon/http/admin"
)

type keysCommand struct {
	List   keysList   `cmd:"" help:"List the keys with which the server signs, and has signed."`
	Rotate keysRotate `cmd:"" help:"Replace the key with which the server signs."`
}

type keysList struct{ configFlags }

// Run lists.
func (c keysList) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		var all admin.Keys
		if err := ask(ctx, do, http.MethodGet, "/keys", nil, &all); err != nil {
			return err
		}
		return printKeys(m.Stdout, all)
	})
}

func printKeys(out io.Writer, all admin.Keys) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tPUBLIC KEY\tEXPIRES\tSTATE")
	for _, k := range all.Keys {
		state := "old"
		switch {
		case k.Signing && k.ExpiredTS == 0:
			state = "signs"
		case k.Signing:
			state = "signs until the next start"
		case k.ExpiredTS == 0:
			state = "signs from the next start"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.KeyID, k.PublicKey, when(k.ExpiredTS), state)
	}
	return w.Flush()
}

type keysRotate struct {
	configFlags
	Grace time.Duration `default:"168h" help:"How long what the old key signs still counts. Every node must be started anew within it."`
}

// Help tells what happens.
func (keysRotate) Help() string {
	return "The new key is published within a minute. Nodes sign with it from their next start, so start all of them anew within the grace, one after another; " +
		"they warn in the log until then. The old key stays published, so that other servers can check what it has signed. With a key that " +
		"has been stolen use --grace 0s and start the nodes at once. Works with the server running or stopped."
}

// Run rotates.
func (c keysRotate) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		var all admin.Keys
		if err := ask(ctx, do, http.MethodPost, "/keys/rotate", map[string]int64{"grace_ms": c.Grace.Milliseconds()}, &all); err != nil {
			return err
		}
		return printKeys(m.Stdout, all)
	})
}
