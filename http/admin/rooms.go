package admin

import (
	"errors"
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
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
	Seq uint64 `json:"seq"` // of the newest event in the journal
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

func (h handler) listRooms(r *api.Request) (any, error) {
	p, err := paged(r, 1000)
	if err != nil {
		return nil, err
	}
	rows, next, err := collect(r.Ctx, h.Store, schema.Rooms, persistence.Range[schema.Room]{}, p,
		func(roomID string) schema.Room { return schema.Room{RoomID: roomID} },
		func(row schema.Room) (string, bool) {
			return row.RoomID, p.matches(row.RoomID, row.Name, row.CanonicalAlias, row.Topic)
		})
	if err != nil {
		return nil, err
	}
	list := Rooms{Rooms: make([]Room, len(rows)), Next: next}
	for i, row := range rows {
		list.Rooms[i] = showRoom(row)
	}
	return list, nil
}

func (h handler) room(r *api.Request) (schema.Room, error) {
	row, ok, err := schema.Rooms.Get(r.Ctx, h.Store, schema.Room{RoomID: r.Vars["room"]})
	if err == nil && !ok {
		err = mxerr.NotFound("there is no room %.300q", r.Vars["room"])
	}
	return row, err
}

// getRoom wakes nobody: of a room at rest it tells what is stored.
func (h handler) getRoom(r *api.Request) (any, error) {
	row, err := h.room(r)
	if err != nil {
		return nil, err
	}
	now := RoomNow{Room: showRoom(row)}
	newest := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: row.RoomID}, Keys: 1, Reverse: true, Limit: 1}
	events, err := schema.Events.All(r.Ctx, h.Store, newest)
	if err != nil {
		return nil, err
	}
	if len(events) > 0 {
		now.Seq = events[0].Seq
	}
	id := cluster.Identity{Kind: cluster.KindRoom, ID: row.RoomID}
	found, err := atHome[*messages.Summary](r, h, id, &messages.InspectActor{Kind: id.Kind, Id: id.ID})
	switch refused := new(mxerr.Error); {
	case err == nil:
		actor := summary(found)
		now.Actor, now.Extremities = &actor, strings.Fields(actor.Details["extremity_ids"])
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound: // at rest
	default:
		now.Trouble = err.Error()
	}
	return now, nil
}

// listMembers gives everybody with a membership (?membership=: only with this one).
func (h handler) listMembers(r *api.Request) (any, error) {
	row, err := h.room(r)
	if err != nil {
		return nil, err
	}
	p, err := paged(r, 1000)
	if err != nil {
		return nil, err
	}
	membership, err := r.Enum("membership", "", "join", "invite", "knock", "leave", "ban")
	if err != nil {
		return nil, err
	}
	p.filtered = p.filtered || membership != ""
	of := schema.CurrentState{RoomID: row.RoomID, Type: "m.room.member"}
	rows, next, err := collect(r.Ctx, h.Store, schema.CurrentStates, persistence.Range[schema.CurrentState]{Prefix: of, Keys: 2}, p,
		func(userID string) schema.CurrentState {
			after := of
			after.StateKey = userID
			return after
		},
		func(s schema.CurrentState) (string, bool) {
			return s.StateKey, (membership == "" || s.Membership == membership) && p.matches(s.StateKey)
		})
	if err != nil {
		return nil, err
	}
	list := Members{Members: make([]Member, len(rows)), Next: next}
	for i, s := range rows {
		list.Members[i] = Member{UserID: s.StateKey, Membership: s.Membership, EventID: s.EventID}
	}
	return list, nil
}
