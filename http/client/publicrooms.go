package client

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of the directory of public rooms.
const (
	publicPage = 100  // rooms in an answer, when the client does not say
	publicMost = 1000 // and at most
)

func (h *rooms) publicRooms() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: v3 + "/publicRooms", R0: true, Auth: api.Optional, Limit: api.LimitRead, Handler: h.getPublicRooms},
		{Methods: post, Path: v3 + "/publicRooms", R0: true, Auth: api.User, Limit: api.LimitRead, WhileSuspended: true, Handler: h.postPublicRooms},
	}
}

// publicQuery asks for a page of the directory.
type publicQuery struct {
	Limit                *int64       `json:"limit"`
	Since                string       `json:"since"`
	Filter               publicFilter `json:"filter"`
	IncludeAllNetworks   bool         `json:"include_all_networks"`
	ThirdPartyInstanceID string       `json:"third_party_instance_id"`
}

type publicFilter struct {
	Term  string     `json:"generic_search_term"`
	Types *[]*string `json:"room_types"` // null stands for rooms without a type
}

// publicRoom is a room as the directory shows it.
type publicRoom struct {
	RoomID         string `json:"room_id"`
	Name           string `json:"name,omitempty"`
	Topic          string `json:"topic,omitempty"`
	AvatarURL      string `json:"avatar_url,omitempty"`
	CanonicalAlias string `json:"canonical_alias,omitempty"`
	JoinedMembers  int64  `json:"num_joined_members"`
	WorldReadable  bool   `json:"world_readable"`
	GuestCanJoin   bool   `json:"guest_can_join"`
	JoinRule       string `json:"join_rule,omitempty"`
	RoomType       string `json:"room_type,omitempty"`
}

// publicCursor is where a page ended: after a room, or before one.
type publicCursor struct {
	Members int64  `json:"m"`
	RoomID  string `json:"r"`
	Back    bool   `json:"b,omitempty"`
}

func (c publicCursor) String() string {
	raw, _ := json.Marshal(c) // numbers and a room id
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (h *rooms) getPublicRooms(r *api.Request) (any, error) {
	q := publicQuery{Since: r.Param("since")}
	if r.Param("limit") != "" {
		limit, err := r.Int("limit", publicPage, 0, publicMost)
		if err != nil {
			return nil, err
		}
		q.Limit = &limit
	}
	return h.listPublic(r, q)
}

func (h *rooms) postPublicRooms(r *api.Request) (any, error) {
	var q publicQuery
	if err := r.DecodeOptional(&q); err != nil {
		return nil, err
	}
	if q.IncludeAllNetworks && q.ThirdPartyInstanceID != "" {
		return nil, mxerr.InvalidParam("include_all_networks and third_party_instance_id exclude each other")
	}
	return h.listPublic(r, q)
}

func (h *rooms) listPublic(r *api.Request, q publicQuery) (any, error) {
	if server := r.Param("server"); server != "" && server != h.ServerName {
		return nil, mxerr.NotFound("the rooms of %.255s cannot be listed: this server does not federate", server)
	}
	limit := int64(publicPage)
	if q.Limit != nil {
		if *q.Limit < 0 {
			return nil, mxerr.InvalidParam("limit must not be negative")
		}
		limit = min(*q.Limit, publicMost)
	}
	var at publicCursor
	if q.Since != "" {
		raw, err := base64.RawURLEncoding.DecodeString(q.Since)
		if err != nil || json.Unmarshal(raw, &at) != nil {
			return nil, mxerr.InvalidParam("the token %.64q was not given out by this server", q.Since)
		}
	}
	found, total, err := h.matchingPublic(r, q)
	if err != nil {
		return nil, err
	}
	from, to := window(found, at, q.Since != "", int(limit))
	answer := map[string]any{"chunk": found[from:to], "total_room_count_estimate": total}
	if to < len(found) && to > from {
		answer["next_batch"] = publicCursor{found[to-1].JoinedMembers, found[to-1].RoomID, false}.String()
	}
	if from > 0 && to > from {
		answer["prev_batch"] = publicCursor{found[from].JoinedMembers, found[from].RoomID, true}.String()
	}
	return answer, nil
}

// window finds the page that the cursor asks for in the rooms, which are ordered largest first.
func window(found []publicRoom, at publicCursor, continued bool, limit int) (from, to int) {
	if !continued {
		return 0, min(limit, len(found))
	}
	before := func(room publicRoom) bool {
		return room.JoinedMembers > at.Members || room.JoinedMembers == at.Members && room.RoomID > at.RoomID
	}
	n := 0
	for n < len(found) && before(found[n]) {
		n++
	}
	if at.Back {
		return max(n-limit, 0), n
	}
	if n < len(found) && found[n].RoomID == at.RoomID {
		n++
	}
	return n, min(n+limit, len(found))
}

// matchingPublic lists the published rooms that the filter lets through, largest first, and how many there are in all.
func (h *rooms) matchingPublic(r *api.Request, q publicQuery) (found []publicRoom, total int, err error) {
	found = []publicRoom{}
	term := strings.ToLower(q.Filter.Term)
	for listed, err := range schema.PublicRooms.Scan(r.Ctx, h.Store, persistence.Range[schema.PublicRoom]{Reverse: true}) {
		if err != nil {
			return nil, 0, err
		}
		total++
		row, ok, err := schema.Rooms.Get(r.Ctx, h.Store, schema.Room{RoomID: listed.RoomID})
		if err != nil {
			return nil, 0, err
		}
		if !ok || !q.Filter.keeps(row, term) {
			continue
		}
		found = append(found, publicRoom{row.RoomID, row.Name, row.Topic, row.AvatarURL, row.CanonicalAlias, row.JoinedMembers,
			row.HistoryVisibility == "world_readable", row.GuestAccess == "can_join", row.JoinRule, row.RoomType})
	}
	return found, total, nil
}

func (f publicFilter) keeps(row schema.Room, term string) bool {
	if f.Types != nil && !slices.ContainsFunc(*f.Types, func(t *string) bool {
		return t == nil && row.RoomType == "" || t != nil && *t == row.RoomType
	}) {
		return false
	}
	return term == "" || slices.ContainsFunc([]string{row.Name, row.Topic, row.CanonicalAlias}, func(s string) bool {
		return strings.Contains(strings.ToLower(s), term)
	})
}
