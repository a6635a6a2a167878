// Package media serves the content repository (client-server API, "Content repository"): files that users upload, thumbnails of
// pictures, and previews of web pages. The content lies in a blobs.Store that all nodes share; what is known about it
// stands in rows, which the actors of the users write. Content streams through; it is never held in memory.
package media

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/http/media/preview"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
)

// Options are what a Repository needs, and its limits.
type Options struct {
	ServerName string
	Rows       persistence.Store
	Blobs      blobs.Store
	StoreID    string // the identity of Blobs, from Bind
	Caller     cluster.Caller
	Now        func() time.Time
	Log        *slog.Logger
	Pictures   *picture.Workshop
	// Remote fetches the media of other servers; nil: there is none but what is cached.
	Remote Remote

	MaxUpload int64 // bytes of one file
	MaxRemote int64 // bytes of one file of another server
	// QuotaFiles and QuotaBytes bound what one user may have uploaded; 0: no bound.
	QuotaFiles, QuotaBytes int64
	// MostPending bounds how many ids of a user may wait for their content, PendingLifetime how long.
	MostPending     int64
	PendingLifetime time.Duration
	// Public lets everyone fetch what comes in from now on without a token, through the deprecated endpoints.
	Public bool
	// Icons are mxc:// URIs that everyone can fetch through them all the same: those of identity providers, which clients show before anybody
	// has logged in (client-server API, m.login.sso).
	Icons []string
	// Pages looks at web pages; nil: there are no previews. PreviewLifetime is how long one is good.
	Pages           *preview.Fetcher
	PreviewLifetime time.Duration
	Retention       Retention
	// Redirect sends clients to the store for the content, if it has URLs.
	Redirect bool
}

// Repository is the content repository of a node.
type Repository struct {
	Options
	accesses accesses
	cached   atomic.Int64       // bytes of other servers, since the last SweepRemote
	fetching transfers          // of remote media
	making   singleflight.Group // of thumbnails
	looking  singleflight.Group // at web pages
	previews *semaphore.Weighted
}

// New makes a repository.
func New(o Options) *Repository {
	return &Repository{Options: o, previews: semaphore.NewWeighted(previewsAtOnce)}
}

// Close gives back the connections to other servers.
func (m *Repository) Close() {
	if m.Pages != nil {
		m.Pages.Close()
	}
}

// askUser asks the actor of a local user.
func askUser[A proto.Message](ctx context.Context, m *Repository, userID string, request proto.Message) (A, error) {
	return cluster.Ask[A](ctx, m.Caller, cluster.Identity{Kind: cluster.KindUser, ID: userID}, request)
}

// The paths of the content repository. Clients spell the older ones with every version that there was.
const (
	current    = "/_matrix/client/v1/media"
	deprecated = "/_matrix/media/v3"
)

// Endpoints are those of the client-server API.
func (m *Repository) Endpoints() []api.Endpoint {
	older := func(path string) []string { return []string{"/_matrix/media/r0" + path, "/_matrix/media/v1" + path} }
	get := func(path string, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodGet}, Path: current + path, Auth: api.User, Limit: api.LimitMedia, Handler: f}
	}
	old := func(path string, auth api.Auth, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodGet}, Path: deprecated + path, Also: older(path), Auth: auth, Limit: api.LimitMedia, Handler: f}
	}
	const small = "/thumbnail/{serverName}/{mediaId}"
	const file, named = "/download/{serverName}/{mediaId}", "/download/{serverName}/{mediaId}/{fileName}"
	endpoints := []api.Endpoint{
		{Methods: []string{http.MethodPost}, Path: deprecated + "/upload", Also: older("/upload"), Auth: api.User, Limit: api.LimitMedia,
			MaxBody: m.MaxUpload, Handler: m.upload},
		{Methods: []string{http.MethodPost}, Path: "/_matrix/media/v1/create", Auth: api.User, Limit: api.LimitMedia, Handler: m.create},
		{Methods: []string{http.MethodPut}, Path: deprecated + "/upload/{serverName}/{mediaId}", Also: older("/upload/{serverName}/{mediaId}"),
			Auth: api.User, Limit: api.LimitMedia, MaxBody: m.MaxUpload, Handler: m.uploadTo},
		get("/config", m.config),
		get(file, m.download(fresh)),
		get(named, m.download(fresh)),
		get(small, m.thumbnail(fresh)),
		old(small, api.Public, m.thumbnail(frozen)),
		old("/config", api.User, m.config),
		old(file, api.Public, m.download(frozen)),
		old(named, api.Public, m.download(frozen)),
	}
	if m.Pages != nil {
		endpoints = append(endpoints, get("/preview_url", m.preview), old("/preview_url", api.User, m.preview))
	}
	return endpoints
}

// config tells clients what they may upload.
func (m *Repository) config(*api.Request) (any, error) {
	return map[string]int64{"m.upload.size": m.MaxUpload}, nil
}
