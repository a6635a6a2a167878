package admin

import (
	"context"
	"log/slog"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	powerLevels = "m.room.power_levels"
	// givenLevel is what somebody gets from a creator of a room whose own level is infinite (rooms/v12), if more is not needed.
	givenLevel = 100
)

// RoomAdmin is what became of giving somebody power over a room.
type RoomAdmin struct {
	UserID  string `json:"user_id"`
	From    string `json:"from"` // the user of this server in whose name it was done
	Level   int64  `json:"power_level"`
	Invited bool   `json:"invited"` // the user was not in the room, and is invited
}

// MakeRoomAdmin gives a user of this server the power that the most powerful other member from this server has in a room, for rooms whose own
// administrators are gone. It is done in the name of that member, as the room's rules want it: 403 M_FORBIDDEN when nobody of this server may.
func (o Operator) MakeRoomAdmin(ctx context.Context, by By, roomID, name string) (RoomAdmin, error) {
	u, err := o.User(ctx, name)
	if err != nil {
		return RoomAdmin{}, err
	}
	row, err := o.room(ctx, roomID)
	if err != nil {
		return RoomAdmin{}, err
	}
	made, err := o.makeRoomAdmin(ctx, row, u.UserID)
	o.note(ctx, by, "a user gets power over a room", err, slog.String("room", roomID), slog.String("user", u.UserID), slog.String("from", made.From))
	return made, err
}

func (o Operator) makeRoomAdmin(ctx context.Context, row schema.Room, userID string) (RoomAdmin, error) {
	content, power, err := o.powerLevels(ctx, row)
	if err != nil {
		return RoomAdmin{}, err
	}
	from, err := o.strongest(ctx, row.RoomID, power, userID)
	if err != nil {
		return RoomAdmin{}, err
	}
	need := power.Event(powerLevels, true)
	switch level := power.User(from); {
	case from == "" || level.Less(need):
		return RoomAdmin{}, mxerr.Forbidden("no other user of this server in the room may change its power levels")
	case !power.User(userID).Less(level), level.IsInfinite() && !power.User(userID).Less(auth.Of(max(givenLevel, need.Int()))):
		return RoomAdmin{}, mxerr.Forbidden("%s has level %s, and nobody of this server could give more", userID, power.User(userID))
	}
	made := RoomAdmin{UserID: userID, From: from, Level: power.User(from).Int()}
	if power.User(from).IsInfinite() {
		made.Level = max(givenLevel, need.Int())
	}
	if content, err = withLevel(content, power, made); err != nil {
		return made, err
	}
	empty, requester := "", &messages.Requester{UserId: from}
	err = o.askRoom(ctx, row.RoomID, &messages.SendEvent{By: requester, Event: &messages.Proposal{Type: powerLevels, StateKey: &empty, Sender: from, Content: content}})
	if err != nil {
		return made, err
	}
	member, _, err := schema.Memberships.Get(ctx, o.Store, schema.Membership{UserID: userID, RoomID: row.RoomID})
	if err != nil || member.Membership == "join" || member.Membership == "invite" || row.JoinRule == "public" {
		return made, err
	}
	made.Invited = true
	return made, o.askRoom(ctx, row.RoomID, &messages.ChangeMembership{By: requester, Action: messages.ChangeMembership_INVITE, Target: userID})
}

// strongest is the joined user of this server who has most power in a room besides one; empty when there is none.
func (o Operator) strongest(ctx context.Context, roomID string, power *auth.PowerLevels, besides string) (string, error) {
	members, _, err := o.localMembers(ctx, roomID, math.MaxInt, "join")
	if err != nil {
		return "", err
	}
	strongest := ""
	for _, member := range members {
		if member != besides && (strongest == "" || power.User(strongest).Less(power.User(member))) {
			strongest = member
		}
	}
	return strongest, nil
}

// powerLevels are those of the room now, and the content of the event that says so, nil when there is none.
func (o Operator) powerLevels(ctx context.Context, row schema.Room) (content []byte, power *auth.PowerLevels, err error) {
	version, ok := roomversion.Get(row.Version)
	if !ok {
		return nil, nil, mxerr.Unknown("room version %q is not known here", row.Version)
	}
	current := func(typ string) (*event.Event, error) {
		ref, ok, err := schema.CurrentStates.Get(ctx, o.Store, schema.CurrentState{RoomID: row.RoomID, Type: typ})
		if err != nil || !ok {
			return nil, err
		}
		stored, ok, err := schema.EventAt(ctx, o.Store, row.RoomID, ref.Seq)
		if err != nil || !ok {
			return nil, err
		}
		return event.FromStored(stored.JSON, stored.EventID, version)
	}
	create, err := current("m.room.create")
	if err != nil {
		return nil, nil, err
	}
	levels, err := current(powerLevels)
	if err != nil {
		return nil, nil, err
	}
	if levels != nil {
		content = levels.Content()
	}
	power, err = auth.Levels(version, create, levels)
	return content, power, err
}

// withLevel is the content with the new level in it. Where there was no such event, who gives it keeps what was theirs without one.
func withLevel(content []byte, power *auth.PowerLevels, made RoomAdmin) ([]byte, error) {
	all, users := map[string]jsontext.Value{}, map[string]jsontext.Value{}
	if content != nil {
		if err := json.Unmarshal(content, &all); err != nil {
			return nil, err
		}
		if given := gjson.GetBytes(content, "users"); given.IsObject() {
			if err := json.Unmarshal([]byte(given.Raw), &users); err != nil {
				return nil, err
			}
		}
	} else if level := power.User(made.From); !level.IsInfinite() {
		users[made.From] = jsontext.Value(level.String())
	}
	users[made.UserID] = jsontext.Value(auth.Of(made.Level).String())
	raw, err := json.Marshal(users, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	all["users"] = raw
	return json.Marshal(all, json.Deterministic(true))
}

func (h handler) makeRoomAdmin(r *api.Request) (any, error) {
	var body struct {
		UserID string `json:"user_id"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.UserID == "" {
		return nil, mxerr.MissingParam("user_id is required")
	}
	return h.MakeRoomAdmin(r.Ctx, By(r.User()), r.Vars["room"], body.UserID)
}
