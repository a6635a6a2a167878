package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/matrixon/matrixon/http/admin"
)

type userCommand struct {
	Create     userCreate     `cmd:"" help:"Make an account."`
	Password   userPassword   `cmd:"" help:"Set the password of an account."`
	Admin      userAdmin      `cmd:"" help:"Make somebody an administrator, or no longer one."`
	Lock       userLock       `cmd:"" help:"Lock an account out, or let it in again."`
	Deactivate userDeactivate `cmd:"" help:"End an account for good."`
	List       userList       `cmd:"" help:"List the accounts."`
}

// passwordFlags say where a password comes from: from standard input unless one is to be made up.
type passwordFlags struct {
	Generate bool `help:"Make a password up and print it, instead of reading one from standard input."`
}

func (f passwordFlags) read(m *Main) (string, error) {
	if f.Generate {
		made := rand.Text()
		_, err := fmt.Fprintln(m.Stdout, "password:", made)
		return made, err
	}
	fmt.Fprint(m.Stderr, "password: ")
	line, err := bufio.NewReader(m.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("no password was given; write one to standard input, or use --generate")
	}
	return line, nil
}

type userCreate struct {
	configFlags
	passwordFlags
	Name  string `arg:"" help:"The name, as in @NAME:server."`
	Admin bool   `help:"Make an administrator."`
}

// Run makes the account.
func (c userCreate) Run(ctx context.Context, m *Main) error {
	password, err := c.passwordFlags.read(m)
	if err != nil {
		return err
	}
	return c.change(ctx, m, c.Name, admin.Change{Create: true, Password: &password, Admin: &c.Admin})
}

type userPassword struct {
	configFlags
	passwordFlags
	Name       string `arg:"" help:"The user."`
	KeepLogins bool   `help:"Leave the user's sessions alone."`
}

// Run sets the password.
func (c userPassword) Run(ctx context.Context, m *Main) error {
	password, err := c.passwordFlags.read(m)
	if err != nil {
		return err
	}
	return c.change(ctx, m, c.Name, admin.Change{Password: &password, LogOut: !c.KeepLogins})
}

type userAdmin struct {
	configFlags
	Name   string `arg:"" help:"The user."`
	Revoke bool   `help:"Take the rights away."`
}

// Run changes the rights.
func (c userAdmin) Run(ctx context.Context, m *Main) error {
	is := !c.Revoke
	return c.change(ctx, m, c.Name, admin.Change{Admin: &is})
}

type userLock struct {
	configFlags
	Name   string `arg:"" help:"The user."`
	Unlock bool   `help:"Let the user in again."`
}

// Run locks or unlocks.
func (c userLock) Run(ctx context.Context, m *Main) error {
	is := !c.Unlock
	return c.change(ctx, m, c.Name, admin.Change{Locked: &is})
}

type userDeactivate struct {
	configFlags
	Name  string `arg:"" help:"The user."`
	Erase bool   `help:"Delete the profile too."`
}

// Run deactivates.
func (c userDeactivate) Run(ctx context.Context, m *Main) error {
	return c.change(ctx, m, c.Name, admin.Change{Deactivate: true, Erase: c.Erase})
}

type userList struct{ configFlags }

// Run lists.
func (c userList) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		for from := ""; ; {
			var page struct {
				Users []admin.User `json:"users"`
				Next  string       `json:"next"`
			}
			if err := ask(ctx, do, http.MethodGet, "/users?from="+url.QueryEscape(from), nil, &page); err != nil {
				return err
			}
			for _, u := range page.Users {
				if err := describe(m.Stdout, u); err != nil {
					return err
				}
			}
			if from = page.Next; from == "" {
				return nil
			}
		}
	})
}

func describe(w io.Writer, u admin.User) error {
	var marks []string
	for mark, is := range map[string]bool{"admin": u.Admin, "deactivated": u.Deactivated, "locked": u.Locked, "suspended": u.Suspended} {
		if is {
			marks = append(marks, mark)
		}
	}
	slices.Sort(marks)
	_, err := fmt.Fprintln(w, strings.TrimSpace(u.UserID+"  "+strings.Join(marks, " ")))
	return err
}

// change changes one account and prints what became of it.
func (f configFlags) change(ctx context.Context, m *Main, name string, c admin.Change) error {
	return f.operate(ctx, m, func(do doer) error {
		var u admin.User
		if err := ask(ctx, do, http.MethodPost, "/users/"+url.PathEscape(name), c, &u); err != nil {
			return err
		}
		return describe(m.Stdout, u)
	})
}
