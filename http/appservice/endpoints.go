package appservice

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Endpoints are those that application services have to themselves, and the lookups in third-party networks (application service API,
// "Client-Server API Extensions"; client-server API, "Third-party networks").
func (s *Services) Endpoints() []api.Endpoint {
	get := func(path string, h api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodGet}, Path: "/_matrix/client/v3/thirdparty" + path, R0: true, Auth: api.User, Limit: api.LimitSearch, Handler: h}
	}
	return []api.Endpoint{
		{Methods: []string{http.MethodPost}, Path: "/_matrix/client/v1/appservice/{appserviceId}/ping",
			Also: []string{"/_matrix/client/unstable/fi.mau.msc2659/appservice/{appserviceId}/ping"}, Auth: api.Appservice, Limit: api.LimitRead, Handler: s.ping},
		{Methods: []string{http.MethodPut}, Path: "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", R0: true,
			Auth: api.Appservice, Limit: api.LimitMessage, Handler: s.listRoom},
		get("/protocols", s.protocols),
		get("/protocol/{protocol}", s.protocol),
		get("/location/{protocol}", s.locationsOf),
		get("/user/{protocol}", s.usersOf),
		get("/location", s.locations),
		get("/user", s.users),
	}
}

// maxPingBody bounds how much of a bad answer is told, in bytes.
const maxPingBody = 4096

// ping has an application service reached by us, for itself to know (application service API, "Pinging").
func (s *Services) ping(r *api.Request) (any, error) {
	var body struct {
		TransactionID *string `json:"transaction_id,omitzero"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	service := s.Set().ByID(r.Session.Appservice)
	if service == nil || service.ID != r.Vars["appserviceId"] {
		return nil, mxerr.Forbidden("the token is not that of the application service")
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	answer, err := s.Link.Do(r.Ctx, service, Call{Method: http.MethodPost, Path: "/ping", Body: raw})
	took := time.Since(start)
	switch {
	case errors.Is(err, ErrNoURL):
		return nil, mxerr.New(http.StatusBadRequest, "M_URL_NOT_SET", "the registration of the application service has no URL")
	case err != nil:
		return nil, mxerr.New(http.StatusBadGateway, "M_CONNECTION_FAILED", "the application service cannot be reached: %v", err)
	case answer.Status/100 != 2:
		told := string(answer.Body[:min(len(answer.Body), maxPingBody)])
		return nil, mxerr.New(http.StatusBadGateway, "M_BAD_STATUS", "the application service answered %d", answer.Status).With("status", answer.Status).With("body", told)
	}
	s.Wake(service, true)
	return map[string]int64{"duration_ms": took.Milliseconds()}, nil
}

// Wake has the actor of an application service look for what is to be sent; with retry however long it would wait.
func (s *Services) Wake(r *appservice.Registration, retry bool) {
	if r.URL != "" {
		s.Caller.Tell(cluster.Identity{Kind: cluster.KindAppservice, ID: r.ID}, &messages.WakeAppservice{Retry: retry})
	}
}

// maxNetworkID bounds the name of a network, in bytes.
const maxNetworkID = 255

// listRoom shows or hides a room in the directory of a network (application service API, "Published room directories").
func (s *Services) listRoom(r *api.Request) (any, error) {
	var body struct {
		Visibility string `json:"visibility"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	roomID, network := r.Vars["roomId"], r.Vars["networkId"]
	switch {
	case !id.ValidRoomID(roomID):
		return nil, mxerr.InvalidParam("%.255q is no room id", roomID)
	case len(network) > maxNetworkID:
		return nil, mxerr.InvalidParam("the id of the network is longer than %d bytes", maxNetworkID)
	case body.Visibility == "":
		return nil, mxerr.MissingParam("visibility is required")
	case body.Visibility != "public" && body.Visibility != "private":
		return nil, mxerr.InvalidParam("visibility must be public or private, not %.64q", body.Visibility)
	}
	service := s.Set().ByID(r.Session.Appservice)
	if service == nil {
		return nil, mxerr.Forbidden("the application service is not registered any more")
	}
	if _, ok, err := schema.Rooms.Get(r.Ctx, s.Store, schema.Room{RoomID: roomID}); err != nil {
		return nil, err
	} else if !ok {
		return nil, mxerr.NotFound("this server does not know the room %s", roomID)
	}
	if err := s.Introduce(r.Ctx, service); err != nil {
		return nil, err
	}
	_, err := s.Caller.Ask(r.Ctx, cluster.Identity{Kind: cluster.KindUser, ID: service.UserID()}, &messages.ListNetworkRoom{
		AppserviceId: service.ID, NetworkId: network, RoomId: roomID, Listed: body.Visibility == "public"})
	return nil, err
}
