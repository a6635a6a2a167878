package peers

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// honest are the answers of an honest server about its rooms. second is the second part of the path, after the room's id.
var honest = map[string]func(c *Crafter, room *Room, w http.ResponseWriter, r *http.Request, second string){
	"make_join": func(_ *Crafter, room *Room, w http.ResponseWriter, _ *http.Request, userID string) {
		JSON(w, http.StatusOK, map[string]any{"room_version": room.Version.ID, "event": room.Template(userID)})
	},
	"send_join": func(c *Crafter, room *Room, w http.ResponseWriter, r *http.Request, _ string) {
		join, err := room.ReadJoin(r)
		if err != nil {
			JSON(w, http.StatusBadRequest, map[string]string{"errcode": "M_BAD_JSON", "error": err.Error()})
			return
		}
		answer := room.JoinAnswer(c.Name, join)
		room.Add(join)
		JSON(w, http.StatusOK, answer)
	},
	"state": func(_ *Crafter, room *Room, w http.ResponseWriter, r *http.Request, _ string) {
		state := room.StateBefore(r.URL.Query().Get("event_id"))
		JSON(w, http.StatusOK, map[string]any{"pdus": PDUs(state...), "auth_chain": PDUs(room.Chain(state...)...)})
	},
	"state_ids": func(_ *Crafter, room *Room, w http.ResponseWriter, r *http.Request, _ string) {
		state := room.StateBefore(r.URL.Query().Get("event_id"))
		JSON(w, http.StatusOK, map[string]any{"pdu_ids": IDs(state...), "auth_chain_ids": IDs(room.Chain(state...)...)})
	},
	"event_auth": func(_ *Crafter, room *Room, w http.ResponseWriter, _ *http.Request, eventID string) {
		var chain []*event.Event
		if e := room.Event(eventID); e != nil {
			chain = room.Chain(e)
		}
		JSON(w, http.StatusOK, map[string]any{"auth_chain": PDUs(chain...)})
	},
	"backfill": func(c *Crafter, room *Room, w http.ResponseWriter, r *http.Request, _ string) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		JSON(w, http.StatusOK, map[string]any{"origin": c.Name, "origin_server_ts": time.Now().UnixMilli(), "pdus": PDUs(room.Before(r.URL.Query()["v"], limit)...)})
	},
	"get_missing_events": func(_ *Crafter, room *Room, w http.ResponseWriter, r *http.Request, _ string) {
		var body struct {
			Latest []string `json:"latest_events"`
			Limit  int      `json:"limit"`
		}
		_ = json.UnmarshalRead(r.Body, &body)
		found := room.Before(body.Latest, body.Limit+1)
		JSON(w, http.StatusOK, map[string]any{"events": PDUs(found[min(1, len(found)):]...)})
	},
	"invite": func(c *Crafter, room *Room, w http.ResponseWriter, r *http.Request, _ string) {
		raw, _ := io.ReadAll(r.Body)
		invite, err := event.Parse([]byte(gjson.GetBytes(raw, "event").Raw), room.Version)
		if err == nil {
			invite, err = invite.Sign(c.Name, c.Key)
		}
		if err != nil {
			JSON(w, http.StatusBadRequest, map[string]string{"errcode": "M_BAD_JSON", "error": err.Error()})
			return
		}
		JSON(w, http.StatusOK, map[string]any{"event": jsontext.Value(invite.JSON())})
	},
}

// PDUs are events as answers hold them.
func PDUs(events ...*event.Event) []jsontext.Value {
	list := make([]jsontext.Value, len(events))
	for i, e := range events {
		list[i] = e.JSON()
	}
	return list
}

// IDs are the ids of events.
func IDs(events ...*event.Event) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.ID()
	}
	return list
}

// Template is the event of a make_join.
func (r *Room) Template(userID string) map[string]any {
	p := r.Draft(userID, "m.room.member", `{"membership":"join"}`, userID)
	return map[string]any{"type": p.Type, "sender": userID, "state_key": userID, "room_id": r.ID, "content": jsontext.Value(p.Content), "depth": p.Depth,
		"prev_events": r.Cited(p.PrevEvents), "auth_events": r.Cited(p.AuthEvents), "origin_server_ts": p.OriginServerTS}
}

// Cited are the ids in the form of the room version.
func (r *Room) Cited(ids []string) []any {
	cited := make([]any, len(ids))
	for i, id := range ids {
		if cited[i] = id; r.Version.EventIDFormat == roomversion.EventIDField {
			cited[i] = []any{id, map[string]string{}}
		}
	}
	return cited
}

// ReadJoin reads the join of a send_join.
func (r *Room) ReadJoin(request *http.Request) (*event.Event, error) {
	raw, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	return event.Parse(raw, r.Version)
}

// JoinAnswer is the honest answer to a send_join that follows the newest event, to be changed at will.
func (r *Room) JoinAnswer(origin string, join *event.Event) map[string]any {
	state := r.known(r.State())
	return map[string]any{"origin": origin, "event": jsontext.Value(join.JSON()), "state": PDUs(state...), "auth_chain": PDUs(r.Chain(append(state, join)...)...),
		"members_omitted": false}
}

// Join joins a user of the crafter into a room of a real server.
func (c *Crafter) Join(to *Server, roomID, userID string, version *roomversion.Version) *Room {
	c.t.Helper()
	room := newRoom(roomID, version)
	room.joining = true
	c.Share(room, c) // what happens from now on is sent
	join, answer := c.Handshake(to, roomID, userID, version)
	var state []*event.Event
	for _, list := range []string{"auth_chain", "state"} {
		for _, raw := range answer.Get(list).Array() {
			e, err := event.Parse([]byte(raw.Raw), version)
			if err != nil {
				c.t.Fatal(err)
			}
			room.Know(e)
			if list == "state" {
				state = append(state, e)
			}
		}
	}
	room.begin(state, join)
	return room
}
