package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/matrixon/matrixon/http/admin"
)

type reportsCommand struct {
	List  reportsList  `cmd:"" help:"List what users have reported, newest first."`
	Close reportsClose `cmd:"" help:"Delete reports that have been dealt with."`
}

type reportsList struct{ listFlags }

// Run lists.
func (c reportsList) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, c.listFlags, "/reports", nil, "ID\tWHEN\tBY\tUSER\tROOM\tEVENT\tREASON", func(r admin.Report) []any {
		return []any{r.ID, when(r.TS), r.Reporter, r.UserID, r.RoomID, r.EventID, r.Reason}
	})
}

type reportsClose struct {
	configFlags
	IDs []string `arg:"" name:"id" help:"The ids in the list."`
}

// Run deletes, until one is not there.
func (c reportsClose) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		for _, id := range c.IDs {
			if err := ask(ctx, do, http.MethodDelete, "/reports/"+url.PathEscape(id), nil, &struct{}{}); err != nil {
				return err
			}
		}
		return nil
	})
}
