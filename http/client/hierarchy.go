package client

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The bounds of a page of a space's hierarchy: rooms and levels, when the client does not say and at most.
const (
	hierarchySize, hierarchyMost   = 50, 200
	hierarchyDepth, hierarchyLevel = 20, 20
	hierarchyPatience              = 20 * time.Second // with other servers
)

func (h *rooms) hierarchy() []api.Endpoint {
	const path = "/rooms/{roomId}/hierarchy"
	return []api.Endpoint{{Methods: get, Path: v1 + path, Also: []string{"/_matrix/client/unstable/org.matrix.msc2946" + path},
		Auth: api.User, Limit: api.LimitRead, Handler: h.listHierarchy}}
}

// hierarchyCursor is where a page ended. The walk begins anew with each page, so that a token needs no memory on any node.
type hierarchyCursor struct {
	RoomID        string `json:"r"`
	Depth         int64  `json:"d"`
	SuggestedOnly bool   `json:"s,omitempty"`
	Skip          int    `json:"n"`
}

func (c hierarchyCursor) String() string {
	raw, _ := json.Marshal(c) // numbers and a room id
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parseHierarchyCursor(from string) (c hierarchyCursor, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(from)
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Skip < 0 {
		return c, mxerr.InvalidParam("the token %.64q was not given out by this server", from)
	}
	return c, nil
}

// spaceRoom is a room in the answer.
type spaceRoom struct {
	RoomSummary
	Children []jsontext.Value `json:"children_state"`
}

func (h *rooms) listHierarchy(r *api.Request) (any, error) {
	roomID, err := roomID(r)
	if err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", hierarchySize, 1, hierarchyMost)
	if err != nil {
		return nil, err
	}
	at := hierarchyCursor{RoomID: roomID}
	if at.Depth, err = r.Int("max_depth", hierarchyDepth, 0, hierarchyLevel); err != nil {
		return nil, err
	}
	if at.SuggestedOnly, err = r.Bool("suggested_only", false); err != nil {
		return nil, err
	}
	if from := r.Param("from"); from != "" {
		last, err := parseHierarchyCursor(from)
		if err != nil {
			return nil, err
		}
		if at.Skip = last.Skip; at != last {
			return nil, mxerr.InvalidParam("a token holds for the same room, suggested_only and max_depth as before")
		}
	}
	q := reader.Hierarchy{RoomID: roomID, UserID: r.User(), Depth: int(at.Depth), SuggestedOnly: at.SuggestedOnly, Skip: at.Skip, Limit: int(limit)}
	if h.Inquirer != nil {
		// Servers that do not answer in time are left out.
		ctx, cancel := context.WithTimeout(r.Ctx, hierarchyPatience)
		defer cancel()
		q.Elsewhere = func(_ context.Context, roomID string, via []string, suggestedOnly bool) (*reader.ForeignSpace, bool) {
			return h.Inquirer.Space(ctx, roomID, via, suggestedOnly)
		}
		if q.Via, err = h.serversOf(r, entrance{roomID: roomID}); err != nil {
			return nil, err
		}
	}
	found, more, err := h.Reader.Hierarchy(r.Ctx, q)
	if err != nil {
		return nil, err
	}
	rooms := make([]spaceRoom, len(found))
	for i, room := range found {
		if room.Foreign != nil {
			rooms[i] = spaceRoom{foreignSummary(room.Foreign), room.Foreign.Children}
			continue
		}
		rooms[i] = spaceRoom{Summarise(room.Discovered), reader.StrippedAt(room.Children...)}
	}
	answer := map[string]any{"rooms": rooms}
	if more {
		at.Skip += len(found)
		answer["next_batch"] = at.String()
	}
	return answer, nil
}
