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

// fetch brings media from another server into the cache. Requests of one node for the same share one download.
func (m *Repository) fetch(r *api.Request, server, mediaID string, wait time.Duration) (schema.Media, error) {
	take := func(ctx context.Context, kib int) error {
		counted := *r
		counted.Ctx = ctx // it may count for who has gone
		return counted.TakeMany(api.LimitMediaRemote, kib)
	}
	key, begun := server+"/"+mediaID, time.Now()
	for {
		left := max(0, wait-time.Since(begun))
		t, who := m.fetching.join(r.Ctx, key, left, take, func(ctx context.Context, t *transfer) (schema.Media, error) {
			return m.cache(ctx, server, mediaID, t)
		})
		row, err := t.await(r.Ctx, who)
		var e *mxerr.Error
		if !errors.As(err, &e) || e.Code != "M_NOT_YET_UPLOADED" || t.wait >= wait-time.Since(begun) {
			return row, err
		}
		// The one who asked first was less patient.
	}
}

// cache fetches the media.
func (m *Repository) cache(ctx context.Context, server, mediaID string, t *transfer) (schema.Media, error) {
	if err := t.take(ctx, 0); err != nil {
		return schema.Media{}, err
	}
	file, err := m.Remote.Fetch(ctx, server, mediaID, t.wait)
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
	o, err := m.put(ctx, &bounded{r: &sent{ctx: ctx, r: file.Body, server: server, transfer: t}, left: m.MaxRemote, beyond: tooLarge}, file.Size)
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
	ctx       context.Context
	r         io.Reader
	server    string
	transfer  *transfer
	uncounted int
}

// Read implements io.Reader.
func (s *sent) Read(p []byte) (int, error) {
	const kib, piece = 1 << 10, 64 << 10
	n, err := s.r.Read(p)
	s.uncounted += n
	switch {
	case errors.Is(err, io.EOF):
		s.transfer.took(s.ctx, s.uncounted/kib+1)
		s.uncounted = 0
	case err != nil:
		return n, notWhole(s.server, err)
	case s.uncounted >= piece:
		if limited := s.transfer.take(s.ctx, s.uncounted/kib); limited != nil {
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
