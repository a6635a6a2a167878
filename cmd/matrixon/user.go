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
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/matrixon/matrixon/http/admin"
)

type userCommand struct {
	Create     userCreate     `cmd:"" help:"Make an account."`
	Password   userPassword   `cmd:"" help:"Set the password of an account."`
	Admin      userAdmin      `cmd:"" help:"Make somebody an administrator, or no longer one."`
	Lock       userLock       `cmd:"" help:"Lock an account out, or let it in again."`
	Suspend    userSuspend    `cmd:"" help:"Let an account only read, or write again."`
	Deactivate userDeactivate `cmd:"" help:"End an account for good."`
	List       userList       `cmd:"" help:"List the accounts."`
	Devices    userDevices    `cmd:"" help:"List the devices of a user."`
	Redact     userRedact     `cmd:"" help:"Redact all messages of a user, of this server or another."`
	Export     userExport     `cmd:"" help:"Write all that the server knows of a user to standard output."`
	Notify     userNotify     `cmd:"" help:"Tell users something in the name of the server."`
	LogOut     userLogOut     `cmd:"" name:"logout" help:"Log devices of a user out. Their keys are deleted too."`
}

// passwordFlags say where a password comes from: from standard input unless one is to be made up.
type passwordFlags struct {
	Generate bool `help:"Make a password up and print it, instead of reading one from standard input."`
}

func (f passwordFlags) read(m *Main) (string, error) {
	if f.Generate {
		return rand.Text(), nil
	}
	fmt.Fprint(m.Stderr, "password: ")
	line, err := readSecret(m.Stdin)
	if err != nil {
		fmt.Fprintln(m.Stderr)
		return "", err
	}
	if line == "" {
		return "", errors.New("no password was given; write one to standard input, or use --generate")
	}
	return line, nil
}

// tell prints a password that was made up, once it is in force.
func (f passwordFlags) tell(m *Main, password string) error {
	if !f.Generate {
		return nil
	}
	_, err := fmt.Fprintln(m.Stdout, "password:", password)
	return err
}

// readSecret reads a line. A terminal does not show it.
func readSecret(in io.Reader) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		typed, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(typed), err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
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
	if err := c.change(ctx, m, c.Name, admin.Change{Create: true, Password: &password, Admin: &c.Admin}); err != nil {
		return err
	}
	return c.tell(m, password)
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
	if err := c.change(ctx, m, c.Name, admin.Change{Password: &password, LogOut: !c.KeepLogins}); err != nil {
		return err
	}
	return c.tell(m, password)
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

type userList struct{ listFlags }

// Run lists.
func (c userList) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, c.listFlags, "/users", nil, "", func(u admin.User) []any { return []any{u.UserID, accountMarks(u)} })
}

type userSuspend struct {
	configFlags
	Name string `arg:"" help:"The user."`
	Lift bool   `help:"Let the user write again."`
}

// Run suspends, or lifts the suspension.
func (c userSuspend) Run(ctx context.Context, m *Main) error {
	is := !c.Lift
	return c.change(ctx, m, c.Name, admin.Change{Suspended: &is})
}

type userDevices struct {
	configFlags
	Name string `arg:"" help:"The user."`
	JSON bool   `name:"json" help:"Print one JSON object a line, as the admin API gives it."`
}

// Run lists.
func (c userDevices) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, listFlags{configFlags: c.configFlags, JSON: c.JSON}, "/users/"+url.PathEscape(c.Name)+"/devices", nil, "DEVICE\tNAME\tLAST SEEN\tFROM\tWITH", func(d admin.Device) []any {
		return []any{d.DeviceID, d.DisplayName, when(d.LastSeenTS), d.LastSeenIP, d.UserAgent}
	})
}

type userLogOut struct {
	configFlags
	Name    string   `arg:"" help:"The user."`
	Devices []string `arg:"" optional:"" name:"device" help:"The ids of the devices."`
	All     bool     `help:"All devices of the user."`
}

// Run logs out.
func (c userLogOut) Run(ctx context.Context, m *Main) error {
	if c.All == (len(c.Devices) > 0) {
		return errors.New("name the devices to log out (matrixon user devices lists them), or --all")
	}
	return c.operate(ctx, m, func(do doer) error {
		var left admin.Devices
		if err := ask(ctx, do, http.MethodPost, "/users/"+url.PathEscape(c.Name)+"/log_out", admin.LogOut{Devices: c.Devices, All: c.All}, &left); err != nil {
			return err
		}
		_, err := fmt.Fprintf(m.Stdout, "%d devices are left\n", len(left.Devices))
		return err
	})
}

type userRedact struct {
	configFlags
	Name   string `arg:"" help:"The user, as in @alice:example.org."`
	Room   string `help:"Only what was said in this room."`
	Reason string `help:"What members read as the reason."`
}

// Run redacts, request after request, and tells how far it is.
func (c userRedact) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		what := admin.Redacting{RoomID: c.Room, Reason: c.Reason}
		for redacted, failed := 0, 0; ; {
			var done admin.Redacted
			if err := ask(ctx, do, http.MethodPost, "/users/"+url.PathEscape(c.Name)+"/redact", what, &done); err != nil {
				return err
			}
			redacted += done.Redacted
			failed += len(done.Failed)
			fmt.Fprintf(m.Stdout, "%d messages are redacted\n", redacted)
			for which, why := range done.Failed {
				fmt.Fprintf(m.Stderr, "%s: %s\n", which, printable(why))
			}
			if what.From = done.Next; what.From != "" {
				continue
			}
			if failed > 0 {
				return fmt.Errorf("%d could not be", failed)
			}
			return nil
		}
	})
}

func accountMarks(u admin.User) string {
	return marks("admin", u.Admin, "deactivated", u.Deactivated, "locked", u.Locked, "suspended", u.Suspended)
}

func describe(w io.Writer, u admin.User) error {
	_, err := fmt.Fprintln(w, strings.TrimSpace(u.UserID+"  "+accountMarks(u)))
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
