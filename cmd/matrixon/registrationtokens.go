package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/matrixon/matrixon/http/admin"
)

type tokensCommand struct {
	List   tokensList   `cmd:"" help:"List the registration tokens."`
	Create tokensCreate `cmd:"" help:"Make a registration token."`
	Delete tokensDelete `cmd:"" help:"End a registration token. Accounts that were made with it stay."`
}

// Help tells what they are for.
func (tokensCommand) Help() string {
	return "Whoever knows a registration token can make an account when registration.tokens_required is set in the configuration. Works with the server " +
		"running or stopped. Tokens that stand in the configuration, under registration.tokens, are listed too, and end there."
}

type tokensList struct{ listFlags }

// Run lists.
func (c tokensList) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, c.listFlags, "/registration_tokens", nil, "TOKEN\tACCOUNTS MADE\tOF\tEXPIRES\tSTATE", tokenCells)
}

func tokenCells(t admin.RegistrationToken) []any {
	of := "any number"
	if t.UsesAllowed != nil {
		of = fmt.Sprint(*t.UsesAllowed)
	}
	return []any{t.Token, t.Completed, of, when(t.ExpiresTS), marks("good", t.Valid, "used up or expired", !t.Valid, "(in the configuration)", t.Configured)}
}

type tokensCreate struct {
	configFlags
	Token string        `arg:"" optional:"" help:"1 to 64 letters, digits and . _ ~ -; it is made up if there is none."`
	Uses  int64         `default:"-1" help:"How many accounts can be made with it; any number if nothing is said."`
	For   time.Duration `help:"How long it is good, such as 48h; for ever if nothing is said."`
}

// Run makes a token and prints it.
func (c tokensCreate) Run(ctx context.Context, m *Main) error {
	n := admin.NewRegistrationToken{Token: c.Token}
	if c.Uses >= 0 {
		n.UsesAllowed = &c.Uses
	}
	if c.For < 0 {
		return errors.New("--for: must not be negative")
	}
	if c.For > 0 {
		n.ExpiresTS = time.Now().Add(c.For).UnixMilli()
	}
	return c.operate(ctx, m, func(do doer) error {
		var made admin.RegistrationToken
		if err := ask(ctx, do, http.MethodPost, "/registration_tokens", n, &made); err != nil {
			return err
		}
		_, err := fmt.Fprintln(m.Stdout, made.Token)
		return err
	})
}

type tokensDelete struct {
	configFlags
	Token string `arg:"" help:"The token."`
}

// Run deletes.
func (c tokensDelete) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		return ask(ctx, do, http.MethodDelete, "/registration_tokens/"+url.PathEscape(c.Token), nil, &struct{}{})
	})
}
