package admin

import (
	"context"
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

func show(a schema.Account) User {
	return User{a.UserID, a.CreatedTS, a.Admin, a.Deactivated, a.Locked, a.Suspended}
}

func (h handler) listUsers(r *api.Request) (any, error) {
	p, err := paged(r, 1000)
	if err != nil {
		return nil, err
	}
	rows, next, err := collect(r.Ctx, h.Store, schema.Accounts, persistence.Range[schema.Account]{}, p,
		func(userID string) schema.Account { return schema.Account{UserID: userID} },
		func(a schema.Account) (string, bool) { return a.UserID, p.matches(a.UserID) })
	if err != nil {
		return nil, err
	}
	page := Users{Users: make([]User, len(rows)), Next: next}
	for i, a := range rows {
		page.Users[i] = show(a)
	}
	return page, nil
}

// userID completes a localpart.
func (h handler) userID(r *api.Request) (string, error) {
	name := r.Vars["user"]
	if !strings.HasPrefix(name, "@") {
		name = "@" + name + ":" + h.ServerName
	}
	localpart, server, err := id.ParseUser(name)
	if err != nil || server != h.ServerName || !id.ValidNewLocalpart(localpart) {
		return "", mxerr.New(http.StatusBadRequest, "M_INVALID_USERNAME", "%.300q cannot be a user of %s: use the characters a-z 0-9 . _ = - / +", name, h.ServerName)
	}
	return name, nil
}

func (h handler) getUser(r *api.Request) (any, error) {
	userID, err := h.userID(r)
	if err != nil {
		return nil, err
	}
	return h.user(r.Ctx, userID)
}

func (h handler) user(ctx context.Context, userID string) (User, error) {
	a, ok, err := schema.Accounts.Get(ctx, h.Store, schema.Account{UserID: userID})
	if err == nil && !ok {
		err = mxerr.NotFound("there is no account %s", userID)
	}
	return show(a), err
}

func (h handler) changeUser(r *api.Request) (any, error) {
	userID, err := h.userID(r)
	if err != nil {
		return nil, err
	}
	var c Change
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	hash := ""
	if c.Password != nil {
		if *c.Password == "" || len(*c.Password) > password.MaxLength {
			return nil, mxerr.New(http.StatusBadRequest, "M_WEAK_PASSWORD", "a password has 1 to %d bytes", password.MaxLength)
		}
		if hash, err = h.Passwords.Hash(r.Ctx, *c.Password); err != nil {
			return nil, err
		}
	}
	for _, request := range c.requests(hash) {
		to := cluster.Identity{Kind: cluster.KindUser, ID: userID}
		if _, err := h.Node.Ask(r.Ctx, to, request); err != nil {
			return nil, err
		}
	}
	h.Sessions.Forget(userID, "")
	return h.user(r.Ctx, userID)
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
