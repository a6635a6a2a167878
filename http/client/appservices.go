package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Appservices knows the application services of this server (application service API).
type Appservices interface {
	// ByToken gives the id of the service with this token.
	ByToken(token string) (appservice string, ok bool)
	// MayActAs reports whether the service may make and log in the user.
	MayActAs(appservice, userID string) bool
	// Reserved reports whether the user is reserved to another service than this one, which may be empty.
	Reserved(userID, to string) bool
	// MayAlias reports whether the service, or when it is empty anybody else, may make and delete the alias.
	MayAlias(alias, appservice string) bool
	// FindUser asks the services to which a user may belong to make the account; it reports whether one has.
	FindUser(ctx context.Context, userID string) (bool, error)
	// FindAlias does the same with an alias.
	FindAlias(ctx context.Context, alias string) (bool, error)
}

// byAppservice gives the application service whose token the request carries, else 401 M_MISSING_TOKEN or M_UNKNOWN_TOKEN.
func (d Deps) byAppservice(r *api.Request) (string, error) {
	token := api.TokenOf(r.HTTP)
	if token == "" {
		return "", mxerr.New(http.StatusUnauthorized, "M_MISSING_TOKEN", "this needs the token of an application service")
	}
	if d.Appservices != nil {
		if service, ok := d.Appservices.ByToken(token); ok {
			return service, nil
		}
	}
	return "", api.UnknownToken(false)
}

// owned refuses users who are not of the application service (application service API, "Server admin style permissions").
func (d Deps) owned(service, userID string) error {
	if !d.Appservices.MayActAs(service, userID) {
		return mxerr.New(http.StatusBadRequest, "M_EXCLUSIVE", "%s is not in the namespaces of the application service, or reserved to another", userID)
	}
	return nil
}

// unreserved refuses users who are reserved to an application service or to the server.
func (d Deps) unreserved(userID string) error {
	if userID == d.Notices.UserID {
		return mxerr.New(http.StatusBadRequest, "M_EXCLUSIVE", "this user name is reserved for the server's notices")
	}
	if d.Appservices != nil && d.Appservices.Reserved(userID, "") {
		return mxerr.New(http.StatusBadRequest, "M_EXCLUSIVE", "this user name is reserved for an application service")
	}
	return nil
}

// mayAlias refuses aliases that are reserved to application services or the server, and to the former all that are not theirs.
func (d Deps) mayAlias(r *api.Request, alias string) error {
	if d.Notices.owns(alias) {
		return mxerr.New(http.StatusBadRequest, "M_EXCLUSIVE", "the alias %s is reserved for the server's notices", alias)
	}
	if d.Appservices != nil && !d.Appservices.MayAlias(alias, r.Session.Appservice) {
		return mxerr.New(http.StatusBadRequest, "M_EXCLUSIVE", "the alias %s is reserved, or not in the namespaces of the application service", alias)
	}
	return nil
}

// localAccount reads the account of a local user. One that is not there may be made by an application service.
func (d Deps) localAccount(ctx context.Context, userID string) (schema.Account, bool, error) {
	row, ok, err := schema.Accounts.Get(ctx, d.Store, schema.Account{UserID: userID})
	if err != nil || ok || d.Appservices == nil {
		return row, ok, err
	}
	if found, err := d.Appservices.FindUser(ctx, userID); err != nil || !found {
		return row, false, err
	}
	return schema.Accounts.Get(ctx, d.Store, schema.Account{UserID: userID})
}

// LocalAlias reads a local alias. One that is not there may be made by an application service.
func (d Deps) LocalAlias(ctx context.Context, alias string) (schema.Alias, bool, error) {
	row, ok, err := schema.Aliases.Get(ctx, d.Store, schema.Alias{Alias: alias})
	if err != nil || ok || d.Appservices == nil {
		return row, ok, err
	}
	if found, err := d.Appservices.FindAlias(ctx, alias); err != nil || !found {
		return row, false, err
	}
	return schema.Aliases.Get(ctx, d.Store, schema.Alias{Alias: alias})
}

// maxTS is the largest integer that canonical JSON has.
const maxTS = 1<<53 - 1

// massagedTS gives the time that an application service sets for an event, in ms; 0 when none is set, and for everybody else
// (application service API, "Timestamp massaging").
func massagedTS(r *api.Request) (int64, error) {
	text := r.Query().Get("ts")
	if text == "" || r.Session.Appservice == "" {
		return 0, nil
	}
	ts, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ts < 0 || ts > maxTS {
		return 0, mxerr.InvalidParam("ts must be a time in milliseconds from 0 to %d", int64(maxTS))
	}
	return max(ts, 1), nil // to the room 0 means now
}
