package client

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The sizes of a page of notifications: when the client does not say, and at most.
const notificationSize, notificationMost = 20, 100

func (h *rooms) notifications() []api.Endpoint {
	return []api.Endpoint{{Methods: get, Path: v3 + "/notifications", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.listNotifications}}
}

// notification is an event that the user was told of.
type notification struct {
	Actions []jsontext.Value `json:"actions"`
	Event   jsontext.Value   `json:"event"`
	Read    bool             `json:"read"`
	RoomID  string           `json:"room_id"`
	TS      int64            `json:"ts"`
}

func (h *rooms) listNotifications(r *api.Request) (any, error) {
	q := unread.NotificationQuery{UserID: r.User(), Highlights: r.Param("only") == "highlight"}
	limit, err := r.Int("limit", notificationSize, 1, notificationMost)
	if err != nil {
		return nil, err
	}
	q.Limit = int(limit)
	if from := r.Param("from"); from != "" {
		if q.Before, err = parsePlace(from); err != nil {
			return nil, err
		}
	}
	found, next, err := h.Unread.Notifications(r.Ctx, h.Reader, q)
	if err != nil {
		return nil, err
	}
	list := make([]notification, len(found))
	rooms := map[string]*reader.Access{}
	for i, n := range found {
		a := rooms[n.Event.RoomID]
		if a == nil {
			if a, err = h.Reader.Access(r.Ctx, n.Event.RoomID, r.User()); err != nil {
				return nil, err
			}
			rooms[n.Event.RoomID] = a
		}
		shown, err := a.Client(r.Ctx, reader.View{DeviceID: r.Device(), Bundle: true}, n.Event)
		if err != nil {
			return nil, err
		}
		list[i] = notification{n.Actions, shown[0], n.Read, n.Event.RoomID, n.Event.ReceivedTS}
	}
	answer := map[string]any{"notifications": list}
	if next != nil {
		answer["next_token"] = placePrefix + strconv.FormatUint(next.Pos, 10) + "_" + strconv.FormatUint(next.Seq, 10)
	}
	return answer, nil
}

// placePrefix begins the tokens of pages of notifications.
const placePrefix = "n1_"

func parsePlace(from string) (*unread.Place, error) {
	rest, ok := strings.CutPrefix(from, placePrefix)
	before, after, _ := strings.Cut(rest, "_")
	pos, err1 := strconv.ParseUint(before, 10, 64)
	seq, err2 := strconv.ParseUint(after, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return nil, mxerr.InvalidParam("the token %.64q was not given out by this server", from)
	}
	return &unread.Place{Pos: pos, Seq: seq}, nil
}
