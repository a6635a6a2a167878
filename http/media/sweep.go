package media

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Retention is how long media is kept that nobody fetches; 0 is for ever.
type Retention struct {
	Local, Remote time.Duration
	RemoteSize    int64 // bytes that all files of other servers may take; 0: no bound
}

// The ages beyond which something is left over.
const (
	// orphaned is that of objects which nothing knows: no upload takes so long.
	orphaned = 24 * time.Hour
	// forgotten is that of releases of blobs that are gone: whoever saw the blob before has long been refused.
	forgotten = 24 * time.Hour
	// shown is how long clients may show the picture of a preview that has expired.
	shown = 24 * time.Hour
)

// sweepBatch is how many rows are dealt with at a time.
const sweepBatch = 100

// Sweep deletes what has expired or is left over. One node of a cluster does it, now and then; it is no harm if two do.
func (m *Repository) Sweep(ctx context.Context) error {
	now := m.Now()
	return errors.Join(
		m.sweepPreviews(ctx, now),
		m.sweepMedia(ctx, now),
		m.SweepRemote(ctx),
		m.sweepBlobs(ctx, now),
		m.sweepObjects(ctx, now),
	)
}

// sweepPreviews forgets previews that have expired, and deletes their pictures some time later.
func (m *Repository) sweepPreviews(ctx context.Context, now time.Time) error {
	var old []persistence.Mutation
	for row, err := range schema.Previews.Scan(ctx, m.Rows, persistence.Range[schema.Preview]{}) {
		if err != nil {
			return err
		}
		if row.ExpiresTS <= now.UnixMilli() {
			old = append(old, schema.Previews.Delete(row))
		}
	}
	for len(old) > 0 {
		n := min(len(old), sweepBatch)
		if _, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Write: old[:n]}); err != nil {
			return err
		}
		old = old[n:]
	}
	for {
		pictures, err := schema.MediaOfUsers.All(ctx, m.Rows, persistence.Range[schema.MediaByUser]{
			Keys: 2, Before: &schema.MediaByUser{TS: now.Add(-m.PreviewLifetime - shown).UnixMilli()}, Limit: sweepBatch})
		if err != nil || len(pictures) == 0 {
			return err
		}
		for _, p := range pictures {
			row, there, err := schema.MediaFiles.Get(ctx, m.Rows, schema.Media{Server: m.ServerName, MediaID: p.MediaID})
			if err != nil {
				return err
			}
			if !there {
				row = schema.Media{Server: m.ServerName, MediaID: p.MediaID, StoredTS: p.TS}
			}
			if err := m.Delete(ctx, row); err != nil {
				return err
			}
		}
	}
}

// sweepMedia deletes ids whose content never came, and media that nobody has fetched for as long as the Retention says.
func (m *Repository) sweepMedia(ctx context.Context, now time.Time) error {
	var old, expired []schema.Media
	flush := func(least int) error {
		if len(old) >= least {
			if err := m.Delete(ctx, old...); err != nil {
				return err
			}
			old = nil
		}
		if len(expired) >= least {
			if err := m.removeExpired(ctx, expired); err != nil {
				return err
			}
			expired = nil
		}
		return nil
	}
	for row, err := range schema.MediaFiles.Scan(ctx, m.Rows, persistence.Range[schema.Media]{}) {
		if err != nil {
			return err
		}
		if row.Blob == "" {
			if row.ExpiresTS <= now.UnixMilli() {
				expired = append(expired, row)
			}
		} else if unused, err := m.unused(ctx, row, now); err != nil {
			return err
		} else if unused {
			old = append(old, row)
		}
		if err := flush(sweepBatch); err != nil {
			return err
		}
	}
	return flush(1)
}

// unused reports whether nobody has fetched the media for as long as it is kept.
func (m *Repository) unused(ctx context.Context, row schema.Media, now time.Time) (bool, error) {
	var keep time.Duration
	switch row.Origin {
	case fromRemote:
		keep = m.Retention.Remote
	case fromPreview: // has a lifetime of its own
	default:
		keep = m.Retention.Local
	}
	if keep == 0 || now.UnixMilli()-row.StoredTS < keep.Milliseconds() {
		return false, nil
	}
	access, _, err := schema.MediaAccesses.Get(ctx, m.Rows, schema.MediaAccess{Server: row.Server, MediaID: row.MediaID})
	const day = 24 * time.Hour // accesses are known to the day
	return err == nil && now.UnixMilli()-access.TS >= (keep+day).Milliseconds(), err
}

func (m *Repository) removeExpired(ctx context.Context, rows []schema.Media) error {
	byUser := map[string][]string{}
	for _, row := range rows {
		byUser[row.UserID] = append(byUser[row.UserID], row.MediaID)
	}
	for userID, mediaIDs := range byUser {
		if _, err := askUser[*messages.MediaRemoved](ctx, m, userID, &messages.RemoveMedia{
			Server: m.ServerName, MediaIds: mediaIDs, ExpiredOnly: true}); err != nil {
			return err
		}
	}
	return nil
}

// sweepBlobs releases blobs whose last use went without that, and forgets releases that have served.
func (m *Repository) sweepBlobs(ctx context.Context, now time.Time) error {
	var unused []string
	for row, err := range schema.Blobs.Scan(ctx, m.Rows, persistence.Range[schema.Blob]{}) {
		if err != nil {
			return err
		}
		used, err := m.used(ctx, row.Name)
		if err != nil {
			return err
		}
		if !used {
			unused = append(unused, row.Name)
		}
	}
	if err := m.release(ctx, unused); err != nil {
		return err
	}
	for row, err := range schema.BlobReleases.Scan(ctx, m.Rows, persistence.Range[schema.BlobRelease]{}) {
		if err != nil {
			return err
		}
		if now.UnixMilli()-row.TS < forgotten.Milliseconds() {
			continue
		}
		_, there, err := schema.Blobs.Get(ctx, m.Rows, schema.Blob{Name: row.Name})
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if _, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Write: []persistence.Mutation{schema.BlobReleases.Delete(row)}}); err != nil {
			return err
		}
	}
	return nil
}

// sweepObjects deletes objects that nothing knows: a node died while it stored them.
func (m *Repository) sweepObjects(ctx context.Context, now time.Time) error {
	for info, err := range m.Blobs.List(ctx) {
		if err != nil {
			return err
		}
		if now.Sub(info.Stored) < orphaned {
			continue
		}
		known, err := m.known(ctx, info.Name)
		if err != nil {
			return err
		}
		if !known {
			m.Log.Info("an object that nothing uses is deleted", "object", info.Name, "size", info.Size)
			if err := m.Blobs.Delete(ctx, info.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// known reports whether an object of the store is a blob or a thumbnail of one.
func (m *Repository) known(ctx context.Context, name string) (bool, error) {
	if name == identity {
		return true, nil
	}
	if blob, rest, thumbnail := strings.Cut(name, thumbnailMark); thumbnail {
		variant, _, _ := strings.Cut(rest, ".")
		row, there, err := schema.BlobThumbnails.Get(ctx, m.Rows, schema.BlobThumbnail{Name: blob, Variant: variant})
		return there && row.Object == name, err
	}
	_, there, err := schema.Blobs.Get(ctx, m.Rows, schema.Blob{Name: name})
	return there, err
}
