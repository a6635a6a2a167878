package media

import (
	"context"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// release deletes the objects that no media uses any more, with their thumbnails. From the moment when the release of a blob is
// written, no upload can share it; uploads that were before count among its uses. So a blob without uses then stays without.
func (m *Repository) release(ctx context.Context, blobs []string) error {
	for _, name := range blobs {
		if used, err := m.used(ctx, name); err != nil || used {
			if err != nil {
				return err
			}
			continue
		}
		row := schema.BlobRelease{Name: name, TS: m.Now().UnixMilli()}
		if _, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Write: []persistence.Mutation{schema.BlobReleases.Put(row)}}); err != nil {
			return err
		}
		used, err := m.used(ctx, name)
		if err != nil {
			return err
		}
		if used { // an upload came in between: the last one to leave it releases it again
			continue
		}
		if err := m.deleteBlob(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (m *Repository) used(ctx context.Context, name string) (bool, error) {
	uses, err := schema.BlobUses.All(ctx, m.Rows, persistence.Range[schema.BlobUse]{Prefix: schema.BlobUse{Name: name}, Keys: 1, Limit: 1})
	return len(uses) > 0, err
}

// deleteBlob deletes a released blob that has no uses: first the objects, then what is known of them, so that it can be repeated.
func (m *Repository) deleteBlob(ctx context.Context, name string) error {
	thumbnails, err := schema.BlobThumbnails.All(ctx, m.Rows, persistence.Range[schema.BlobThumbnail]{Prefix: schema.BlobThumbnail{Name: name}, Keys: 1})
	if err != nil {
		return err
	}
	row, there, err := schema.Blobs.Get(ctx, m.Rows, schema.Blob{Name: name})
	if err != nil {
		return err
	}
	writes := []persistence.Mutation{schema.Blobs.Delete(schema.Blob{Name: name})}
	if there {
		writes = append(writes, schema.BlobsByHash.Delete(schema.BlobByHash{SHA256: row.SHA256, Name: name}))
	}
	for _, t := range thumbnails {
		if err := m.Blobs.Delete(ctx, t.Object); err != nil {
			return err
		}
		writes = append(writes, schema.BlobThumbnails.Delete(t))
	}
	if err := m.Blobs.Delete(ctx, name); err != nil {
		return err
	}
	_, err = persistence.Await(ctx, m.Rows, &persistence.Commit{Write: writes})
	return err
}

// Delete deletes media, of whomever it is, and the content that nothing else has.
func (m *Repository) Delete(ctx context.Context, rows ...schema.Media) error {
	byUser := map[string][]string{}
	var nobodys []schema.Media
	for _, row := range rows {
		if row.UserID == "" {
			nobodys = append(nobodys, row)
		} else {
			byUser[row.UserID] = append(byUser[row.UserID], row.MediaID)
		}
	}
	for userID, mediaIDs := range byUser {
		removed, err := askUser[*messages.MediaRemoved](ctx, m, userID, &messages.RemoveMedia{Server: m.ServerName, MediaIds: mediaIDs})
		if err != nil {
			return err
		}
		if err := m.release(ctx, removed.Blobs); err != nil {
			return err
		}
	}
	for _, row := range nobodys {
		if _, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Write: []persistence.Mutation{
			schema.MediaFiles.Delete(row),
			schema.BlobUses.Delete(schema.BlobUse{Name: row.Blob, Server: row.Server, MediaID: row.MediaID}),
			schema.MediaOfUsers.Delete(schema.MediaByUser{TS: row.StoredTS, MediaID: row.MediaID}),
			schema.MediaAccesses.Delete(schema.MediaAccess{Server: row.Server, MediaID: row.MediaID}),
		}}); err != nil {
			return err
		}
		if err := m.release(ctx, []string{row.Blob}); err != nil {
			return err
		}
	}
	return nil
}
