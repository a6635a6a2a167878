package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Room is a room as operators see it. What has not been set is absent.
type Room struct {
	RoomID         string `json:"room_id"`
	Name           string `json:"name,omitzero"`
	Topic          string `json:"topic,omitzero"`
	CanonicalAlias string `json:"canonical_alias,omitzero"`
	Version        string `json:"version"`
	Creator        string `json:"creator"`
	CreatedTS      int64  `json:"created_ts"` // ms
	JoinRule       string `json:"join_rule,omitzero"`
	Visibility     string `json:"history_visibility,omitzero"`
	Type           string `json:"room_type,omitzero"`
	Encryption     string `json:"encryption,omitzero"` // the algorithm
	JoinedMembers  int64  `json:"joined_members"`
	InvitedMembers int64  `json:"invited_members"`
	UpgradedTo     string `json:"upgraded_to,omitzero"`
	Published      bool   `json:"published"` // shown in the public room directory
}

// Rooms is a page of rooms, by their id.
type Rooms struct {
	Rooms []Room `json:"rooms"`
	Next  string `json:"next,omitzero"` // the from of the next page
}

// RoomNow is a room with where its journal and its actor stand.
type RoomNow struct {
	Room
	Seq     uint64 `json:"seq"`     // of the newest event in the journal
	Blocked bool   `json:"blocked"` // users of this server who are not in it cannot come in
	Home    string `json:"home"`    // the node on which it lives when it is active, empty when none can have it
	// Extremities are the events that nothing follows yet. They are known while the actor is active.
	Extremities []string `json:"extremities,omitzero"`
	Actor       *Summary `json:"actor,omitzero"`   // nil while the room is at rest
	Trouble     string   `json:"trouble,omitzero"` // why its node does not tell
}

// Member is somebody's membership of a room.
type Member struct {
	UserID     string `json:"user_id"`
	Membership string `json:"membership"`
	EventID    string `json:"event_id"`
}

// Members is a page of members, by their id.
type Members struct {
	Members []Member `json:"members"`
	Next    string   `json:"next,omitzero"` // the from of the next page
}

func showRoom(r schema.Room) Room {
	return Room{RoomID: r.RoomID, Name: r.Name, Topic: r.Topic, CanonicalAlias: r.CanonicalAlias, Version: r.Version, Creator: r.Creator,
		CreatedTS: r.CreatedTS, JoinRule: r.JoinRule, Visibility: r.HistoryVisibility, Type: r.RoomType, Encryption: r.Encryption,
		JoinedMembers: r.JoinedMembers, InvitedMembers: r.InvitedMembers, UpgradedTo: r.UpgradedTo, Published: r.Published}
}

// Rooms lists the rooms of the server.
func (o Operator) Rooms(ctx context.Context, p Page) (Rooms, error) {
	rows, next, err := collect(ctx, o.Store, schema.Rooms, persistence.Range[schema.Room]{}, p, false,
		func(roomID string) schema.Room { return schema.Room{RoomID: roomID} },
		func(row schema.Room) (string, bool) {
			return row.RoomID, p.matches(row.RoomID, row.Name, row.CanonicalAlias, row.Topic)
		})
	if err != nil {
		return Rooms{}, err
	}
	list := Rooms{Rooms: make([]Room, len(rows)), Next: next}
	for i, row := range rows {
		list.Rooms[i] = showRoom(row)
	}
	return list, nil
}

func (o Operator) room(ctx context.Context, roomID string) (schema.Room, error) {
	row, ok, err := schema.Rooms.Get(ctx, o.Store, schema.Room{RoomID: roomID})
	if err == nil && !ok {
		err = mxerr.NotFound("there is no room %.300q", roomID)
	}
	return row, err
}

// Room tells of a room. It wakes nobody: of a room at rest it tells what is stored.
func (o Operator) Room(ctx context.Context, roomID string) (RoomNow, error) {
	row, err := o.room(ctx, roomID)
	if err != nil {
		return RoomNow{}, err
	}
	now := RoomNow{Room: showRoom(row)}
	newest := schema.Timeline(row.RoomID)
	newest.Reverse, newest.Limit = true, 1
	events, err := schema.Events.All(ctx, o.Store, newest)
	if err != nil {
		return RoomNow{}, err
	}
	if len(events) > 0 {
		now.Seq = events[0].Seq
	}
	id := cluster.Identity{Kind: cluster.KindRoom, ID: row.RoomID}
	now.Home = o.Node.Owner(id)
	if _, now.Blocked, err = schema.BlockedRooms.Get(ctx, o.Store, schema.BlockedRoom{RoomID: row.RoomID}); err != nil {
		return RoomNow{}, err
	}
	actor, err := o.Actor(ctx, id)
	switch refused := new(mxerr.Error); {
	case err == nil:
		now.Actor, now.Extremities = &actor, strings.Fields(actor.Details["extremity_ids"])
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound: // at rest
	default:
		now.Trouble = err.Error()
	}
	return now, nil
}

// Members lists who has a membership of a room, or only who has this one.
func (o Operator) Members(ctx context.Context, roomID, membership string, p Page) (Members, error) {
	row, err := o.room(ctx, roomID)
	if err != nil {
		return Members{}, err
	}
	of := schema.CurrentState{RoomID: row.RoomID, Type: "m.room.member"}
	rows, next, err := collect(ctx, o.Store, schema.CurrentStates, persistence.Range[schema.CurrentState]{Prefix: of, Keys: 2}, p, membership != "",
		func(userID string) schema.CurrentState {
			after := of
			after.StateKey = userID
			return after
		},
		func(s schema.CurrentState) (string, bool) {
			return s.StateKey, (membership == "" || s.Membership == membership) && p.matches(s.StateKey)
		})
	if err != nil {
		return Members{}, err
	}
	list := Members{Members: make([]Member, len(rows)), Next: next}
	for i, s := range rows {
		list.Members[i] = Member{UserID: s.StateKey, Membership: s.Membership, EventID: s.EventID}
	}
	return list, nil
}

func (h handler) listRooms(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	return h.Rooms(r.Ctx, p)
}

func (h handler) getRoom(r *api.Request) (any, error) { return h.Operator.Room(r.Ctx, r.Vars["room"]) }

func (h handler) listMembers(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	membership, err := r.Enum("membership", "", "join", "invite", "knock", "leave", "ban")
	if err != nil {
		return nil, err
	}
	return h.Members(r.Ctx, r.Vars["room"], membership, p)
}
