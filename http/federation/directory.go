package federation

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Directory are the endpoints with which other servers find rooms of this one: the published ones, and those of a space.
func Directory(d Deps) []api.Endpoint {
	h := directory{d}
	return []api.Endpoint{
		{Methods: get, Path: v1 + "/publicRooms", Auth: api.Signed, Limit: api.LimitFederation, Handler: h.getPublic},
		{Methods: post, Path: v1 + "/publicRooms", Auth: api.Signed, Limit: api.LimitFederation, Handler: h.postPublic},
		{Methods: get, Path: v1 + "/hierarchy/{roomId}", Also: []string{"/_matrix/federation/unstable/org.matrix.msc2946/hierarchy/{roomId}"},
			Auth: api.Signed, Limit: api.LimitFederation, Handler: h.hierarchy},
	}
}

type directory struct{ Deps }

// mostPublic is how many rooms another server is given that wants all.
const mostPublic = int64(1000)

func (h directory) getPublic(r *api.Request) (any, error) {
	limit, err := r.Int("limit", 0, 0, mostPublic)
	if err != nil {
		return nil, err
	}
	all, err := r.Bool("include_all_networks", false)
	if err != nil {
		return nil, err
	}
	return h.list(r, client.PublicQuery{Limit: &limit, Since: r.Param("since"), IncludeAllNetworks: all, ThirdPartyInstanceID: r.Param("third_party_instance_id")})
}

func (h directory) postPublic(r *api.Request) (any, error) {
	var q client.PublicQuery
	if err := r.DecodeOptional(&q); err != nil {
		return nil, err
	}
	return h.list(r, q)
}

// list gives a page; no limit, or 0, is as many as there may be.
func (h directory) list(r *api.Request, q client.PublicQuery) (any, error) {
	if q.Limit == nil || *q.Limit == 0 {
		most := mostPublic
		q.Limit = &most
	}
	return client.ListPublic(r.Ctx, h.Store, q)
}

// servedRoom is a space as its server tells of it.
type servedRoom struct {
	client.RoomSummary
	Children []jsontext.Value `json:"children_state"`
}

// hierarchy gives a space and those of its children of which the other server may know.
func (h directory) hierarchy(r *api.Request) (any, error) {
	roomID := r.Vars["roomId"]
	if !id.ValidRoomID(roomID) {
		return nil, mxerr.InvalidParam("%.255q is no room id", roomID)
	}
	suggested, err := r.Bool("suggested_only", false)
	if err != nil {
		return nil, err
	}
	s, ok, err := h.Reader.SpaceFor(r.Ctx, roomID, r.Origin, suggested)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("there is no room %s, or %s may not know of it", roomID, r.Origin)
	}
	children := make([]client.RoomSummary, len(s.Children))
	for i, child := range s.Children {
		children[i] = client.Summarise(child)
	}
	return map[string]any{"room": servedRoom{client.Summarise(s.Room.Discovered), reader.StrippedAt(s.Room.Children...)},
		"children": children, "inaccessible_children": s.Inaccessible}, nil
}
