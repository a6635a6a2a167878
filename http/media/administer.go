package media

import (
	"context"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// File is media as administrators see it.
type File struct {
	schema.Media
	AccessedTS  int64 // ms, to the day; 0: never
	Quarantined bool
}

// Lookup finds media, whether or not it may be fetched; 404 M_NOT_FOUND when there is none.
func (m *Repository) Lookup(ctx context.Context, server, mediaID string) (File, error) {
	row, there, err := schema.MediaFiles.Get(ctx, m.Rows, schema.Media{Server: server, MediaID: mediaID})
	if err == nil && !there {
		err = mxerr.NotFound("there is no such media")
	}
	if err != nil {
		return File{}, err
	}
	return m.describe(ctx, row)
}

func (m *Repository) describe(ctx context.Context, row schema.Media) (File, error) {
	f := File{Media: row}
	access, _, err := schema.MediaAccesses.Get(ctx, m.Rows, schema.MediaAccess{Server: row.Server, MediaID: row.MediaID})
	if err != nil {
		return f, err
	}
	f.AccessedTS = access.TS
	if row.Blob != "" {
		_, f.Quarantined, err = schema.Quarantines.Get(ctx, m.Rows, schema.Quarantine{SHA256: row.SHA256})
	}
	return f, err
}

// OfUser gives what a user has uploaded and how much it is, newest first, after that media id, or from the newest on when it is empty.
func (m *Repository) OfUser(ctx context.Context, userID, after string, limit int) (files []File, usage schema.MediaUsage, err error) {
	if usage, _, err = schema.MediaUsages.Get(ctx, m.Rows, schema.MediaUsage{UserID: userID}); err != nil {
		return nil, usage, err
	}
	within := persistence.Range[schema.MediaByUser]{Prefix: schema.MediaByUser{UserID: userID}, Keys: 2, Reverse: true, Limit: limit}
	if after != "" {
		last, there, err := schema.MediaFiles.Get(ctx, m.Rows, schema.Media{Server: m.ServerName, MediaID: after})
		if err != nil {
			return nil, usage, err
		}
		if !there || last.UserID != userID {
			return nil, usage, mxerr.InvalidParam("there is no media %.64q of %s to go on from", after, userID)
		}
		within.After = &schema.MediaByUser{UserID: userID, TS: last.StoredTS, MediaID: after}
	}
	rows, err := schema.MediaOfUsers.All(ctx, m.Rows, within)
	if err != nil {
		return nil, usage, err
	}
	for _, row := range rows {
		media, there, err := schema.MediaFiles.Get(ctx, m.Rows, schema.Media{Server: m.ServerName, MediaID: row.MediaID})
		if err != nil {
			return nil, usage, err
		}
		if !there { // deleted meanwhile
			continue
		}
		f, err := m.describe(ctx, media)
		if err != nil {
			return nil, usage, err
		}
		files = append(files, f)
	}
	return files, usage, nil
}

// each calls f with all media of a user that has content, some at a time.
func (m *Repository) each(ctx context.Context, userID string, f func([]schema.Media) error) (count int, err error) {
	within := persistence.Range[schema.MediaByUser]{Prefix: schema.MediaByUser{UserID: userID}, Keys: 2, Limit: sweepBatch}
	for {
		listed, err := schema.MediaOfUsers.All(ctx, m.Rows, within)
		if err != nil || len(listed) == 0 {
			return count, err
		}
		var rows []schema.Media
		for _, l := range listed {
			row, there, err := schema.MediaFiles.Get(ctx, m.Rows, schema.Media{Server: m.ServerName, MediaID: l.MediaID})
			if err != nil {
				return count, err
			}
			if there {
				rows = append(rows, row)
			}
		}
		if err := f(rows); err != nil {
			return count, err
		}
		count += len(rows)
		within.After = &listed[len(listed)-1]
	}
}

// Quarantine keeps the content of media from everyone, in whatever media it is or will be, or gives it free again.
func (m *Repository) Quarantine(ctx context.Context, on bool, rows ...schema.Media) error {
	var writes []persistence.Mutation
	for _, row := range rows {
		if row.Blob == "" {
			continue
		}
		q := schema.Quarantine{SHA256: row.SHA256, TS: m.Now().UnixMilli()}
		if on {
			writes = append(writes, schema.Quarantines.Put(q))
		} else {
			writes = append(writes, schema.Quarantines.Delete(q))
		}
	}
	if len(writes) == 0 {
		return nil
	}
	_, err := persistence.Await(ctx, m.Rows, &persistence.Commit{Write: writes})
	return err
}

// QuarantineUser is Quarantine of all that a user has uploaded. It gives how many files that are.
func (m *Repository) QuarantineUser(ctx context.Context, on bool, userID string) (int, error) {
	return m.each(ctx, userID, func(rows []schema.Media) error { return m.Quarantine(ctx, on, rows...) })
}

// DeleteUser deletes all that a user has uploaded. It gives how many files that were.
func (m *Repository) DeleteUser(ctx context.Context, userID string) (int, error) {
	return m.each(ctx, userID, func(rows []schema.Media) error { return m.Delete(ctx, rows...) })
}
