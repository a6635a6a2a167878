package client

import (
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (a *accounts) moderation() []api.Endpoint {
	const lock, suspend = "/_matrix/client/v1/admin/lock/{userId}", "/_matrix/client/v1/admin/suspend/{userId}"
	return []api.Endpoint{
		{Methods: get, Path: lock, Auth: api.Admins, Handler: a.getLock},
		{Methods: put, Path: lock, Auth: api.Admins, Handler: a.putLock},
		{Methods: get, Path: suspend, Auth: api.Admins, Handler: a.getSuspend},
		{Methods: put, Path: suspend, Auth: api.Admins, Handler: a.putSuspend},
		{Methods: get, Path: "/_matrix/client/v3/admin/whois/{userId}", R0: true, Auth: api.User, Handler: a.whois},
	}
}

// moderated gives the account that an administrator may lock or suspend (client-server API, "Account moderation").
func (a *accounts) moderated(r *api.Request) (schema.Account, error) {
	userID := r.Vars["userId"]
	_, server, err := id.ParseUser(userID)
	if err != nil || server != a.ServerName {
		return schema.Account{}, mxerr.InvalidParam("%.255q is no user of this server", userID)
	}
	target, ok, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: userID})
	switch {
	case err != nil:
		return target, err
	case !ok || target.Deactivated:
		return target, mxerr.NotFound("there is no active user %s", userID)
	case target.Admin:
		return target, mxerr.Forbidden("administrators can be neither locked nor suspended")
	}
	return target, nil
}

func (a *accounts) getLock(r *api.Request) (any, error) {
	target, err := a.moderated(r)
	return map[string]bool{"locked": target.Locked}, err
}

func (a *accounts) getSuspend(r *api.Request) (any, error) {
	target, err := a.moderated(r)
	return map[string]bool{"suspended": target.Suspended}, err
}

func (a *accounts) putLock(r *api.Request) (any, error) {
	var q struct {
		Locked *bool `json:"locked"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Locked == nil {
		return nil, mxerr.MissingParam("locked is required")
	}
	return map[string]bool{"locked": *q.Locked}, a.moderate(r, &messages.SetAccountFlags{Locked: q.Locked})
}

func (a *accounts) putSuspend(r *api.Request) (any, error) {
	var q struct {
		Suspended *bool `json:"suspended"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Suspended == nil {
		return nil, mxerr.MissingParam("suspended is required")
	}
	return map[string]bool{"suspended": *q.Suspended}, a.moderate(r, &messages.SetAccountFlags{Suspended: q.Suspended})
}

func (a *accounts) moderate(r *api.Request, flags *messages.SetAccountFlags) error {
	target, err := a.moderated(r)
	if err != nil {
		return err
	}
	err = a.ask(r, target.UserID, flags)
	a.o.Sessions.Forget(target.UserID)
	return err
}

type connection struct {
	IP        string `json:"ip,omitzero"`
	LastSeen  int64  `json:"last_seen,omitzero"`
	UserAgent string `json:"user_agent,omitzero"`
}

type whoisSession struct {
	Connections []connection `json:"connections"`
}

type whoisDevice struct {
	Sessions []whoisSession `json:"sessions"`
}

// whois tells users about themselves, and administrators about everyone here.
func (a *accounts) whois(r *api.Request) (any, error) {
	userID := r.Vars["userId"]
	if userID != r.User() && !r.Session.Admin {
		return nil, mxerr.Forbidden("only administrators may look at other users")
	}
	_, ok, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: userID})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("there is no user %.255s on this server", userID)
	}
	rows, err := account.Devices(r.Ctx, a.Store, userID)
	if err != nil {
		return nil, err
	}
	devices := make(map[string]whoisDevice, len(rows))
	for _, d := range rows {
		devices[d.DeviceID] = whoisDevice{[]whoisSession{{[]connection{{d.LastSeenIP, d.LastSeenTS, d.UserAgent}}}}}
	}
	return map[string]any{"user_id": userID, "devices": devices}, nil
}
