package admin

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Closing says how a room is closed.
type Closing struct {
	Unblocked bool   `json:"unblocked,omitempty"` // users may come back if the room lets them
	Reason    string `json:"reason,omitzero"`     // that members read
}

// Closed is how far the closing of a room is.
type Closed struct {
	Left   []string          `json:"left"`             // who left the room with this request
	Failed map[string]string `json:"failed,omitempty"` // who could not, and why
	More   bool              `json:"more"`             // there are further members: ask again
}

// leavingMost is how many members leave with one request to close a room.
const leavingMost = 500

// CloseRoom takes the room's addresses and its place in the directory, and has all users of this server leave and forget it, some hundred at a time; it
// is done when there are no more. A room that is closed stays blocked, unless that is not wanted. Its history is kept.
func (o Operator) CloseRoom(ctx context.Context, by By, roomID string, c Closing, now time.Time) (Closed, error) {
	row, err := o.room(ctx, roomID)
	if err != nil {
		return Closed{}, err
	}
	if !c.Unblocked { // first, so that nobody comes while others go
		if err := o.BlockRoom(ctx, by, roomID, true, now); err != nil {
			return Closed{}, err
		}
	}
	err = o.hideRoom(ctx, row)
	o.note(ctx, by, "a room is closed", err, slog.String("room", roomID))
	if err != nil {
		return Closed{}, err
	}
	leaving, more, err := o.localMembers(ctx, roomID, leavingMost, "join", "invite", "knock")
	if err != nil {
		return Closed{}, err
	}
	closed := Closed{Failed: map[string]string{}, More: more}
	closed.Left, err = forEach(ctx, leaving, closed.Failed, func(userID string) error { return o.leave(ctx, roomID, userID, c.Reason) })
	return closed, err
}

// hideRoom takes away how the room is found.
func (o Operator) hideRoom(ctx context.Context, row schema.Room) error {
	if row.Published {
		if err := o.askRoom(ctx, row.RoomID, &messages.SetPublished{Published: false, Admin: true}); err != nil {
			return err
		}
	}
	aliases, err := schema.AliasesByRoom.All(ctx, o.Store, persistence.Range[schema.AliasByRoom]{Prefix: schema.AliasByRoom{RoomID: row.RoomID}, Keys: 1})
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if err := o.askRoom(ctx, row.RoomID, &messages.DeleteAlias{Alias: a.Alias, Admin: true}); err != nil {
			return err
		}
	}
	return nil
}

// leave has a user leave a room and forget it.
func (o Operator) leave(ctx context.Context, roomID, userID, reason string) error {
	user := &messages.Requester{UserId: userID}
	err := o.askRoom(ctx, roomID, &messages.ChangeMembership{By: user, Action: messages.ChangeMembership_LEAVE, Target: userID, Reason: reason})
	if err != nil {
		return err
	}
	return o.askRoom(ctx, roomID, &messages.Forget{By: user})
}

// localMembers are users of this server who have one of these memberships of a room, and whether there are more.
func (o Operator) localMembers(ctx context.Context, roomID string, most int, memberships ...string) (users []string, more bool, err error) {
	within := persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: roomID, Type: "m.room.member"}, Keys: 2}
	for row, err := range schema.CurrentStates.Scan(ctx, o.Store, within) {
		if err != nil {
			return nil, false, err
		}
		if !slices.Contains(memberships, row.Membership) || id.ServerOf(row.StateKey) != o.ServerName {
			continue
		}
		if len(users) == most {
			return users, true, nil
		}
		users = append(users, row.StateKey)
	}
	return users, false, nil
}

func (o Operator) askRoom(ctx context.Context, roomID string, request proto.Message) error {
	_, err := o.Node.Ask(ctx, cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, request)
	return err
}

func (h handler) closeRoom(r *api.Request) (any, error) {
	var c Closing
	if err := r.DecodeOptional(&c); err != nil {
		return nil, err
	}
	return h.CloseRoom(r.Ctx, By(r.User()), r.Vars["room"], c, r.Now)
}
