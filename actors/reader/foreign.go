package reader

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
)

// ForeignRoom is what another server tells of a room that this one is not in.
type ForeignRoom struct {
	RoomID        string   `json:"room_id"`
	RoomType      string   `json:"room_type"`
	JoinRule      string   `json:"join_rule"`
	WorldReadable bool     `json:"world_readable"`
	AllowedRooms  []string `json:"allowed_room_ids"`
	// Children are the m.space.child events of a space, as stripped state, in the order in which the children are shown.
	Children []jsontext.Value `json:"children_state"`

	Summary jsontext.Value `json:"-"` // all that was told
}

// ForeignSpace is a room, and what the server that told of it knows of its children.
type ForeignSpace struct {
	Room         ForeignRoom
	Children     map[string]*ForeignRoom
	Inaccessible map[string]bool // children that this server need not ask for
}

// ReadForeignSpace takes the answer to GET /hierarchy/{roomId} apart (server-server API).
func ReadForeignSpace(roomID string, raw []byte) (*ForeignSpace, error) {
	var answer struct {
		Room         jsontext.Value   `json:"room"`
		Children     []jsontext.Value `json:"children"`
		Inaccessible []string         `json:"inaccessible_children"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, err
	}
	room, err := readForeignRoom(answer.Room)
	if err != nil {
		return nil, err
	}
	if room.RoomID != roomID {
		return nil, fmt.Errorf("it tells of the room %.255q", room.RoomID)
	}
	s := &ForeignSpace{Room: *room, Children: map[string]*ForeignRoom{}, Inaccessible: map[string]bool{}}
	for _, raw := range answer.Children[:min(len(answer.Children), spaceChildren)] {
		if child, err := readForeignRoom(raw); err == nil {
			s.Children[child.RoomID] = child
		}
	}
	for _, child := range answer.Inaccessible[:min(len(answer.Inaccessible), spaceChildren)] {
		s.Inaccessible[child] = true
	}
	return s, nil
}

func readForeignRoom(raw jsontext.Value) (*ForeignRoom, error) {
	room := &ForeignRoom{Summary: raw}
	if err := json.Unmarshal(raw, room); err != nil {
		return nil, err
	}
	if !id.ValidRoomID(room.RoomID) {
		return nil, fmt.Errorf("%.255q is no room id", room.RoomID)
	}
	if room.RoomType != "m.space" {
		room.Children = nil
	}
	room.AllowedRooms = room.AllowedRooms[:min(len(room.AllowedRooms), allowedRooms)]
	room.Children = slices.DeleteFunc(room.Children, func(raw jsontext.Value) bool {
		e := gjson.ParseBytes(raw)
		return e.Get("type").Str != "m.space.child" || !id.ValidRoomID(e.Get("state_key").Str) || !isChild(e.Get("content")) ||
			!id.ValidUser(e.Get("sender").Str) || e.Get("origin_server_ts").Type != gjson.Number
	})
	slices.SortFunc(room.Children, func(a, b jsontext.Value) int { return foreignPlace(a).compare(foreignPlace(b)) })
	room.Children = room.Children[:min(len(room.Children), spaceChildren)]
	return room, nil
}

func foreignPlace(raw jsontext.Value) place {
	e := gjson.ParseBytes(raw)
	return place{childOrder(e.Get("content")), e.Get("origin_server_ts").Int(), e.Get("state_key").Str}
}

// DiscoverForeign reports whether the user may know of a room of which another server tells. That server has looked at what it may tell this
// one; this looks at the user (server-server API, GET /hierarchy/{roomId}).
func (a *Access) DiscoverForeign(ctx context.Context, room *ForeignRoom) (bool, error) {
	switch {
	case a.Member.Membership == "ban":
		return false, nil
	case room.WorldReadable, a.Joined(), a.Member.Membership == "invite":
		return true, nil
	}
	switch room.JoinRule {
	case "", "public", "knock", "knock_restricted":
		return true, nil
	}
	return a.joinedAny(ctx, room.AllowedRooms)
}
