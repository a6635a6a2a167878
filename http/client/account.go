package client

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (a *accounts) account() []api.Endpoint {
	return []api.Endpoint{
		{Methods: post, Path: "/_matrix/client/v3/account/password", R0: true, Auth: api.Optional, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.changePassword},
		{Methods: post, Path: "/_matrix/client/v3/account/deactivate", R0: true, Auth: api.Optional, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.deactivate},
		{Methods: post, Path: "/_matrix/client/v3/user/{userId}/openid/request_token", R0: true, Auth: api.User, Limit: api.LimitAccount, WhileSuspended: true, Handler: a.openID},
	}
}

// changePassword replaces the password, of the session's user or of whoever proves to know the old one, or to have the account's email
// address.
func (a *accounts) changePassword(r *api.Request) (any, error) {
	var q struct {
		NewPassword   *string `json:"new_password"`
		LogoutDevices *bool   `json:"logout_devices"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.NewPassword != nil && *q.NewPassword != "" {
		if err := a.acceptable(*q.NewPassword); err != nil {
			return nil, err
		}
	}
	challenge := uia.ByPassword
	if a.o.Addresses != nil {
		challenge = uia.Challenge{Flows: [][]string{{uia.Password}, {uia.Email}}, EmailFor: address.Password}
	}
	proof, err := a.o.UIA.Require(r, challenge)
	if err != nil {
		return nil, err
	}
	if q.NewPassword == nil || *q.NewPassword == "" {
		return nil, mxerr.MissingParam("new_password is required")
	}
	hash, err := a.o.Passwords.Hash(r.Ctx, *q.NewPassword)
	if err != nil {
		return nil, err
	}
	err = a.ask(r, proof.UserID, &messages.SetPassword{
		PasswordHash: hash, RemoveDevices: q.LogoutDevices == nil || *q.LogoutDevices, KeepDevice: r.Device(),
	})
	a.o.Sessions.Forget(proof.UserID)
	return nil, err
}

// deactivate ends the account (client-server API, "Account deactivation").
func (a *accounts) deactivate(r *api.Request) (any, error) {
	var q struct {
		Erase bool `json:"erase"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	userID, err := a.leaver(r)
	if err != nil {
		return nil, err
	}
	if err := Deactivate(r.Ctx, a.Deps, a.o.Sessions, userID, q.Erase); err != nil {
		return nil, err
	}
	return map[string]string{"id_server_unbind_result": "success"}, nil
}

// leaver is who may end the account and does: its user proves it. Those whom an application service has made have no password for that, and are
// under its full control (application service API, "Server admin style permissions").
func (a *accounts) leaver(r *api.Request) (string, error) {
	if s := r.Session; s != nil && s.Appservice != "" {
		if row, _, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: s.UserID}); err != nil || row.PasswordHash == "" {
			return s.UserID, err
		}
	}
	proof, err := a.o.UIA.Require(r, uia.ByPassword)
	if err != nil {
		return "", err
	}
	return proof.UserID, nil
}

const (
	// roomsAtOnce is how many rooms are told at once of something that concerns all rooms of a user.
	roomsAtOnce = 8
	// leaveTimeout bounds how long a deactivation waits for rooms; FinishDeactivations leaves what is left.
	leaveTimeout = 5 * time.Minute
)

// Deactivate ends an account: nobody can log in any more, and its user leaves all rooms. It can be repeated.
func Deactivate(ctx context.Context, d Deps, sessions SessionCache, userID string, erase bool) error {
	_, err := AskUser[*messages.Done](ctx, d, userID, &messages.DeactivateAccount{Erase: erase})
	sessions.Forget(userID)
	if err != nil {
		return err
	}
	// The account is gone whether or not the client waits for the rooms.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return leaveAll(ctx, d, userID)
}

// FinishDeactivations leaves the rooms of deactivated users who are still in some, because a node died. It is to be
// called when a node has started.
func FinishDeactivations(ctx context.Context, d Deps) error {
	for a, err := range schema.Accounts.Scan(ctx, d.Store, persistence.Range[schema.Account]{}) {
		if err != nil {
			return err
		}
		if !a.Deactivated {
			continue
		}
		if err := leaveAll(ctx, d, a.UserID); err != nil {
			return err
		}
	}
	return nil
}

// leaveAll leaves rooms, and declines invites and takes back knocks. A room that cannot be left does not keep the others.
func leaveAll(ctx context.Context, d Deps, userID string) error {
	return eachRoom(ctx, d, userID, []string{"join", "invite", "knock"}, func(ctx context.Context, roomID string) error {
		_, err := AskRoom[*messages.EventSent](ctx, d, roomID, &messages.ChangeMembership{
			By: &messages.Requester{UserId: userID}, Action: messages.ChangeMembership_LEAVE, Target: userID,
		})
		return err
	})
}

// eachRoom does something in every room in which the user has one of these memberships, a few at a time. Refusals are
// logged: they are a room's, not the user's.
func eachRoom(ctx context.Context, d Deps, userID string, memberships []string, do func(ctx context.Context, roomID string) error) error {
	rooms, err := roomsOf(ctx, d.Store, userID, memberships)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(roomsAtOnce)
	for _, roomID := range rooms {
		group.Go(func() error {
			err := do(ctx, roomID)
			var refused *mxerr.Error
			if errors.As(err, &refused) {
				d.Log.Warn("a room refused a change of its member", "room", roomID, "user", userID, "error", refused)
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

func roomsOf(ctx context.Context, r persistence.Reader, userID string, memberships []string) ([]string, error) {
	var rooms []string
	for m, err := range schema.Memberships.Scan(ctx, r, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		for _, wanted := range memberships {
			if m.Membership == wanted {
				rooms = append(rooms, m.RoomID)
			}
		}
	}
	return rooms, nil
}
