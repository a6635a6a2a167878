package client

import (
	"context"
	"net/http"

	"github.com/tidwall/gjson"

	sender "github.com/matrixon/matrixon/actors/delayed"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// DelayedCheck gives what the Sender of delayed events wants to know: whether the user may do now what could not be decided when the
// event was scheduled.
func DelayedCheck(d Deps, o RoomOptions, limits api.Limiter) sender.Check {
	h := &rooms{d, o}
	return func(ctx context.Context, roomID string, event *messages.Proposal, unlimited bool) error {
		take := func(kind api.Limit) error {
			if unlimited || limits == nil {
				return nil
			}
			return limits.Take(ctx, kind, event.Sender, 1)
		}
		a, ok, err := schema.Accounts.Get(ctx, h.Store, schema.Account{UserID: event.Sender})
		switch {
		case err != nil:
			return err
		case !ok || a.Deactivated:
			return mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "this account has been deactivated")
		case a.Locked:
			return mxerr.New(http.StatusForbidden, "M_USER_LOCKED", "this account has been locked")
		case a.Suspended:
			return mxerr.New(http.StatusForbidden, "M_USER_SUSPENDED", "this account has been suspended")
		}
		if err := take(api.LimitMessage); err != nil || event.StateKey == nil {
			return err
		}
		switch event.Type {
		case "m.room.canonical_alias":
			return h.checkCanonicalAlias(ctx, roomID, event.Content)
		case "m.room.member":
			return h.checkDelayedMember(ctx, roomID, event, take)
		}
		return nil
	}
}

// checkDelayedMember holds a change of membership to what putMember would.
func (h *rooms) checkDelayedMember(ctx context.Context, roomID string, event *messages.Proposal, take func(api.Limit) error) error {
	target := *event.StateKey
	if !id.ValidUser(target) {
		return mxerr.InvalidParam("the state key of m.room.member must be a user id")
	}
	switch gjson.GetBytes(event.Content, "membership").Str {
	case "join", "knock":
		if err := take(api.LimitJoin); err != nil {
			return err
		}
		return h.Reader.Enterable(ctx, roomID, event.Sender)
	case "invite":
		if err := take(api.LimitInvite); err != nil {
			return err
		}
		return h.invitable(ctx, roomID, target, event.Sender)
	}
	return nil
}

// DelayedElsewhere sends the delayed events that take another server: invites of its users.
func DelayedElsewhere(d Deps, o RoomOptions) sender.Elsewhere {
	h := &rooms{d, o}
	return func(ctx context.Context, roomID string, event *messages.Proposal, again bool) (*messages.EventSent, error) {
		if event.Type != "m.room.member" || event.StateKey == nil || id.ServerOf(*event.StateKey) == h.ServerName ||
			gjson.GetBytes(event.Content, "membership").Str != "invite" {
			return nil, nil
		}
		if again {
			member, _, err := schema.Memberships.Get(ctx, h.Store, schema.Membership{UserID: *event.StateKey, RoomID: roomID})
			if err != nil {
				return nil, err
			}
			if member.Membership == "invite" && member.Sender == event.Sender {
				return &messages.EventSent{EventId: member.EventID, Seq: member.Seq}, nil
			}
		}
		return h.inviteElsewhere(ctx, roomID, &messages.ChangeMembership{By: &messages.Requester{UserId: event.Sender, DeviceId: room.DelayedDevice},
			Action: messages.ChangeMembership_INVITE, Target: *event.StateKey, Content: event.Content})
	}
}
