// Package media holds what a local user has uploaded (client-server API, "Content repository"): which ids are theirs, which
// objects hold the content, and how much it is. Operations run in the lane of the user's actor, so that limits hold
// however many uploads run at once, on whatever nodes.
package media

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Uploaded is the origin of what users upload.
const Uploaded = "upload"

// Handlers are the operations for user.New.
func Handlers() []user.Handler {
	return []user.Handler{
		user.Handle(reserve),
		user.Handle(store),
		user.Handle(remove),
	}
}

// reserve makes an id without content.
func reserve(ctx context.Context, o *user.Op, m *messages.ReserveMedia) (*messages.Done, error) {
	row := schema.Media{Server: m.Server, MediaID: m.MediaId, UserID: o.UserID, Origin: Uploaded, CreatedTS: o.Now.UnixMilli(), ExpiresTS: m.ExpiresTs}
	now := o.Now.UnixMilli()
	waiting, err := schema.MediaOfUsers.All(ctx, o.Store, persistence.Range[schema.MediaByUser]{
		Prefix: schema.MediaByUser{UserID: o.UserID, Pending: true}, Keys: 2, From: &schema.MediaByUser{TS: now + 1},
		Limit: int(m.MostPending)})
	if err != nil {
		return nil, err
	}
	if int64(len(waiting)) >= m.MostPending {
		return nil, mxerr.LimitExceeded(max(1, waiting[0].TS-now))
	}
	put := schema.MediaFiles.Put(row)
	_, err = o.Commit(ctx, []persistence.Mutation{put, schema.MediaOfUsers.Put(listed(row))}, []persistence.Mutation{put}, user.Notices{})
	if errors.Is(err, persistence.ErrExists) {
		err = repeated(ctx, o, m)
	}
	return &messages.Done{}, err
}

// repeated accepts a reservation that is there already if it is the same.
func repeated(ctx context.Context, o *user.Op, m *messages.ReserveMedia) error {
	row, _, err := schema.MediaFiles.Get(ctx, o.Store, schema.Media{Server: m.Server, MediaID: m.MediaId})
	if err == nil && (row.UserID != o.UserID || row.ExpiresTS != m.ExpiresTs) {
		err = mxerr.New(http.StatusConflict, "M_UNKNOWN", "the media id is taken")
	}
	return err
}

// listed is the row by which the media is found with its user.
func listed(m schema.Media) schema.MediaByUser {
	row := schema.MediaByUser{UserID: m.UserID, MediaID: m.MediaID, Pending: m.Blob == "", TS: m.StoredTS}
	if row.Pending {
		row.TS = m.ExpiresTS
	}
	return row
}

// store records content.
func store(ctx context.Context, o *user.Op, m *messages.StoreMedia) (*messages.MediaStored, error) {
	old, there, err := schema.MediaFiles.Get(ctx, o.Store, schema.Media{Server: m.Server, MediaID: m.MediaId})
	if err != nil {
		return nil, err
	}
	if there && old.UserID == o.UserID && old.Blob != "" && (old.Blob == m.Blob || old.Blob == m.Same) { // asked again
		return &messages.MediaStored{Blob: old.Blob}, nil
	}
	if err := mayStore(o, m, old, there); err != nil {
		return nil, err
	}
	usage, _, err := schema.MediaUsages.Get(ctx, o.Store, schema.MediaUsage{UserID: o.UserID})
	if err != nil {
		return nil, err
	}
	usage.Files, usage.Bytes = usage.Files+1, usage.Bytes+m.Size
	if m.QuotaFiles > 0 && usage.Files > m.QuotaFiles || m.QuotaBytes > 0 && usage.Bytes > m.QuotaBytes {
		return nil, mxerr.Forbidden("you have reached your quota of uploaded files")
	}
	row := schema.Media{Server: m.Server, MediaID: m.MediaId, UserID: o.UserID, Origin: Uploaded, CreatedTS: o.Now.UnixMilli(),
		Blob: m.Blob, SHA256: m.Sha256, Size: m.Size, Type: m.Type, Filename: m.Filename, StoredTS: o.Now.UnixMilli(), Public: m.Public}
	writes := []persistence.Mutation{schema.MediaUsages.Put(usage)}
	if there {
		row.CreatedTS = old.CreatedTS
		writes = append(writes, schema.MediaOfUsers.Delete(listed(old)))
	}
	absent := []persistence.Mutation{schema.Settings.Put(schema.Setting{Name: m.Fence})}
	if !there {
		absent = append(absent, schema.MediaFiles.Put(row))
	}
	return commit(ctx, o, row, m, writes, absent)
}

// mayStore decides whether the id takes content.
func mayStore(o *user.Op, m *messages.StoreMedia, old schema.Media, there bool) error {
	switch {
	case !m.Reserved && !there:
		return nil
	case !there:
		return mxerr.NotFound("there is no media id %s, or it has expired", m.MediaId)
	case old.UserID != o.UserID:
		return mxerr.Forbidden("this media id was made by somebody else")
	case old.Blob != "" || !m.Reserved:
		return mxerr.New(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "the media id has content already")
	case old.ExpiresTS <= o.Now.UnixMilli():
		return mxerr.NotFound("there is no media id %s, or it has expired", m.MediaId)
	}
	return nil
}

// commit writes the media with the older object of the same content, or else with its own.
func commit(ctx context.Context, o *user.Op, row schema.Media, m *messages.StoreMedia, writes, absent []persistence.Mutation) (*messages.MediaStored, error) {
	if same := m.Same; same != "" {
		shared := row
		shared.Blob = same
		known, there, err := schema.Blobs.Get(ctx, o.Store, schema.Blob{Name: same})
		if err != nil {
			return nil, err
		}
		if there && bytes.Equal(known.SHA256, row.SHA256) {
			_, err = o.Commit(ctx, append(uses(shared), writes...),
				append([]persistence.Mutation{schema.BlobReleases.Put(schema.BlobRelease{Name: same})}, absent...), user.Notices{})
			if !errors.Is(err, persistence.ErrExists) {
				return &messages.MediaStored{Blob: same}, err
			}
		}
	}
	blob := schema.Blob{Name: row.Blob, SHA256: row.SHA256, Size: row.Size, StoredTS: row.StoredTS}
	writes = append(writes, schema.Blobs.Put(blob), schema.BlobsByHash.Put(schema.BlobByHash{SHA256: row.SHA256, Name: row.Blob}))
	_, err := o.Commit(ctx, append(uses(row), writes...), absent, user.Notices{})
	if errors.Is(err, persistence.ErrExists) {
		err = refused(ctx, o, m)
	}
	return &messages.MediaStored{Blob: row.Blob}, err
}

// refused says which of the absent rows was there.
func refused(ctx context.Context, o *user.Op, m *messages.StoreMedia) error {
	_, closed, err := schema.Settings.Get(ctx, o.Store, schema.Setting{Name: m.Fence})
	switch {
	case err != nil:
		return err
	case closed:
		return mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "the media of this server are being moved")
	}
	return mxerr.New(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "the media id is taken")
}

// uses are the rows of media and its content.
func uses(row schema.Media) []persistence.Mutation {
	return []persistence.Mutation{
		schema.MediaFiles.Put(row),
		schema.MediaOfUsers.Put(listed(row)),
		schema.BlobUses.Put(schema.BlobUse{Name: row.Blob, Server: row.Server, MediaID: row.MediaID}),
	}
}

// batch is how many files one commit removes.
const batch = 100

// remove deletes media. What becomes of the objects is up to who asked.
func remove(ctx context.Context, o *user.Op, m *messages.RemoveMedia) (*messages.MediaRemoved, error) {
	answer := &messages.MediaRemoved{}
	usage, _, err := schema.MediaUsages.Get(ctx, o.Store, schema.MediaUsage{UserID: o.UserID})
	if err != nil {
		return nil, err
	}
	var writes []persistence.Mutation
	flush := func() error {
		if len(writes) == 0 {
			return nil
		}
		_, err := o.Commit(ctx, append(writes, schema.MediaUsages.Put(usage)), nil, user.Notices{})
		writes = nil
		return err
	}
	for _, mediaID := range m.MediaIds {
		row, there, err := schema.MediaFiles.Get(ctx, o.Store, schema.Media{Server: m.Server, MediaID: mediaID})
		if err != nil {
			return nil, err
		}
		if !there || row.UserID != o.UserID || m.ExpiredOnly && (row.Blob != "" || row.ExpiresTS > o.Now.UnixMilli()) {
			continue
		}
		writes = append(writes, schema.MediaFiles.Delete(row), schema.MediaOfUsers.Delete(listed(row)))
		if row.Blob != "" {
			usage.Files, usage.Bytes = usage.Files-1, usage.Bytes-row.Size
			answer.Blobs = append(answer.Blobs, row.Blob)
			writes = append(writes, schema.BlobUses.Delete(schema.BlobUse{Name: row.Blob, Server: row.Server, MediaID: mediaID}),
				schema.MediaAccesses.Delete(schema.MediaAccess{Server: row.Server, MediaID: mediaID}))
		}
		if len(writes) >= batch*4 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return answer, flush()
}
