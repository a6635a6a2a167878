// Package admin is the operator's interface to one node and its cluster: accounts, rooms, actors and nodes. One table of
// routes is served twice: to server administrators over HTTP, and without a token on a socket in the data folder, which
// only the operator can open.
package admin

import (
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/matrixon/matrixon/http/api"
)

// Base is the path below which everything stands.
const Base = "/_matrixon/admin/v1"

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// handler says what an Operator tells in terms of HTTP.
type handler struct{ Operator }

// Endpoints are the interface for administrators of the server, who prove themselves with their access token.
func Endpoints(d Deps) []api.Endpoint {
	h := handler{Operator{d}}
	get := func(path string, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodGet}, Path: Base + path, Auth: api.Admins, Limit: api.LimitRead, Handler: f}
	}
	post := func(path string, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodPost}, Path: Base + path, Auth: api.Admins, Limit: api.LimitAccount, MaxBody: maxBody, Handler: f}
	}
	remove := func(path string, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodDelete}, Path: Base + path, Auth: api.Admins, Limit: api.LimitAccount, Handler: f}
	}
	return append(h.media(), []api.Endpoint{
		{Methods: []string{http.MethodGet}, Path: Base + "/openapi.yaml", Handler: h.describe},
		get("/users", h.listUsers),
		get("/users/{user}", h.getUser),
		post("/users/{user}", h.changeUser),
		get("/users/{user}/devices", h.listDevices),
		post("/users/{user}/log_out", h.logOut),
		post("/users/{user}/redact", h.redactUser),
		get("/users/{user}/export", h.exportUser),
		post("/users/{user}/notice", h.sendNotice),
		get("/registration_tokens", h.listRegistrationTokens),
		post("/registration_tokens", h.createRegistrationToken),
		remove("/registration_tokens/{token}", h.deleteRegistrationToken),
		get("/rooms", h.listRooms),
		get("/rooms/{room}", h.getRoom),
		get("/rooms/{room}/members", h.listMembers),
		post("/rooms/{room}/block", h.blockRoom),
		post("/rooms/{room}/close", h.closeRoom),
		post("/rooms/{room}/make_admin", h.makeRoomAdmin),
		get("/blocked_rooms", h.listBlockedRooms),
		get("/reports", h.listReports),
		remove("/reports/{report}", h.closeReport),
		get("/appservices", h.listAppservices),
		get("/appservices/{appservice}", h.getAppservice),
		post("/appservices/{appservice}/retry", h.retryAppservice),
		get("/destinations", h.listDestinations),
		get("/destinations/{destination}", h.getDestination),
		post("/destinations/{destination}/retry", h.operateDestination("retry")),
		post("/destinations/{destination}/pause", h.operateDestination("pause")),
		post("/destinations/{destination}/reset", h.operateDestination("reset")),
		get("/keys", h.listKeys),
		post("/keys/rotate", h.rotateKey),
		get("/actors", h.listActors),
		get("/actors/{kind}/{id}", h.inspect),
		get("/actors/{kind}/{id}/errors", h.listFailures),
		post("/actors/{kind}/{id}/stop", h.stopActor),
		post("/actors/{kind}/{id}/move", h.moveActor),
		get("/cluster", h.status),
		post("/cluster/rebalance", h.rebalance),
		post("/cluster/{node}/drain", h.drainNode),
	}...)
}

// describe gives the description of this interface, to anybody: it is the same on every server of this version.
func (h handler) describe(*api.Request) (any, error) {
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(h.Description) // the client is gone when this fails
		return nil
	}), nil
}

// Socket serves the same without asking for a token, and besides it backups, which are written where the operator says, and the profiles of
// the process.
func Socket(d Deps, log *slog.Logger) http.Handler {
	a := api.New(api.Options{Log: log})
	h := handler{Operator{d}}
	backup := api.Endpoint{Methods: []string{http.MethodPost}, Path: Base + "/backup", MaxBody: maxBody, Handler: h.backup}
	for _, e := range append(Endpoints(d), backup) {
		e.Auth = api.Public
		a.Add(api.Admin, e)
	}
	m := http.NewServeMux()
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	routes := a.Handler(api.Admin)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := m.Handler(r); pattern != "" {
			m.ServeHTTP(w, r)
			return
		}
		routes.ServeHTTP(w, r)
	})
}
