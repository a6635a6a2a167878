package client

import (
	"strings"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Registrar signs people in and makes accounts for the server's own pages, under the rules of the endpoints.
type Registrar struct{ a *accounts }

// NewRegistrar makes one with the options of Accounts.
func NewRegistrar(d Deps, o AccountOptions) *Registrar {
	return &Registrar{&accounts{Deps: d, o: o, refresher: newRefresher(d)}}
}

// Passwords reports whether people can sign in with passwords.
func (g *Registrar) Passwords() bool { return !g.a.o.NoPasswords }

// Rules say who may make an account now.
func (g *Registrar) Rules() RegistrationOptions { return g.a.o.Registration() }

// ByPassword gives the account of who gives a user name or an email address, and its password; 403 M_FORBIDDEN. Attempts are counted.
func (g *Registrar) ByPassword(r *api.Request, name, password string) (schema.Account, error) {
	if g.a.o.NoPasswords {
		return schema.Account{}, errNoPasswords
	}
	if err := r.Take(api.LimitLogin); err != nil {
		return schema.Account{}, err
	}
	who := uia.Identifier{Type: "m.id.user", User: name}
	if strings.Contains(name, "@") && !strings.HasPrefix(name, "@") {
		who = uia.Identifier{Type: "m.id.thirdparty", Medium: "email", Address: name}
	}
	userID, err := who.UserID(r.Ctx, g.a.Store, g.a.ServerName)
	if err != nil {
		return schema.Account{}, err
	}
	user, err := uia.CheckPassword(r, g.a.Store, g.a.o.Passwords, userID, password)
	if err != nil {
		return user, err
	}
	return user, usable(user)
}

// Account gives an account that can be signed in to; 403 M_USER_DEACTIVATED, 401 M_USER_LOCKED.
func (g *Registrar) Account(r *api.Request, userID string) (schema.Account, error) {
	user, _, err := schema.Accounts.Get(r.Ctx, g.a.Store, schema.Account{UserID: userID})
	if err != nil {
		return user, err
	}
	return user, usable(user)
}

// Free gives the id of a new account with this name; 400 M_INVALID_USERNAME, M_USER_IN_USE, M_EXCLUSIVE.
func (g *Registrar) Free(r *api.Request, name string) (string, error) {
	return g.a.wantedUser(r, &name, "")
}

// Hash gives the hash of a new password, which must be acceptable; 400 M_WEAK_PASSWORD.
func (g *Registrar) Hash(r *api.Request, password string) (string, error) {
	if err := g.a.acceptable(password); err != nil {
		return "", err
	}
	return g.a.o.Passwords.Hash(r.Ctx, password)
}

// Ask asks the user's actor for something that is answered with Done.
func (g *Registrar) Ask(r *api.Request, userID string, m proto.Message) error {
	return g.a.ask(r, userID, m)
}

// Deactivate ends an account.
func (g *Registrar) Deactivate(r *api.Request, userID string, erase bool) error {
	return Deactivate(r.Ctx, g.a.Deps, g.a.o.Sessions, userID, erase)
}

// RemoveDevices deletes devices; none named means all.
func (g *Registrar) RemoveDevices(r *api.Request, userID string, devices ...string) error {
	err := g.a.ask(r, userID, &messages.RemoveDevices{DeviceIds: devices, All: len(devices) == 0})
	g.a.o.Sessions.Forget(userID)
	return err
}

// SetDisplayName changes the name of the session's user in the profile and in rooms; empty is none.
func (g *Registrar) SetDisplayName(r *api.Request, name string) error {
	raw, err := json.Marshal(name)
	if err != nil {
		return mxerr.InvalidParam("the display name is not valid text")
	}
	value, err := fieldValue(displayName, raw)
	if err != nil {
		return err
	}
	return g.a.setField(r, displayName, value)
}

// SetPassword replaces the password.
func (g *Registrar) SetPassword(r *api.Request, userID, hash string, logOut bool) error {
	err := g.a.ask(r, userID, &messages.SetPassword{PasswordHash: hash, RemoveDevices: logOut})
	g.a.o.Sessions.Forget(userID)
	return err
}
