package room

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Creator creates and upgrades rooms for local users. It runs where the request came in, not in an actor.
type Creator struct {
	Caller     cluster.Caller
	Store      persistence.Reader
	ServerName string
	Key        signing.Key
	Now        func() time.Time
	// Invite invites users of other servers; nil without federation, when there are none to invite.
	Invite func(ctx context.Context, roomID string, change *messages.ChangeMembership) (*messages.EventSent, error)
	Log    *slog.Logger
	// Random gives the unpredictable part of room ids, which are secrets of a kind in versions before 12.
	Random io.Reader

	lastTS atomic.Int64
}

// Bounds of the invitations of a new room to other servers.
const (
	invitePatience = time.Minute
	invitesAtOnce  = 8
)

// Create carries out POST /createRoom and gives the room's id. Users of other servers are invited once the room is there, since
// their servers are asked first; the room stands even when they cannot be. Errors are *mxerr.Error.
func (c *Creator) Create(ctx context.Context, by *messages.Requester, req room.CreateRequest) (string, error) {
	profiles, err := c.profiles(ctx, append([]string{by.UserId}, req.Invite...))
	if err != nil {
		return "", err
	}
	plan, err := room.PlanCreate(req, by.UserId, c.ServerName, profiles)
	if err != nil {
		return "", err
	}
	var invites []room.Proposal
	plan.Events = slices.DeleteFunc(plan.Events, func(p room.Proposal) bool {
		remote := p.Type == "m.room.member" && p.StateKey != nil && id.ServerOf(*p.StateKey) != c.ServerName
		if remote {
			invites = append(invites, p)
		}
		return remote
	})
	roomID, err := c.carryOut(ctx, by, plan)
	if err == nil {
		c.invite(ctx, by, roomID, invites)
	}
	return roomID, err
}

// invite invites users of other servers.
func (c *Creator) invite(ctx context.Context, by *messages.Requester, roomID string, invites []room.Proposal) {
	if c.Invite == nil || len(invites) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, invitePatience)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(invitesAtOnce)
	for _, p := range invites {
		group.Go(func() error {
			_, err := c.Invite(ctx, roomID, &messages.ChangeMembership{By: by, Action: messages.ChangeMembership_INVITE, Target: *p.StateKey, Content: p.Content})
			if err != nil {
				c.Log.Warn("a user of another server could not be invited to a new room", "room", roomID, "user", *p.StateKey, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // they return none
}

// carryOut builds the create event, which names the room from version 12 on, and asks the new room's actor for the rest.
func (c *Creator) carryOut(ctx context.Context, by *messages.Requester, plan *room.CreatePlan) (string, error) {
	create, err := c.createEvent(plan)
	if err != nil {
		return "", err
	}
	request := &messages.CreateRoom{
		By: by, Version: plan.Version.ID, CreateEvent: create.JSON(), Alias: plan.Alias, Published: plan.Published,
	}
	for _, p := range plan.Events {
		request.Events = append(request.Events, &messages.Proposal{Type: p.Type, StateKey: p.StateKey, Sender: p.Sender, Content: p.Content})
	}
	to := cluster.Identity{Kind: cluster.KindRoom, ID: create.RoomID()}
	if _, err := cluster.Ask[*messages.EventSent](ctx, c.Caller, to, request); err != nil {
		return "", err
	}
	return create.RoomID(), nil
}

func (c *Creator) createEvent(plan *room.CreatePlan) (*event.Event, error) {
	stateKey := ""
	proto := event.Proto{
		Type: "m.room.create", StateKey: &stateKey, Sender: plan.Creator, Content: plan.Create, Depth: 1, OriginServerTS: c.timestamp(),
	}
	if !plan.Version.RoomIDFromCreate {
		opaque, err := c.opaque()
		if err != nil {
			return nil, err
		}
		proto.RoomID = "!" + opaque + ":" + c.ServerName
	}
	if plan.Version.EventIDFormat == roomversion.EventIDField {
		opaque, err := c.opaque()
		if err != nil {
			return nil, err
		}
		proto.EventIDRandom = opaque
	}
	return event.Build(proto, plan.Version, c.ServerName, c.Key)
}

// timestamp is now in ms, but later than before: in room version 12 it is what tells apart two rooms that a user creates
// alike within a millisecond.
func (c *Creator) timestamp() int64 {
	for {
		last := c.lastTS.Load()
		ts := max(c.Now().UnixMilli(), last+1)
		if c.lastTS.CompareAndSwap(last, ts) {
			return ts
		}
	}
}

// opaque is an identifier's random part, 144 bits of it.
func (c *Creator) opaque() (string, error) {
	var b [18]byte
	if _, err := io.ReadFull(c.Random, b[:]); err != nil {
		return "", fmt.Errorf("room: no random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// profiles are those of the local users among the given.
func (c *Creator) profiles(ctx context.Context, users []string) (map[string]room.Profile, error) {
	profiles := map[string]room.Profile{}
	for _, userID := range users {
		if id.ServerOf(userID) != c.ServerName {
			continue
		}
		p, err := c.profile(ctx, userID)
		if err != nil {
			return nil, err
		}
		profiles[userID] = p
	}
	return profiles, nil
}

func (c *Creator) profile(ctx context.Context, userID string) (room.Profile, error) {
	var p room.Profile
	fields := persistence.Range[schema.ProfileField]{Prefix: schema.ProfileField{UserID: userID}, Keys: 1}
	for row, err := range schema.ProfileFields.Scan(ctx, c.Store, fields) {
		if err != nil {
			return p, err
		}
		switch row.Field {
		case "displayname":
			p.DisplayName = gjson.ParseBytes(row.Value).String()
		case "avatar_url":
			p.AvatarURL = gjson.ParseBytes(row.Value).String()
		}
	}
	return p, nil
}
