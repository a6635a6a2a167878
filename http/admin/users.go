package admin

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// User is an account as operators see it.
type User struct {
	UserID      string `json:"user_id"`
	CreatedTS   int64  `json:"created_ts"` // ms
	Admin       bool   `json:"admin"`
	Deactivated bool   `json:"deactivated"`
	Locked      bool   `json:"locked"`
	Suspended   bool   `json:"suspended"`
	Appservice  string `json:"appservice,omitzero"` // the id of the application service to which the name is reserved
}

// Users is a page of accounts, by their id.
type Users struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitzero"` // the from of the next page
}

// Change is what POST /users/{user} may do; what is absent stays as it is.
type Change struct {
	Create     bool    `json:"create,omitempty"` // make the account; it must not be there
	Password   *string `json:"password,omitzero"`
	LogOut     bool    `json:"log_out,omitempty"` // end all sessions, with a new password
	Admin      *bool   `json:"admin,omitzero"`
	Locked     *bool   `json:"locked,omitzero"`
	Suspended  *bool   `json:"suspended,omitzero"`
	Deactivate bool    `json:"deactivate,omitempty"`
	Erase      bool    `json:"erase,omitempty"` // with Deactivate: the profile too
}

func (o Operator) show(a schema.Account) User {
	u := User{UserID: a.UserID, CreatedTS: a.CreatedTS, Admin: a.Admin, Deactivated: a.Deactivated, Locked: a.Locked, Suspended: a.Suspended}
	for _, r := range o.registered().All() {
		if r.Reserves(a.UserID) {
			u.Appservice = r.ID
		}
	}
	return u
}

// Users lists the accounts.
func (o Operator) Users(ctx context.Context, p Page) (Users, error) {
	rows, next, err := collect(ctx, o.Store, schema.Accounts, persistence.Range[schema.Account]{}, p, false,
		func(userID string) schema.Account { return schema.Account{UserID: userID} },
		func(a schema.Account) (string, bool) { return a.UserID, p.matches(a.UserID) })
	if err != nil {
		return Users{}, err
	}
	page := Users{Users: make([]User, len(rows)), Next: next}
	for i, a := range rows {
		page.Users[i] = o.show(a)
	}
	return page, nil
}

// userID completes a localpart.
func (o Operator) userID(name string) (string, error) {
	if !strings.HasPrefix(name, "@") {
		name = "@" + name + ":" + o.ServerName
	}
	localpart, server, err := id.ParseUser(name)
	if err != nil || server != o.ServerName || !id.ValidNewLocalpart(localpart) {
		return "", mxerr.New(http.StatusBadRequest, "M_INVALID_USERNAME", "%.300q cannot be a user of %s: use the characters a-z 0-9 . _ = - / +", name, o.ServerName)
	}
	return name, nil
}

// User is one account, by its id or localpart.
func (o Operator) User(ctx context.Context, name string) (User, error) {
	userID, err := o.userID(name)
	if err != nil {
		return User{}, err
	}
	a, ok, err := schema.Accounts.Get(ctx, o.Store, schema.Account{UserID: userID})
	if err == nil && !ok {
		err = mxerr.NotFound("there is no account %s", userID)
	}
	return o.show(a), err
}

// Change changes an account, or makes it, and gives it as it is then.
func (o Operator) Change(ctx context.Context, by By, name string, c Change) (User, error) {
	userID, err := o.userID(name)
	if err != nil {
		return User{}, err
	}
	hash := ""
	if c.Password != nil {
		if *c.Password == "" || len(*c.Password) > password.MaxLength {
			return User{}, mxerr.New(http.StatusBadRequest, "M_WEAK_PASSWORD", "a password has 1 to %d bytes", password.MaxLength)
		}
		if hash, err = o.Passwords.Hash(ctx, *c.Password); err != nil {
			return User{}, err
		}
	}
	for _, request := range c.requests(hash) {
		to := cluster.Identity{Kind: cluster.KindUser, ID: userID}
		_, err := o.Node.Ask(ctx, to, request)
		o.note(ctx, by, "an account is changed", err, slog.String("user", userID), slog.String("request", string(request.ProtoReflect().Descriptor().Name())))
		if err != nil {
			return User{}, err
		}
	}
	o.Sessions.Forget(userID)
	return o.User(ctx, userID)
}

func (h handler) listUsers(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	return h.Users(r.Ctx, p)
}

func (h handler) getUser(r *api.Request) (any, error) { return h.User(r.Ctx, r.Vars["user"]) }

func (h handler) changeUser(r *api.Request) (any, error) {
	var c Change
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	return h.Change(r.Ctx, By(r.User()), r.Vars["user"], c)
}

// requests are what the user's actor is asked for, in order.
func (c Change) requests(hash string) []proto.Message {
	var all []proto.Message
	if c.Create {
		all = append(all, &messages.RegisterAccount{PasswordHash: hash, Admin: c.Admin != nil && *c.Admin})
	} else {
		if hash != "" {
			all = append(all, &messages.SetPassword{PasswordHash: hash, RemoveDevices: c.LogOut})
		}
		if c.Admin != nil || c.Locked != nil || c.Suspended != nil {
			all = append(all, &messages.SetAccountFlags{Admin: c.Admin, Locked: c.Locked, Suspended: c.Suspended})
		}
	}
	if c.Deactivate {
		all = append(all, &messages.DeactivateAccount{Erase: c.Erase})
	}
	return all
}
