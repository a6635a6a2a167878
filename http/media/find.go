package media

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Remote fetches media from the server that it belongs to.
type Remote interface {
	// Fetch begins to download the media, waiting as long for it to be uploaded. Its errors are for the client: *mxerr.Error, or
	// anything else for 502.
	Fetch(ctx context.Context, server, mediaID string, wait time.Duration) (*RemoteFile, error)
}

// RemoteFile is media that is being downloaded.
type RemoteFile struct {
	Body     io.ReadCloser
	Size     int64   // -1: not known
	Type     string  // empty: not known
	Filename *string // nil: none
}

// How long a client may wait for media that is not there yet.
const (
	defaultWait = 20 * time.Second
	longestWait = 60 * time.Second
)

// access is by which door a client comes.
type access int

const (
	fresh  access = iota // with a token
	frozen               // without one: only to what came before the freeze
)

// wanted finds the media that a request names.
func (m *Repository) wanted(r *api.Request, a access) (schema.Media, error) {
	server, mediaID := r.Vars["serverName"], r.Vars["mediaId"]
	if err := validMedia(server, mediaID); err != nil {
		return schema.Media{}, err
	}
	wait, err := r.Int("timeout_ms", defaultWait.Milliseconds(), 0, longestWait.Milliseconds())
	if err != nil {
		return schema.Media{}, err
	}
	remote, err := r.Bool("allow_remote", true)
	if err != nil {
		return schema.Media{}, err
	}
	// What a deprecated endpoint would have to fetch from another server is new, and after the freeze for those with a token.
	icon := slices.Contains(m.Icons, "mxc://"+server+"/"+mediaID)
	row, err := m.find(r, server, mediaID, time.Duration(wait)*time.Millisecond, a == fresh || remote && (m.Public || icon))
	if err != nil {
		return row, err
	}
	if a == frozen && !row.Public && !icon {
		return row, mxerr.NotFound("this media needs an access token, and a client that uses /_matrix/client/v1/media")
	}
	if err := m.visible(r.Ctx, row); err != nil {
		return row, err
	}
	m.accesses.note(row, r.Now)
	return row, nil
}

// find reads the media's row, once it has content.
func (m *Repository) find(r *api.Request, server, mediaID string, wait time.Duration, remote bool) (schema.Media, error) {
	row, there, err := schema.MediaFiles.Get(r.Ctx, m.Rows, schema.Media{Server: server, MediaID: mediaID})
	switch {
	case err != nil:
		return row, err
	case there && row.Blob != "":
		return row, nil
	case there:
		return m.uploaded(r, row, wait)
	case server != m.ServerName && remote && m.Remote != nil:
		return m.fetch(r, server, mediaID, wait)
	}
	return row, mxerr.NotFound("there is no such media")
}

// How often it is looked whether media has come: soon at first, then less often.
const (
	firstLook  = 50 * time.Millisecond
	latestLook = time.Second
)

// uploaded waits until the content of a reserved id has come, on whatever node.
func (m *Repository) uploaded(r *api.Request, row schema.Media, wait time.Duration) (schema.Media, error) {
	ctx, cancel := context.WithTimeout(r.Ctx, wait)
	defer cancel()
	defer r.OnDrain(cancel)()
	for look := firstLook; row.ExpiresTS > m.Now().UnixMilli(); look = min(look*2, latestLook) {
		select {
		case <-ctx.Done():
			if err := r.Ctx.Err(); err != nil {
				return row, err
			}
			return row, mxerr.New(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "the content has not yet been uploaded")
		case <-time.After(look):
		}
		var there bool
		var err error
		row, there, err = schema.MediaFiles.Get(r.Ctx, m.Rows, schema.Media{Server: row.Server, MediaID: row.MediaID})
		switch {
		case err != nil:
			return row, err
		case !there:
			return row, mxerr.NotFound("there is no such media")
		case row.Blob != "":
			return row, nil
		}
	}
	return row, mxerr.NotFound("there is no such media; its id has expired")
}

// visible refuses what is kept from everyone.
func (m *Repository) visible(ctx context.Context, row schema.Media) error {
	_, hidden, err := schema.Quarantines.Get(ctx, m.Rows, schema.Quarantine{SHA256: row.SHA256})
	if err == nil && hidden {
		err = mxerr.NotFound("there is no such media")
	}
	return err
}
