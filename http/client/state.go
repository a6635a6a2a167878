package client

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (h *rooms) state() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: aRoom + "/state", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.allState},
		{Methods: get, Path: aRoom + "/state/{eventType}", Also: []string{aRoom + "/state/{eventType}/", aRoom + "/state/{eventType}/{stateKey}"},
			R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.oneState},
		{Methods: get, Path: aRoom + "/members", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.members},
		{Methods: get, Path: aRoom + "/joined_members", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.joinedMembers},
	}
}

// wholly waits for the members of a room that was joined without them, for whoever may ask for them.
func (h *rooms) wholly(r *api.Request, a *reader.Access) error {
	return reader.AwaitWhole(r.Ctx, h.Store, a.RoomID)
}

func (h *rooms) allState(r *api.Request) (any, error) {
	a, err := h.readable(r)
	if err == nil {
		err = h.wholly(r, a)
	}
	if err != nil {
		return nil, err
	}
	return stateNow(r, a)
}

// stateNow gives all state events of a room that whoever asks may see.
func stateNow(r *api.Request, a *reader.Access) ([]jsontext.Value, error) {
	s, err := a.State(r.Ctx)
	if err != nil {
		return nil, err
	}
	entries, err := s.Entries(nil)
	if err != nil {
		return nil, err
	}
	rows, err := s.Events(r.Ctx, entries)
	if err != nil {
		return nil, err
	}
	return events(r, a, rows)
}

func (h *rooms) oneState(r *api.Request) (any, error) {
	format, err := r.Enum("format", "content", "content", "event")
	if err != nil {
		return nil, err
	}
	a, err := h.readable(r)
	if err != nil {
		return nil, err
	}
	s, err := a.State(r.Ctx)
	if err != nil {
		return nil, err
	}
	row, ok, err := s.Get(r.Ctx, r.Vars["eventType"], r.Vars["stateKey"])
	if err == nil && !ok && r.Vars["eventType"] == "m.room.member" { // perhaps it is only not known yet
		if err = h.wholly(r, a); err == nil {
			s, err = a.State(r.Ctx)
		}
		if err == nil {
			row, ok, err = s.Get(r.Ctx, r.Vars["eventType"], r.Vars["stateKey"])
		}
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("the room has no state of this type and key")
	}
	if format == "content" {
		return jsontext.Value(gjson.GetBytes(row.JSON, "content").Raw), nil
	}
	shown, err := events(r, a, []schema.Event{row})
	if err != nil {
		return nil, err
	}
	return shown[0], nil
}

func (h *rooms) members(r *api.Request) (any, error) {
	memberships := []string{"join", "invite", "knock", "leave", "ban"}
	only, err := r.Enum("membership", "", memberships...)
	if err != nil {
		return nil, err
	}
	not, err := r.Enum("not_membership", "", memberships...)
	if err != nil {
		return nil, err
	}
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	if !a.Joined() && !a.WasJoined() {
		return nil, mxerr.Forbidden("you are not in the room %s", a.RoomID)
	}
	if err := h.wholly(r, a); err != nil {
		return nil, err
	}
	var s *reader.State
	if at := r.Param("at"); at != "" {
		s, err = a.StateAtToken(r.Ctx, at)
	} else {
		s, err = a.State(r.Ctx)
	}
	if err != nil {
		return nil, err
	}
	entries, err := s.Entries(func(t event.Tuple) bool { return t.Type == "m.room.member" })
	if err != nil {
		return nil, err
	}
	rows, err := s.Events(r.Ctx, entries)
	if err != nil {
		return nil, err
	}
	kept := rows[:0]
	for _, row := range rows {
		m := gjson.GetBytes(row.JSON, "content.membership").Str
		// Both parameters together mean: either holds.
		if only == "" && not == "" || only != "" && m == only || not != "" && m != not {
			kept = append(kept, row)
		}
	}
	chunk, err := events(r, a, kept)
	return map[string]any{"chunk": chunk}, err
}

func (h *rooms) joinedMembers(r *api.Request) (any, error) {
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	if err := a.RequireJoined(); err != nil {
		return nil, err
	}
	if err := h.wholly(r, a); err != nil {
		return nil, err
	}
	members, err := h.Reader.CurrentOf(r.Ctx, a.RoomID, "m.room.member")
	if err != nil {
		return nil, err
	}
	joined := map[string]map[string]jsontext.Value{}
	for _, m := range members {
		if m.Membership != "join" {
			continue
		}
		row, err := h.Reader.EventAt(r.Ctx, a.RoomID, m.Seq)
		if err != nil {
			return nil, err
		}
		// Clients have come to expect both members, though they be empty.
		profile := map[string]jsontext.Value{"display_name": jsontext.Value(`""`), "avatar_url": jsontext.Value(`""`)}
		content := gjson.GetBytes(row.JSON, "content")
		if v := content.Get("displayname"); v.Type == gjson.String {
			profile["display_name"] = jsontext.Value(v.Raw)
		}
		if v := content.Get("avatar_url"); v.Type == gjson.String {
			profile["avatar_url"] = jsontext.Value(v.Raw)
		}
		joined[m.StateKey] = profile
	}
	return map[string]any{"joined": joined}, nil
}
