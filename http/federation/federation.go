// Package federation serves the server-server API. Each area of the specification has a function that gives its endpoints; the server that
// asks is api.Request.Origin.
package federation

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/matrixon/matrixon/actors/federation/keyring"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/persistence"
)

// Deps are what all areas need.
type Deps struct {
	ServerName string
	Store      persistence.Reader
	Caller     cluster.Caller
	Reader     *reader.Reader
	Keys       *keyring.Ring
	Client     client.Deps // what is shared with the client-server API
	Now        func() time.Time
	Log        *slog.Logger
}

var (
	get  = []string{http.MethodGet}
	post = []string{http.MethodPost}
)

const v1 = "/_matrix/federation/v1"

// Version is what the server is (GET /version).
func Version(version string) api.Endpoint {
	answer := map[string]map[string]string{"server": {"name": "Matrixon", "version": version}}
	return api.Endpoint{Methods: get, Path: v1 + "/version", Handler: func(*api.Request) (any, error) { return answer, nil }}
}

// WellKnown says where the server is reached (GET /.well-known/matrix/server).
func WellKnown(delegated string) api.Endpoint {
	answer := api.Answer{Header: http.Header{"Cache-Control": {"public, max-age=86400"}}, Body: map[string]string{"m.server": delegated}}
	return api.Endpoint{Methods: get, Path: "/.well-known/matrix/server", Handler: func(*api.Request) (any, error) { return answer, nil }}
}
