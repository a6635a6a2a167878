// Package address validates email addresses: a message with a link goes to the address, and whoever has it opens the link. What was
// validated can be used once, by whoever began it and knows the client secret (client-server API, "Adding Account
// Administrative Contact Information").
//
// A link alone validates nothing: programs that read mail open links too. It leads to a page with a button.
package address

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Lifetime is how long a validation may take, from the first request to the use of what was validated.
const Lifetime = time.Hour

// Path is where links lead, below the server's base URL.
const Path = "/_matrixon/client/email/confirm"

// Purpose is what a validated address is for.
type Purpose string

// The purposes.
const (
	Register Purpose = "register" // an account is made with it
	Add      Purpose = "add"      // it is added to an account
	Password Purpose = "password" // the password of the account that has it is set anew
)

// Sender sends the message with the link.
type Sender func(ctx context.Context, to string, purpose Purpose, userID, link string) error

// Validator validates addresses. Any node can go on with what another began.
type Validator struct {
	Store persistence.Store
	Send  Sender
	// BaseURL is where browsers reach this server, without a slash at its end.
	BaseURL string
}

// Request is what begins a validation, or has its message sent again.
type Request struct {
	Purpose      Purpose
	Address      string // in its canonical form
	ClientSecret string
	NextLink     string // where to go on afterwards; may be empty
	SendAttempt  int64
	UserID       string // whose account has the address, for Password
}

// Validated is an address that was validated.
type Validated struct {
	Address string
	UserID  string // of Request
	TS      int64  // ms; when
}

// Begin begins a validation and sends the message, unless it was sent for this attempt. It gives the session's id; two requests of one
// client for the same are one session. allowed is asked before a message is sent.
func (v *Validator) Begin(ctx context.Context, now time.Time, q Request, allowed func() error) (sid string, err error) {
	sid = q.ID()
	for {
		row, known, err := v.session(ctx, sid, now)
		if err != nil {
			return "", err
		}
		if known && q.SendAttempt <= row.SendAttempt {
			return sid, nil
		}
		if err := allowed(); err != nil {
			return "", err
		}
		if !known {
			row, err = v.open(ctx, now, sid, q)
			if errors.Is(err, persistence.ErrExists) {
				continue // another request was first
			}
			if err != nil {
				return "", err
			}
		}
		link := v.BaseURL + Path + "?" + url.Values{"sid": {sid}, "token": {row.Token}}.Encode()
		if err := v.Send(ctx, q.Address, q.Purpose, q.UserID, link); err != nil {
			return "", err
		}
		row.SendAttempt = q.SendAttempt
		return sid, v.commit(ctx, &persistence.Commit{Write: []persistence.Mutation{schema.ThirdPartySessions.Put(row)}})
	}
}

// ID is the id of the session that the request begins: it follows from what makes a session the same.
func (q Request) ID() string {
	h := sha256.Sum256([]byte(strings.Join([]string{string(q.Purpose), q.UserID, q.Address, q.ClientSecret}, "\x00")))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// open makes the session durable, in place of one that has expired or was used.
func (v *Validator) open(ctx context.Context, now time.Time, sid string, q Request) (schema.ThirdPartySession, error) {
	row := schema.ThirdPartySession{ID: sid, Purpose: string(q.Purpose), SecretHash: secret.Hash(q.ClientSecret), Medium: "email", Address: q.Address,
		UserID: q.UserID, Token: secret.New(secret.Email), NextLink: q.NextLink, CreatedTS: now.UnixMilli()}
	put := schema.ThirdPartySessions.Put(row)
	c := &persistence.Commit{Write: []persistence.Mutation{put, schema.ThirdPartyValidations.Delete(schema.ThirdPartyValidation{ID: sid})}}
	_, old, err := schema.ThirdPartySessions.Get(ctx, v.Store, schema.ThirdPartySession{ID: sid})
	if err != nil {
		return row, err
	}
	if !old {
		c.Absent = []persistence.Mutation{put}
	}
	return row, v.commit(ctx, c)
}

// session reads a session that has not expired.
func (v *Validator) session(ctx context.Context, sid string, now time.Time) (schema.ThirdPartySession, bool, error) {
	row, ok, err := schema.ThirdPartySessions.Get(ctx, v.Store, schema.ThirdPartySession{ID: sid})
	return row, ok && now.UnixMilli()-row.CreatedTS <= Lifetime.Milliseconds(), err
}

// Look gives the session of a link, if the link is good.
func (v *Validator) Look(ctx context.Context, now time.Time, sid, token string) (schema.ThirdPartySession, bool, error) {
	if !secret.Is(secret.Email, token) {
		return schema.ThirdPartySession{}, false, nil
	}
	row, ok, err := v.session(ctx, sid, now)
	return row, ok && subtle.ConstantTimeCompare([]byte(row.Token), []byte(token)) == 1, err
}

// Confirm validates the address of a link, if the link is good.
func (v *Validator) Confirm(ctx context.Context, now time.Time, sid, token string) (schema.ThirdPartySession, bool, error) {
	row, ok, err := v.Look(ctx, now, sid, token)
	if err != nil || !ok {
		return row, false, err
	}
	put := schema.ThirdPartyValidations.Put(schema.ThirdPartyValidation{ID: sid, ValidatedTS: now.UnixMilli()})
	err = v.commit(ctx, &persistence.Commit{Write: []persistence.Mutation{put}, Absent: []persistence.Mutation{put}})
	if errors.Is(err, persistence.ErrExists) {
		err = nil // it was confirmed before
	}
	return row, err == nil, err
}

// Use gives the address that was validated in the session, once. 401 M_UNAUTHORIZED says that it was not, yet or any more.
func (v *Validator) Use(ctx context.Context, now time.Time, purpose Purpose, sid, clientSecret string) (Validated, error) {
	not := mxerr.New(http.StatusUnauthorized, "M_UNAUTHORIZED", "the email address has not been confirmed: open the link in the message")
	row, ok, err := v.session(ctx, sid, now)
	if err != nil {
		return Validated{}, err
	}
	if !ok || row.Purpose != string(purpose) || !bytes.Equal(row.SecretHash, secret.Hash(clientSecret)) {
		return Validated{}, not
	}
	proof, ok, err := schema.ThirdPartyValidations.Get(ctx, v.Store, schema.ThirdPartyValidation{ID: sid})
	if err != nil {
		return Validated{}, err
	}
	if !ok {
		return Validated{}, not
	}
	// Of two who use it at once, one is first.
	used := schema.ThirdPartyValidations.Put(schema.ThirdPartyValidation{ID: row.Token, ValidatedTS: now.UnixMilli()})
	err = v.commit(ctx, &persistence.Commit{Absent: []persistence.Mutation{used}, Write: []persistence.Mutation{
		used, schema.ThirdPartySessions.Delete(row), schema.ThirdPartyValidations.Delete(proof),
	}})
	if errors.Is(err, persistence.ErrExists) {
		return Validated{}, not
	}
	return Validated{Address: row.Address, UserID: row.UserID, TS: proof.ValidatedTS}, err
}

func (v *Validator) commit(ctx context.Context, c *persistence.Commit) error {
	_, err := persistence.Await(ctx, v.Store, c)
	if errors.Is(err, persistence.ErrOverloaded) {
		return mxerr.LimitExceeded(1000)
	}
	return err
}

// sweepAtOnce is how many rows one commit deletes.
const sweepAtOnce = 500

// Sweep deletes what has expired.
func Sweep(ctx context.Context, s persistence.Store, now time.Time) error {
	old := now.Add(-2 * Lifetime).UnixMilli()
	var gone []persistence.Mutation
	for row, err := range schema.ThirdPartySessions.Scan(ctx, s, persistence.Range[schema.ThirdPartySession]{}) {
		if err != nil {
			return err
		}
		if row.CreatedTS < old {
			gone = append(gone, schema.ThirdPartySessions.Delete(row))
		}
	}
	for row, err := range schema.ThirdPartyValidations.Scan(ctx, s, persistence.Range[schema.ThirdPartyValidation]{}) {
		if err != nil {
			return err
		}
		if row.ValidatedTS < old {
			gone = append(gone, schema.ThirdPartyValidations.Delete(row))
		}
	}
	for len(gone) > 0 {
		n := min(len(gone), sweepAtOnce)
		if _, err := persistence.Await(ctx, s, &persistence.Commit{Write: gone[:n]}); err != nil {
			return err
		}
		gone = gone[n:]
	}
	return nil
}
