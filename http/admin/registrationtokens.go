package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// RegistrationToken lets whoever knows it make an account (client-server API, "Token-authenticated registration").
type RegistrationToken struct {
	Token       string `json:"token"`
	UsesAllowed *int64 `json:"uses_allowed,omitzero"` // absent: any number
	Completed   int64  `json:"completed"`             // accounts that were made with it
	ExpiresTS   int64  `json:"expires_ts,omitzero"`   // ms; absent: never
	Configured  bool   `json:"configured"`            // it stands in the configuration, and goes when it goes there
	Valid       bool   `json:"valid"`                 // one more account can be made with it now
}

// RegistrationTokens is a page of registration tokens, by themselves.
type RegistrationTokens struct {
	Tokens []RegistrationToken `json:"registration_tokens"`
	Next   string              `json:"next,omitzero"` // the from of the next page
}

// NewRegistrationToken is what a token is to be. Its zero value is one that is made up, and good for ever.
type NewRegistrationToken struct {
	Token       string `json:"token,omitzero"`        // absent: it is made up
	UsesAllowed *int64 `json:"uses_allowed,omitzero"` // absent: any number
	ExpiresTS   int64  `json:"expires_ts,omitzero"`   // ms; absent: never
}

func (o Operator) registrationToken(ctx context.Context, row schema.RegistrationToken, now time.Time) (RegistrationToken, error) {
	uses, err := account.RegistrationTokenUses(ctx, o.Store, row.Token)
	if err != nil {
		return RegistrationToken{}, err
	}
	t := RegistrationToken{Token: row.Token, Completed: row.Completed + uses, ExpiresTS: row.ExpiresTS, Configured: row.Configured}
	if row.UsesAllowed >= 0 {
		t.UsesAllowed = &row.UsesAllowed
	}
	t.Valid = (t.UsesAllowed == nil || t.Completed < *t.UsesAllowed) && (t.ExpiresTS == 0 || now.UnixMilli() < t.ExpiresTS)
	return t, nil
}

// RegistrationTokens lists the tokens.
func (o Operator) RegistrationTokens(ctx context.Context, p Page, now time.Time) (RegistrationTokens, error) {
	rows, next, err := collect(ctx, o.Store, schema.RegistrationTokens, persistence.Range[schema.RegistrationToken]{}, p, false,
		func(token string) schema.RegistrationToken { return schema.RegistrationToken{Token: token} },
		func(row schema.RegistrationToken) (string, bool) { return row.Token, p.matches(row.Token) })
	if err != nil {
		return RegistrationTokens{}, err
	}
	page := RegistrationTokens{Tokens: make([]RegistrationToken, len(rows)), Next: next}
	for i, row := range rows {
		if page.Tokens[i], err = o.registrationToken(ctx, row, now); err != nil {
			return RegistrationTokens{}, err
		}
	}
	return page, nil
}

// maxToken bounds a registration token, in bytes.
const maxToken = 64

// CreateRegistrationToken makes a token. A name that an older one had counts anew.
func (o Operator) CreateRegistrationToken(ctx context.Context, by By, n NewRegistrationToken, now time.Time) (RegistrationToken, error) {
	if n.Token == "" {
		n.Token = rand.Text()
	}
	switch {
	case !id.ValidOpaque(n.Token) || len(n.Token) > maxToken:
		return RegistrationToken{}, mxerr.InvalidParam("a registration token has 1 to %d letters, digits and . _ ~ -", maxToken)
	case n.UsesAllowed != nil && *n.UsesAllowed < 0:
		return RegistrationToken{}, mxerr.InvalidParam("uses_allowed must not be negative")
	case n.ExpiresTS != 0 && n.ExpiresTS <= now.UnixMilli():
		return RegistrationToken{}, mxerr.InvalidParam("expires_ts has passed")
	}
	used, err := account.RegistrationTokenUses(ctx, o.Store, n.Token)
	if err != nil {
		return RegistrationToken{}, err
	}
	row := schema.RegistrationToken{Token: n.Token, UsesAllowed: -1, Completed: -used, ExpiresTS: n.ExpiresTS}
	if n.UsesAllowed != nil {
		row.UsesAllowed = *n.UsesAllowed
	}
	put := []persistence.Mutation{schema.RegistrationTokens.Put(row)}
	_, err = persistence.Await(ctx, o.Store, &persistence.Commit{Write: put, Absent: put})
	if errors.Is(err, persistence.ErrExists) {
		err = mxerr.InvalidParam("there is such a registration token already")
	}
	o.note(ctx, by, "a registration token is made", err, slog.Int64("uses_allowed", row.UsesAllowed)) // not which: it is a secret
	if err != nil {
		return RegistrationToken{}, err
	}
	return o.registrationToken(ctx, row, now)
}

// DeleteRegistrationToken ends a token. Those of the configuration end there.
func (o Operator) DeleteRegistrationToken(ctx context.Context, by By, token string) error {
	row, ok, err := schema.RegistrationTokens.Get(ctx, o.Store, schema.RegistrationToken{Token: token})
	switch {
	case err != nil:
		return err
	case !ok:
		return mxerr.NotFound("there is no such registration token")
	case row.Configured:
		return mxerr.InvalidParam("this token stands in the configuration, as one of registration.tokens: take it out there and read the configuration again (SIGHUP)")
	}
	_, err = persistence.Await(ctx, o.Store, &persistence.Commit{Write: []persistence.Mutation{schema.RegistrationTokens.Delete(row)}})
	o.note(ctx, by, "a registration token is deleted", err)
	return err
}

func (h handler) listRegistrationTokens(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	return h.RegistrationTokens(r.Ctx, p, r.Now)
}

func (h handler) createRegistrationToken(r *api.Request) (any, error) {
	var n NewRegistrationToken
	if err := r.DecodeOptional(&n); err != nil {
		return nil, err
	}
	return h.CreateRegistrationToken(r.Ctx, By(r.User()), n, r.Now)
}

func (h handler) deleteRegistrationToken(r *api.Request) (any, error) {
	return nil, h.DeleteRegistrationToken(r.Ctx, By(r.User()), r.Vars["token"])
}
