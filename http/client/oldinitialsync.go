package client

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// roomInfo is a room with its newest messages.
type roomInfo struct {
	RoomID      string           `json:"room_id"`
	Membership  string           `json:"membership,omitempty"`
	Invite      jsontext.Value   `json:"invite,omitzero"`
	Messages    *messageChunk    `json:"messages,omitzero"`
	State       []jsontext.Value `json:"state,omitzero"`
	Visibility  string           `json:"visibility,omitempty"`
	AccountData []jsontext.Value `json:"account_data,omitzero"`
}

// messageChunk are the newest messages of a room, oldest first.
type messageChunk struct {
	Start string           `json:"start,omitempty"`
	End   string           `json:"end"`
	Chunk []jsontext.Value `json:"chunk"`
}

// initialSync gives all rooms of the user, as GET /sync does without a token.
func (h *oldSync) initialSync(r *api.Request) (any, error) {
	limit, err := r.Int("limit", oldSyncSize, 0, oldSyncMost)
	if err != nil {
		return nil, err
	}
	archived, err := r.Bool("archived", false)
	if err != nil {
		return nil, err
	}
	f := &filter.Filter{}
	f.Room.IncludeLeave = archived
	f.Room.Timeline.Limit = int(max(limit, 1)) // no limit would be the server's choice
	resp, err := h.syncer.Sync(r.Ctx, syncer.Request{UserID: r.User(), Filter: f, SetPresence: "online", StateAfter: true})
	if err != nil {
		return nil, err
	}
	end, err := streamToken(resp.NextBatch, "")
	if err != nil {
		return nil, err
	}
	resp.NextBatch = end
	answer := map[string]any{"end": end, "presence": listOf(resp.Presence), "account_data": listOf(resp.AccountData)}
	rooms := []roomInfo{}
	if resp.Rooms != nil {
		if rooms, err = h.roomInfos(r, resp, int(limit)); err != nil {
			return nil, err
		}
	}
	answer["rooms"] = rooms
	return answer, nil
}

// listOf gives the events of a part of a sync, never null.
func listOf(e *syncer.Events) []jsontext.Value {
	if e == nil {
		return []jsontext.Value{}
	}
	return e.Events
}

// roomInfos shows the rooms of a sync.
func (h *oldSync) roomInfos(r *api.Request, resp *syncer.Response, limit int) ([]roomInfo, error) {
	all := []roomInfo{}
	for _, roomID := range slices.Sorted(maps.Keys(resp.Rooms.Invite)) {
		invite, err := h.ownMember(r, roomID)
		if err != nil {
			return nil, err
		}
		info := roomInfo{RoomID: roomID, Membership: "invite"}
		if len(invite) > 0 {
			info.Invite = invite[0]
		}
		all = append(all, info)
	}
	for _, roomID := range slices.Sorted(maps.Keys(resp.Rooms.Join)) {
		room := resp.Rooms.Join[roomID]
		all = append(all, roomInfo{RoomID: roomID, Membership: "join", Messages: lastMessages(roomID, room.Timeline, resp.NextBatch, limit),
			State: withRoomID(roomID, listOf(room.StateAfter)), AccountData: listOf(room.AccountData)})
	}
	for _, roomID := range slices.Sorted(maps.Keys(resp.Rooms.Leave)) {
		room := resp.Rooms.Leave[roomID]
		a, err := h.Reader.Access(r.Ctx, roomID, r.User())
		if err != nil {
			return nil, err
		}
		all = append(all, roomInfo{RoomID: roomID, Membership: a.Member.Membership, Messages: lastMessages(roomID, room.Timeline, resp.NextBatch, limit),
			State: withRoomID(roomID, listOf(room.StateAfter)), AccountData: listOf(room.AccountData)})
	}
	for i := range all {
		var err error
		if all[i].Visibility, err = h.visibility(r, all[i].RoomID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lastMessages shows the timeline of a sync, cut to what was asked for.
func lastMessages(roomID string, t *syncer.Timeline, end string, limit int) *messageChunk {
	m := &messageChunk{End: end, Chunk: []jsontext.Value{}}
	if t == nil {
		return m
	}
	m.Start = t.PrevBatch
	if limit == 0 {
		m.Start = end
		return m
	}
	m.Chunk = withRoomID(roomID, t.Events)
	return m
}

// visibility says whether the room is in the directory.
func (h *oldSync) visibility(r *api.Request, roomID string) (string, error) {
	row, _, err := schema.Rooms.Get(r.Ctx, h.Store, schema.Room{RoomID: roomID})
	if row.Published {
		return "public", err
	}
	return "private", err
}

// roomInitialSync gives one room to those who may read it, be they in it or not (client-server API, "Room Previews").
func (h *oldSync) roomInitialSync(r *api.Request) (any, error) {
	limit, err := r.Int("limit", oldSyncSize, 0, oldSyncMost)
	if err != nil {
		return nil, err
	}
	a, err := h.readable(r)
	if err != nil {
		return nil, err
	}
	info := roomInfo{RoomID: a.RoomID, Membership: a.Member.Membership}
	if info.Membership == "knock" { // which this answer has no word for
		info.Membership = ""
	}
	if info.Messages, err = h.newest(r, a, int(limit)); err != nil {
		return nil, err
	}
	if info.Visibility, err = h.visibility(r, a.RoomID); err != nil {
		return nil, err
	}
	if info.AccountData, err = h.accountDataOf(r, a.RoomID); err != nil {
		return nil, err
	}
	info.State, err = stateNow(r, a)
	return info, err
}

// newest reads the newest messages of a room that the user may see.
func (h *oldSync) newest(r *api.Request, a *reader.Access, limit int) (*messageChunk, error) {
	end, err := h.end(r, a.RoomID)
	if err != nil {
		return nil, err
	}
	m := &messageChunk{Start: token.Timeline{Seq: end}.String(), End: token.Timeline{Seq: end}.String(), Chunk: []jsontext.Value{}}
	if limit == 0 {
		return m, nil
	}
	found, err := a.Read(r.Ctx, reader.Page{From: end, Backwards: true, Limit: limit})
	if err != nil {
		return nil, err
	}
	slices.Reverse(found.Events)
	m.Start = token.Timeline{Seq: found.End}.String()
	m.Chunk, err = events(r, a, found.Events)
	return m, err
}

// accountDataOf gives the user's account data of a room.
func (h *oldSync) accountDataOf(r *api.Request, roomID string) ([]jsontext.Value, error) {
	list := []jsontext.Value{}
	for row, err := range schema.AccountDatas.Scan(r.Ctx, h.Store, persistence.Range[schema.AccountData]{
		Prefix: schema.AccountData{UserID: r.User(), RoomID: roomID}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		if len(row.Content) == 0 { // deleted
			continue
		}
		e, err := json.Marshal(map[string]any{"type": row.Type, "content": jsontext.Value(row.Content)}, json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}
