package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/matrixon/matrixon/http/admin"
)

type userNotify struct {
	configFlags
	Text  string   `arg:"" help:"What to tell."`
	Names []string `arg:"" optional:"" name:"name" help:"The users."`
	All   bool     `help:"All users, but for those of application services and those who are deactivated."`
}

// Help tells where it comes.
func (userNotify) Help() string {
	return "Each user has a room for these notices, to which they are invited with the first. The server must run, for clients to hear of it at once. " +
		"The account that speaks is that of server_notices in the configuration."
}

// Run tells one after another. Whom it cannot tell does not keep it from telling the others.
func (c userNotify) Run(ctx context.Context, m *Main) error {
	if c.All == (len(c.Names) > 0) {
		return errors.New("name users, or --all")
	}
	conf, _, err := c.load(m)
	if err != nil {
		return err
	}
	server := "@" + conf.ServerNotices.User + ":" + conf.ServerName // who speaks
	return c.running(ctx, m, func(do doer) error {
		told, failed := 0, 0
		tell := func(name string) {
			var sent admin.Notice
			if err := ask(ctx, do, http.MethodPost, "/users/"+url.PathEscape(name)+"/notice", map[string]string{"text": c.Text}, &sent); err != nil {
				failed++
				fmt.Fprintf(m.Stderr, "%s: %v\n", name, err)
				return
			}
			told++
		}
		for _, name := range c.Names {
			tell(name)
		}
		for from := ""; c.All; {
			var page admin.Users
			if err := ask(ctx, do, http.MethodGet, "/users?limit=1000&from="+url.QueryEscape(from), nil, &page); err != nil {
				return err
			}
			for _, u := range page.Users {
				if !u.Deactivated && u.Appservice == "" && u.UserID != server && ctx.Err() == nil {
					tell(u.UserID)
				}
			}
			if from = page.Next; from == "" || ctx.Err() != nil {
				break
			}
		}
		fmt.Fprintf(m.Stdout, "%d users are told\n", told)
		if failed > 0 {
			return fmt.Errorf("%d users could not be told", failed)
		}
		return ctx.Err()
	})
}
