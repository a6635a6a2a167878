// Package admin is the operator's interface to one node: accounts, and what the actors do. It is served where only the
// operator can reach it, on a socket in the data folder; it checks no token itself.
package admin

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Base is the path below which everything stands.
const Base = "/_matrixon/admin/v1"

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// Sessions is told when the sessions of a user have ended or changed.
type Sessions interface {
	Forget(userID, deviceID string)
}

// Deps are what the interface needs.
type Deps struct {
	ServerName string
	Store      persistence.Reader
	Node       *cluster.Node
	Passwords  *password.Hasher
	Sessions   Sessions
	Rebalance  Rebalance
}

// User is an account as operators see it.
type User struct {
	UserID      string `json:"user_id"`
	CreatedTS   int64  `json:"created_ts"` // ms
	Admin       bool   `json:"admin"`
	Deactivated bool   `json:"deactivated"`
	Locked      bool   `json:"locked"`
	Suspended   bool   `json:"suspended"`
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

type handler struct{ Deps }

// New serves the interface.
func New(d Deps) http.Handler {
	h := handler{d}
	m := http.NewServeMux()
	m.HandleFunc("GET "+Base+"/users", h.answer(h.listUsers))
	m.HandleFunc("GET "+Base+"/users/{user}", h.answer(h.getUser))
	m.HandleFunc("POST "+Base+"/users/{user}", h.answer(h.changeUser))
	m.HandleFunc("GET "+Base+"/actors", h.answer(h.listActors))
	m.HandleFunc("GET "+Base+"/actors/{kind}/{id}", h.answer(h.inspect))
	m.HandleFunc("POST "+Base+"/actors/{kind}/{id}/stop", h.answer(h.stopActor))
	m.HandleFunc("POST "+Base+"/actors/{kind}/{id}/move", h.answer(h.moveActor))
	m.HandleFunc("GET "+Base+"/cluster", h.answer(h.status))
	m.HandleFunc("POST "+Base+"/cluster/rebalance", h.answer(h.rebalance))
	m.HandleFunc("POST "+Base+"/cluster/{node}/drain", h.answer(h.drainNode))
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return m
}

func (h handler) answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		v, err := f(r)
		status := http.StatusOK
		if err != nil {
			refused := mxerr.From(err)
			status = refused.Status
			v = map[string]string{"errcode": refused.Code, "error": refused.Message}
		}
		raw, err := body(v)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write(raw) //nolint:errcheck // the operator has gone
	}
}

func body(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	}
	return json.Marshal(v)
}

func show(a schema.Account) User {
	return User{a.UserID, a.CreatedTS, a.Admin, a.Deactivated, a.Locked, a.Suspended}
}

// usersPage is how many accounts one page lists.
const usersPage = 1000

func (h handler) listUsers(r *http.Request) (any, error) {
	q := persistence.Range[schema.Account]{Limit: usersPage}
	if from := r.URL.Query().Get("from"); from != "" {
		q.After = &schema.Account{UserID: from}
	}
	rows, err := schema.Accounts.All(r.Context(), h.Store, q)
	if err != nil {
		return nil, err
	}
	users := make([]User, len(rows))
	for i, a := range rows {
		users[i] = show(a)
	}
	page := map[string]any{"users": users}
	if len(users) == usersPage {
		page["next"] = users[usersPage-1].UserID
	}
	return page, nil
}

// userID completes a localpart.
func (h handler) userID(r *http.Request) (string, error) {
	name := r.PathValue("user")
	if !strings.HasPrefix(name, "@") {
		name = "@" + name + ":" + h.ServerName
	}
	localpart, server, err := id.ParseUser(name)
	if err != nil || server != h.ServerName || !id.ValidNewLocalpart(localpart) {
		return "", mxerr.New(http.StatusBadRequest, "M_INVALID_USERNAME", "%q cannot be a user of %s: use the characters a-z 0-9 . _ = - / +", name, h.ServerName)
	}
	return name, nil
}

func (h handler) getUser(r *http.Request) (any, error) {
	userID, err := h.userID(r)
	if err != nil {
		return nil, err
	}
	return h.user(r.Context(), userID)
}

func (h handler) user(ctx context.Context, userID string) (User, error) {
	a, ok, err := schema.Accounts.Get(ctx, h.Store, schema.Account{UserID: userID})
	if err == nil && !ok {
		err = mxerr.NotFound("there is no account %s", userID)
	}
	return show(a), err
}

func (h handler) changeUser(r *http.Request) (any, error) {
	userID, err := h.userID(r)
	if err != nil {
		return nil, err
	}
	var c Change
	if err := json.UnmarshalRead(r.Body, &c); err != nil {
		return nil, mxerr.BadJSON("%v", err)
	}
	hash := ""
	if c.Password != nil {
		if *c.Password == "" || len(*c.Password) > password.MaxLength {
			return nil, mxerr.New(http.StatusBadRequest, "M_WEAK_PASSWORD", "a password has 1 to %d bytes", password.MaxLength)
		}
		if hash, err = h.Passwords.Hash(r.Context(), *c.Password); err != nil {
			return nil, err
		}
	}
	for _, request := range c.requests(hash) {
		to := cluster.Identity{Kind: cluster.KindUser, ID: userID}
		if _, err := h.Node.Ask(r.Context(), to, request); err != nil {
			return nil, err
		}
	}
	h.Sessions.Forget(userID, "")
	return h.user(r.Context(), userID)
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
