package room

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// What a server answers that cannot let somebody into a restricted room, while another may (server-server API, "Restricted rooms").
const (
	CannotAuthorise = "M_UNABLE_TO_AUTHORISE_JOIN"
	CannotGrant     = "M_UNABLE_TO_GRANT_JOIN"
)

// maxAllowedRooms bounds how many rooms of a restricted join rule are considered, because each costs a look-up.
const maxAllowedRooms = 100

// authorisedVia is the member of a join's content that names who vouches for it.
const authorisedVia = "join_authorised_via_users_server"

// unauthorised gives the members of a content but for the authoriser, whom only we name.
func unauthorised(content []byte) (object, error) {
	fields := object{}
	if err := json.Unmarshal(content, &fields); err != nil {
		return nil, mxerr.BadJSON("the content of a member event must be a JSON object")
	}
	delete(fields, authorisedVia)
	return fields, nil
}

// authoriseJoin gives the content for a join. Into a restricted room, somebody who is not invited may come as a member of
// an allowed room, and a user of this server who may invite vouches for that (client-server API, "Restricted rooms").
func (d *draft) authoriseJoin(userID string, fields object) ([]byte, error) {
	rule := d.joinRule()
	was := d.membership(userID)
	if err := d.waiting(); err != nil {
		return nil, err
	}
	restricted := rule == "restricted" && d.version.Restricted || rule == "knock_restricted" && d.version.KnockRestricted
	if !restricted || was == "invite" {
		return withMembers(fields, nil)
	}
	if err := d.requireAllowedRoom(userID); err != nil {
		return nil, err
	}
	authoriser, err := d.authoriser()
	if err != nil {
		return nil, err
	}
	return withMembers(fields, map[string]string{authorisedVia: authoriser})
}

// requireAllowedRoom refuses a user who is in none of the rooms that the join rule allows.
func (d *draft) requireAllowedRoom(userID string) error {
	rooms := allowedRooms(d.Event(joinRulesTuple).Content())
	here := false
	for _, roomID := range rooms {
		key := Elsewhere{UserID: userID, RoomID: roomID}
		joined, known := d.m.passing.elsewhere[key]
		if joined {
			return nil
		}
		if !known {
			d.need.Elsewhere = append(d.need.Elsewhere, key)
		}
		here = here || !d.m.passing.abroad[roomID]
	}
	if err := d.waiting(); err != nil {
		return err
	}
	if !here && len(rooms) > 0 {
		return mxerr.New(http.StatusBadRequest, CannotAuthorise, "this server is in none of the rooms whose members may join, so it cannot tell who they are")
	}
	return mxerr.Forbidden("this room is for the invited and for members of certain other rooms, and %s is in none of them", userID)
}

// allowedRooms are the rooms whose members may join.
func allowedRooms(joinRules []byte) []string {
	var rooms []string
	gjson.GetBytes(joinRules, "allow").ForEach(func(_, condition gjson.Result) bool {
		roomID := condition.Get("room_id")
		if condition.Get("type").Str == "m.room_membership" && roomID.Type == gjson.String && !slices.Contains(rooms, roomID.Str) {
			rooms = append(rooms, roomID.Str)
		}
		return len(rooms) < maxAllowedRooms
	})
	return rooms
}

// authoriser picks a joined user of this server who may invite: one who is named in the power levels if possible.
func (d *draft) authoriser() (string, error) {
	create, levels := d.Event(createTuple), d.Event(powerLevelsTuple)
	if err := d.waiting(); err != nil {
		return "", err
	}
	power, err := auth.Levels(d.version, create, levels)
	if err != nil {
		return "", err
	}
	for _, userID := range d.namedUsers() {
		if d.local(userID) && !power.User(userID).Less(power.Invite()) && d.membership(userID) == "join" {
			return userID, d.waiting()
		}
	}
	if !d.m.passing.localKnown {
		d.need.LocalJoined = true
	}
	if err := d.waiting(); err != nil {
		return "", err
	}
	for _, userID := range d.m.passing.localJoined {
		if !power.User(userID).Less(power.Invite()) && d.membership(userID) == "join" {
			return userID, d.waiting()
		}
	}
	if err := d.waiting(); err != nil {
		return "", err
	}
	return "", mxerr.New(http.StatusBadRequest, CannotGrant, "nobody of this server who is in the room may invite, so nobody can vouch for the join")
}

// namedUsers are the creators and the users of the power levels, sorted.
func (d *draft) namedUsers() []string {
	var users []string
	if create := d.Event(createTuple); create != nil {
		users = append(users, auth.Creators(d.version, create)...)
	}
	if levels := d.Event(powerLevelsTuple); levels != nil {
		gjson.GetBytes(levels.Content(), "users").ForEach(func(name, _ gjson.Result) bool {
			users = append(users, name.Str)
			return true
		})
	}
	slices.Sort(users)
	return slices.Compact(users)
}

func (d *draft) local(userID string) bool {
	return strings.HasPrefix(userID, "@") && id.ServerOf(userID) == d.m.o.ServerName
}
