package client

import (
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// mutualPage is how many rooms an answer lists at most.
const mutualPage = 100

func (h *rooms) mutualRooms() []api.Endpoint {
	const unstable = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"
	return []api.Endpoint{
		{Methods: get, Path: v1 + "/mutual_rooms", Auth: api.User, Limit: api.LimitRead, Handler: h.listMutual("from", "next_batch")},
		{Methods: get, Path: unstable, Auth: api.User, Limit: api.LimitRead, Handler: h.listMutual("batch_token", "next_batch_token")},
	}
}

// listMutual lists the rooms that the user shares with another (client-server API, "Mutual rooms"). The token to go on with is
// the last room of the page before: rooms come in the order of their ids.
func (h *rooms) listMutual(from, next string) api.Handler {
	return func(r *api.Request) (any, error) {
		other, err := r.Need("user_id")
		if err != nil {
			return nil, err
		}
		after := r.Param(from)
		switch _, _, err := id.ParseUser(other); {
		case err != nil:
			return nil, mxerr.InvalidParam("%.255q is no user id: %v", other, err)
		case other == r.User():
			return nil, mxerr.InvalidParam("you share all rooms with yourself")
		case after != "" && !id.ValidRoomID(after):
			return nil, mxerr.InvalidParam("the token %.64q was not given out by this server", after)
		}
		joined, last, count, more := []string{}, "", 0, false
		for m, err := range schema.Memberships.Scan(r.Ctx, h.Store, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: r.User()}, Keys: 1}) {
			if err != nil {
				return nil, err
			}
			if m.Membership != "join" {
				continue
			}
			theirs, _, err := schema.Memberships.Get(r.Ctx, h.Store, schema.Membership{UserID: other, RoomID: m.RoomID})
			if err != nil {
				return nil, err
			}
			if theirs.Membership != "join" {
				continue
			}
			switch count++; {
			case m.RoomID <= after:
			case len(joined) == mutualPage:
				more = true
			default:
				joined, last = append(joined, m.RoomID), m.RoomID
			}
		}
		answer := map[string]any{"joined": joined, "count": count}
		if more {
			answer[next] = last
		}
		return answer, nil
	}
}
