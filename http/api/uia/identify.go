package uia

import (
	"context"
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Identifier names a user (client-server API, "Identifier types").
type Identifier struct {
	Type string `json:"type"`
	User string `json:"user"`
	// Medium and Address are of m.id.thirdparty.
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

// UserID gives the id of the local user that is named. Who names an address gets 403 M_FORBIDDEN when it belongs to nobody, as with
// a password that is wrong.
func (i Identifier) UserID(ctx context.Context, store persistence.Reader, serverName string) (string, error) {
	wrong := mxerr.Forbidden("the user name or the password is wrong")
	switch i.Type {
	case "m.id.user":
		if i.User == "" {
			return "", mxerr.MissingParam("identifier.user is required")
		}
		userID, ok := UserID(i.User, serverName)
		if !ok {
			return "", wrong
		}
		return userID, nil
	case "m.id.thirdparty":
		if i.Medium == "" || i.Address == "" {
			return "", mxerr.MissingParam("identifier.medium and identifier.address are required")
		}
		canonical, ok := address.Canonical(i.Address)
		if i.Medium != account.Email || !ok {
			return "", wrong
		}
		owner, ok, err := schema.ThirdPartyIDs.Get(ctx, store, schema.ThirdPartyID{Medium: i.Medium, Address: canonical})
		if err == nil && !ok {
			err = wrong
		}
		return owner.UserID, err
	case "m.id.phone":
		return "", wrong // nobody has one
	case "":
		return "", mxerr.MissingParam("identifier.type is required")
	}
	return "", mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "this server does not know the type of identifier %.64q", i.Type)
}

// UserID gives the full id of a local user who is named by a full id or a localpart.
func UserID(name, serverName string) (string, bool) {
	if len(name) == 0 || len(name) > 255 {
		return "", false
	}
	full := name
	if name[0] != '@' {
		full = "@" + name + ":" + serverName
	}
	localpart, server, err := id.ParseUser(full)
	if err != nil || server != serverName {
		return "", false
	}
	return "@" + localpart + ":" + server, true
}

// CheckPassword gives the account of a local user if the password is right, else 403 M_FORBIDDEN, which does not tell whether
// there is such a user. Where there is none of this spelling, the one in lower case is meant. Failures are counted by account.
func CheckPassword(r *api.Request, store persistence.Reader, passwords *password.Hasher, userID, given string) (schema.Account, error) {
	a, ok, err := schema.Accounts.Get(r.Ctx, store, schema.Account{UserID: userID})
	if err == nil && !ok {
		userID = strings.ToLower(userID)
		a, _, err = schema.Accounts.Get(r.Ctx, store, schema.Account{UserID: userID})
	}
	if err != nil {
		return a, err
	}
	if err := r.Exhausted(api.LimitLoginFailed, userID); err != nil {
		return schema.Account{}, err
	}
	right, err := passwords.Matches(r.Ctx, a.PasswordHash, given)
	if err != nil {
		return a, err
	}
	if !right {
		if err := r.TakeFor(api.LimitLoginFailed, userID); err != nil {
			return a, err
		}
		return a, mxerr.Forbidden("the user name or the password is wrong")
	}
	return a, nil
}
