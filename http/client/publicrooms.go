package client

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/visibility"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of the directory of public rooms.
const (
	publicSize = 100  // rooms in an answer, when the client does not say
	publicMost = 1000 // and at most
	// publicScanned is how many rooms one request looks at, publicCounted how many it counts.
	publicScanned, publicCounted = 5000, 10_000
)

func (h *rooms) publicRooms() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: v3 + "/publicRooms", R0: true, Auth: api.Optional, Limit: api.LimitRead, Handler: h.getPublicRooms},
		{Methods: post, Path: v3 + "/publicRooms", R0: true, Auth: api.User, Limit: api.LimitRead, WhileSuspended: true, Handler: h.postPublicRooms},
	}
}

// PublicQuery asks for a page of the directory.
type PublicQuery struct {
	Limit                *int64       `json:"limit,omitempty"`
	Since                string       `json:"since,omitempty"`
	Filter               publicFilter `json:"filter,omitzero"`
	IncludeAllNetworks   bool         `json:"include_all_networks,omitzero"`
	ThirdPartyInstanceID string       `json:"third_party_instance_id,omitempty"`
}

type publicFilter struct {
	Term  string     `json:"generic_search_term,omitempty"`
	Types *[]*string `json:"room_types,omitempty"` // null stands for rooms without a type
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
	q := PublicQuery{Since: r.Param("since")}
	if r.Param("limit") != "" {
		limit, err := r.Int("limit", publicSize, 0, publicMost)
		if err != nil {
			return nil, err
		}
		q.Limit = &limit
	}
	return h.listPublic(r, q)
}

func (h *rooms) postPublicRooms(r *api.Request) (any, error) {
	var q PublicQuery
	if err := r.DecodeOptional(&q); err != nil {
		return nil, err
	}
	return h.listPublic(r, q)
}

func (h *rooms) listPublic(r *api.Request, q PublicQuery) (any, error) {
	if server := r.Param("server"); server != "" && server != h.ServerName {
		if h.Inquirer == nil {
			return nil, mxerr.NotFound("the rooms of %.255s cannot be listed: this server does not federate", server)
		}
		limit, err := q.limit()
		if err != nil {
			return nil, err
		}
		q.Limit = &limit
		return h.Inquirer.PublicRooms(r.Ctx, server, q, func(room jsontext.Value) bool {
			var p publicRoom
			return json.Unmarshal(room, &p) == nil && id.ValidRoomID(p.RoomID)
		})
	}
	return ListPublic(r.Ctx, h.Store, q)
}

// limit is how many rooms a page may have.
func (q PublicQuery) limit() (int64, error) {
	switch {
	case q.Limit == nil:
		return publicSize, nil
	case *q.Limit < 0:
		return 0, mxerr.InvalidParam("limit must not be negative")
	}
	return min(*q.Limit, publicMost), nil
}

// ListPublic gives a page of the rooms that this server publishes, as it is answered.
func ListPublic(ctx context.Context, store persistence.Reader, q PublicQuery) (any, error) {
	if q.IncludeAllNetworks && q.ThirdPartyInstanceID != "" {
		return nil, mxerr.InvalidParam("include_all_networks and third_party_instance_id exclude each other")
	}
	limit, err := q.limit()
	if err != nil {
		return nil, err
	}
	at, err := parsePublicCursor(q.Since)
	if err != nil {
		return nil, err
	}
	page, err := readPublic(ctx, store, q, at, int(limit))
	if err != nil {
		return nil, err
	}
	total, err := countPublic(ctx, store)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"chunk": page.rooms, "total_room_count_estimate": total}
	if page.next != nil {
		answer["next_batch"] = page.next.String()
	}
	if page.prev != nil {
		answer["prev_batch"] = page.prev.String()
	}
	return answer, nil
}

func parsePublicCursor(since string) (*publicCursor, error) {
	if since == "" {
		return nil, nil
	}
	var at publicCursor
	raw, err := base64.RawURLEncoding.DecodeString(since)
	if err != nil || json.Unmarshal(raw, &at) != nil {
		return nil, mxerr.InvalidParam("the token %.64q was not given out by this server", since)
	}
	return &at, nil
}

// countPublic says how many rooms are published, as far as it is worth counting.
func countPublic(ctx context.Context, store persistence.Reader) (total int, err error) {
	for _, err := range schema.PublicRooms.Scan(ctx, store, persistence.Range[schema.PublicRoom]{Limit: publicCounted}) {
		if err != nil {
			return 0, err
		}
		total++
	}
	return total, nil
}

// publicPage is a page of the directory: the rooms, and where to go on in both directions, if there is anything.
type publicPage struct {
	rooms      []publicRoom
	next, prev *publicCursor
}

// readPublic reads the published rooms that the filter lets through, largest first. It looks at publicScanned rooms at most, so
// a page may be short, or even empty, and yet be followed by another.
func readPublic(ctx context.Context, store persistence.Reader, q PublicQuery, at *publicCursor, limit int) (page publicPage, err error) {
	page.rooms = []publicRoom{}
	if limit == 0 {
		return page, nil
	}
	back := at != nil && at.Back
	term := strings.ToLower(q.Filter.Term)
	var last schema.PublicRoom
	more, scanned := false, 0
	for listed, err := range listing(ctx, store, q, at) {
		if err != nil {
			return page, err
		}
		if len(page.rooms) == limit || scanned == publicScanned {
			more = true
			break
		}
		scanned++
		last = listed
		row, ok, err := schema.Rooms.Get(ctx, store, schema.Room{RoomID: listed.RoomID})
		if err != nil {
			return page, err
		}
		if ok && q.Filter.keeps(row, term) {
			page.rooms = append(page.rooms, show(row))
		}
	}
	onward, whence := &page.next, &page.prev
	if back {
		slices.Reverse(page.rooms)
		onward, whence = whence, onward
	}
	if more {
		*onward = &publicCursor{last.JoinedMembers, last.RoomID, back}
	}
	if n := len(page.rooms); at != nil && n > 0 {
		edge := page.rooms[0]
		if back {
			edge = page.rooms[n-1]
		}
		*whence = &publicCursor{edge.JoinedMembers, edge.RoomID, !back}
	}
	return page, nil
}

func show(row schema.Room) publicRoom {
	return publicRoom{row.RoomID, row.Name, row.Topic, row.AvatarURL, row.CanonicalAlias, row.JoinedMembers,
		row.HistoryVisibility == visibility.WorldReadable, row.GuestAccess == "can_join", row.JoinRule, row.RoomType}
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
