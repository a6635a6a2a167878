package media

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The origins of media that no user has uploaded here.
const (
	fromRemote  = "remote"
	fromPreview = "preview"
)

// fetch brings media from another server into the cache. Requests of one node for the same share one download, which counts for whoever
// asked first.
func (m *Repository) fetch(r *api.Request, server, mediaID string, wait time.Duration) (schema.Media, error) {
	for {
		first := false
		done := m.fetching.DoChan(server+"/"+mediaID, func() (any, error) {
			first = true
			// Whoever asked first may go; the others still want it.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Ctx), fetchTimeout)
			defer cancel()
			counted := *r
			counted.Ctx = ctx
			return m.cache(ctx, server, mediaID, wait, func(kib int) error { return counted.TakeMany(api.LimitMediaRemote, kib) })
		})
		select {
		case <-r.Ctx.Done():
			return schema.Media{}, r.Ctx.Err()
		case result := <-done:
			row, _ := result.Val.(schema.Media)
			var limited *mxerr.Error
			if !first && errors.As(result.Err, &limited) && limited.Status == http.StatusTooManyRequests {
				continue // it was the other who may not fetch more
			}
			return row, result.Err
		}
	}
}

// fetchTimeout bounds one download from another server.
const fetchTimeout = 10 * time.Minute

// cache fetches the media; take counts the KiB that come.
func (m *Repository) cache(ctx context.Context, server, mediaID string, wait time.Duration, take func(kib int) error) (schema.Media, error) {
	if err := take(0); err != nil {
		return schema.Media{}, err
	}
	file, err := m.Remote.Fetch(ctx, server, mediaID, wait)
	if err != nil {
		var refused *mxerr.Error
		if !errors.As(err, &refused) {
			err = notWhole(server, err)
		}
		return schema.Media{}, err
	}
	defer file.Body.Close()
	tooLarge := mxerr.New(http.StatusBadGateway, "M_TOO_LARGE", "the media of %s is larger than %d bytes", server, m.MaxRemote)
	if file.Size > m.MaxRemote {
		return schema.Media{}, tooLarge
	}
	o, err := m.put(ctx, &bounded{r: &sent{r: file.Body, server: server, take: take}, left: m.MaxRemote, beyond: tooLarge}, file.Size)
	if err != nil {
		return schema.Media{}, err
	}
	m.cached.Add(o.size)
	row := schema.Media{Server: server, MediaID: mediaID, Origin: fromRemote}
	if file.Filename != nil {
		if name, err := declaredFilename(*file.Filename); err == nil {
			row.Filename = &name
		}
	}
	if row.Type, err = declaredType(file.Type); err != nil {
		row.Type = octets
	}
	return m.keep(ctx, o, row)
}

// notWhole says that another server has given nothing, or only a part.
func notWhole(server string, err error) error {
	return mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "%s did not give the media: %v", server, err)
}

// sent is what another server sends. It is counted in pieces.
type sent struct {
	r         io.Reader
	server    string
	take      func(kib int) error
	uncounted int
}

// Read implements io.Reader.
func (s *sent) Read(p []byte) (int, error) {
	const kib, piece = 1 << 10, 64 << 10
	n, err := s.r.Read(p)
	s.uncounted += n
	switch {
	case errors.Is(err, io.EOF):
		_ = s.take(s.uncounted/kib + 1) // it is here already
		s.uncounted = 0
	case err != nil:
		return n, notWhole(s.server, err)
	case s.uncounted >= piece:
		if limited := s.take(s.uncounted / kib); limited != nil {
			for left := s.uncounted / kib; left > 0; left /= 2 {
				_ = s.take(left) // so that nothing is left, and no other file is begun
			}
			return 0, limited
		}
		s.uncounted = 0
	}
	return n, err
}

// bounded fails beyond a number of bytes.
type bounded struct {
	r      io.Reader
	left   int64
	beyond error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.beyond
	}
	return n, err
}

// keep records content that belongs to no local user. If the same media was recorded meanwhile, that is what it gives.
func (m *Repository) keep(ctx context.Context, o object, row schema.Media) (schema.Media, error) {
	now := m.Now().UnixMilli()
	row.SHA256, row.Size, row.CreatedTS, row.StoredTS, row.Public = o.sha256, o.size, now, now, m.Public
	if err := m.refuseQuarantined(ctx, o.sha256); err != nil {
		m.discard(ctx, o.name)
		return row, err
	}
	same, err := m.same(ctx, o.sha256, o.size)
	if err != nil {
		m.discard(ctx, o.name)
		return row, err
	}
	if same != "" {
		row.Blob = same
		err := m.insert(ctx, row, nil, []persistence.Mutation{schema.BlobReleases.Put(schema.BlobRelease{Name: same})})
		if err == nil {
			m.discard(ctx, o.name)
		}
		if !errors.Is(err, persistence.ErrExists) {
			return row, err
		}
	}
	row.Blob = o.name
	err = m.insert(ctx, row, []persistence.Mutation{
		schema.Blobs.Put(schema.Blob{Name: row.Blob, SHA256: row.SHA256, Size: row.Size, StoredTS: now}),
		schema.BlobsByHash.Put(schema.BlobByHash{SHA256: row.SHA256, Name: row.Blob}),
	}, nil)
	if errors.Is(err, persistence.ErrExists) {
		m.discard(ctx, o.name)
		old, there, err := schema.MediaFiles.Get(ctx, m.Rows, row)
		if err == nil && !there {
			err = mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "the media of this server are being moved")
		}
		return old, err
	}
	return row, err
}

// insert commits a new row of media with its use of a blob.
func (m *Repository) insert(ctx context.Context, row schema.Media, also, absent []persistence.Mutation) error {
	put := schema.MediaFiles.Put(row)
	also = append(also, put, schema.BlobUses.Put(schema.BlobUse{Name: row.Blob, Server: row.Server, MediaID: row.MediaID}))
	if row.Server == m.ServerName { // of nobody, in the order of time
		also = append(also, schema.MediaOfUsers.Put(schema.MediaByUser{TS: row.StoredTS, MediaID: row.MediaID}))
	}
	_, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Absent: append(absent, put, fence(m.StoreID)), Write: also})
	return err
}
