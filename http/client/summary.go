package client

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

func (h *rooms) summaries() []api.Endpoint {
	const unstable = "/_matrix/client/unstable/im.nheko.summary"
	return []api.Endpoint{{Methods: get, Path: v1 + "/room_summary/{roomIdOrAlias}",
		Also: []string{unstable + "/rooms/{roomIdOrAlias}/summary", unstable + "/summary/{roomIdOrAlias}"},
		Auth: api.Optional, Limit: api.LimitRead, Handler: h.summary}}
}

// RoomSummary is a room as those see it who might join it (client-server API, "Room Summaries").
type RoomSummary struct {
	publicRoom
	AllowedRoomIDs []string `json:"allowed_room_ids,omitempty"`
	Encryption     string   `json:"encryption,omitempty"`
	RoomVersion    string   `json:"room_version"`
	Membership     string   `json:"membership,omitempty"` // of the user who asks
}

// Summarise gives what may be told of a room.
func Summarise(d reader.Discovered) RoomSummary {
	return RoomSummary{publicRoom: show(d.Room), AllowedRoomIDs: d.AllowedRooms, Encryption: d.Encryption, RoomVersion: d.Version}
}

// summary tells of a room by its id or alias. Rooms that the user may not know of are as if they did not exist.
func (h *rooms) summary(r *api.Request) (any, error) {
	given := r.Vars["roomIdOrAlias"]
	roomID, via := given, viaOf(r)
	if strings.HasPrefix(given, "#") {
		found, servers, err := h.resolve(r, given)
		if err != nil {
			return nil, unknownRoom(err)
		}
		roomID, via = found, append(via, servers...)
	} else if !id.ValidRoomID(given) {
		return nil, mxerr.InvalidParam("%.255q is neither a room id nor an alias", given)
	}
	a, err := h.Reader.Access(r.Ctx, roomID, r.User())
	if err != nil {
		return nil, err
	}
	d, ok, err := a.Discover(r.Ctx)
	if err != nil {
		return nil, err
	}
	var s RoomSummary
	if ok {
		s = Summarise(d)
	} else if s, err = h.foreign(r, a, entrance{roomID, via}); err != nil {
		return nil, err
	}
	if r.Session != nil {
		if s.Membership = a.Member.Membership; s.Membership == "" {
			s.Membership = "leave"
		}
	}
	return s, nil
}

// foreign summarises a room of which other servers know.
func (h *rooms) foreign(r *api.Request, a *reader.Access, room entrance) (RoomSummary, error) {
	if resident, err := h.resident(r, room.roomID); err != nil || resident {
		return RoomSummary{}, cmp.Or(err, error(errNoSuchRoom))
	}
	servers, err := h.serversOf(r, room)
	if err != nil {
		return RoomSummary{}, err
	}
	space, ok := h.Inquirer.Space(r.Ctx, room.roomID, servers, false)
	if !ok {
		return RoomSummary{}, errNoSuchRoom
	}
	if ok, err = a.DiscoverForeign(r.Ctx, &space.Room); err != nil || !ok {
		return RoomSummary{}, cmp.Or(err, error(errNoSuchRoom))
	}
	return foreignSummary(&space.Room), nil
}

// foreignSummary gives what another server tells of a room. What of it is not as it should be is left out.
func foreignSummary(room *reader.ForeignRoom) RoomSummary {
	var s RoomSummary
	if err := json.Unmarshal(room.Summary, &s); err != nil {
		s = RoomSummary{publicRoom: publicRoom{WorldReadable: room.WorldReadable, JoinRule: room.JoinRule, RoomType: room.RoomType}}
	}
	s.RoomID, s.Membership = room.RoomID, ""
	return s
}

var errNoSuchRoom = mxerr.NotFound("there is no such room, or you may not know of it")

// unknownRoom hides whether it is the alias or the room that is not known.
func unknownRoom(err error) error {
	if e := mxerr.From(err); e.Status == http.StatusNotFound {
		return errNoSuchRoom
	}
	return err
}
