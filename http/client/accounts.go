package client

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/messages"
)

// AccountOptions are what the endpoints of accounts need besides Deps.
type AccountOptions struct {
	Sessions  SessionCache
	Passwords *password.Hasher
	UIA       *uia.Engine

	// Registration says who may make an account now.
	Registration func() RegistrationOptions
	// AccessLifetime is how long the access tokens of clients that can refresh them are valid.
	AccessLifetime time.Duration
	// RefreshLifetime is how long refresh tokens are valid; 0 is for ever.
	RefreshLifetime time.Duration
	// MinPassword is the least length of a new password, in bytes.
	MinPassword int

	Discovery DiscoveryOptions
	Push      PushOptions
	// Addresses validates email addresses; nil: the server sends no email, and keeps no addresses.
	Addresses *address.Validator
	// NoPasswords refuses sign-ins with passwords.
	NoPasswords bool
	// SSO is how people sign in with a browser; nil: they cannot.
	SSO *SSO
	// RemoteProfile asks the server of a remote user for the profile, or for one field of it; nil without federation.
	RemoteProfile func(ctx context.Context, userID, field string) (map[string]jsontext.Value, error)
}

// RegistrationOptions say who may make an account.
type RegistrationOptions struct {
	Open           bool
	TokensRequired bool   // a registration token is needed, whether or not registration is open to all
	SharedSecret   string // allows POST /_synapse/admin/v1/register; empty: off
	EmailRequired  bool   // an email address must be confirmed
	// Terms are the policies to agree to, as params of m.login.terms; nil: none.
	Terms any
	// Documents are the same policies, for the server's own pages.
	Documents []Document
}

// Document is a policy to agree to.
type Document struct{ Name, URL string }

// SSO is what clients learn of signing in with a browser (client-server API, "Client login via SSO").
type SSO struct {
	Providers any  // the identity providers, as JSON has them; nil: none
	OAuth     bool // OAuth 2.0 is served, so that clients that know of it offer nothing else
}

// SessionCache is told when sessions have ended or changed, so that it does not go on believing in them.
type SessionCache interface {
	// Forget concerns all devices of the user.
	Forget(userID string)
}

type accounts struct {
	Deps
	o         AccountOptions
	refresher *refresher
}

// Accounts are the endpoints of logins, registration, devices, profiles and account data.
func Accounts(d Deps, o AccountOptions) []api.Endpoint {
	a := &accounts{Deps: d, o: o, refresher: newRefresher(d)}
	var all []api.Endpoint
	for _, part := range [][]api.Endpoint{
		a.discovery(), a.login(), a.registration(), a.account(), a.moderation(), a.thirdPartyIDs(), a.devices(), a.profiles(), a.accountData(), a.filters(), a.pushRules(), a.pushers(),
	} {
		all = append(all, part...)
	}
	return all
}

// ask asks the actor of a local user for something that is answered with Done.
func (a *accounts) ask(r *api.Request, userID string, request proto.Message) error {
	_, err := AskUser[*messages.Done](r.Ctx, a.Deps, userID, request)
	return err
}

var (
	get    = []string{http.MethodGet}
	post   = []string{http.MethodPost}
	put    = []string{http.MethodPut}
	remove = []string{http.MethodDelete}
)
