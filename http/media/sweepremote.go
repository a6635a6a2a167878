package media

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// spare is the part of Retention.RemoteSize that is free after a sweep, and how much a node fetches before it sweeps by itself.
const spare = 10

// SweepRemote deletes files of other servers when they take more than Retention.RemoteSize: those that nobody has fetched for longest, as
// far as that is known, which is to the day.
func (m *Repository) SweepRemote(ctx context.Context) error {
	m.cached.Store(0)
	most := m.Retention.RemoteSize
	if most == 0 {
		return nil
	}
	if err := m.Flush(ctx); err != nil {
		return err
	}
	total, days := int64(0), map[int64]int64{}
	if err := m.eachRemote(ctx, func(row schema.Media, day int64) error {
		total, days[day] = total+row.Size, days[day]+row.Size
		return nil
	}); err != nil || total <= most {
		return err
	}
	// Of the last of the days that go, only some.
	excess, last := total-most+most/spare, int64(0)
	for _, last = range slices.Sorted(maps.Keys(days)) {
		if days[last] >= excess {
			break
		}
		excess -= days[last]
	}
	var old []schema.Media
	err := m.eachRemote(ctx, func(row schema.Media, day int64) error {
		switch {
		case day > last || day == last && excess <= 0:
			return nil
		case day == last:
			excess -= row.Size
		}
		if old = append(old, row); len(old) < sweepBatch {
			return nil
		}
		err := m.Delete(ctx, old...)
		old = nil
		return err
	})
	if err != nil {
		return err
	}
	return m.Delete(ctx, old...)
}

// eachRemote gives the files of other servers, with the day when each was last fetched.
func (m *Repository) eachRemote(ctx context.Context, f func(row schema.Media, day int64) error) error {
	for row, err := range schema.MediaFiles.Scan(ctx, m.Rows, persistence.Range[schema.Media]{}) {
		if err != nil {
			return err
		}
		if row.Origin != fromRemote {
			continue
		}
		access, _, err := schema.MediaAccesses.Get(ctx, m.Rows, schema.MediaAccess{Server: row.Server, MediaID: row.MediaID})
		if err != nil {
			return err
		}
		if err := f(row, max(access.TS, row.StoredTS)/(24*time.Hour).Milliseconds()); err != nil {
			return err
		}
	}
	return nil
}

// Grown reports whether so much has come from other servers since SweepRemote that it should not wait until its time.
func (m *Repository) Grown() bool {
	return m.Retention.RemoteSize > 0 && m.cached.Load() > m.Retention.RemoteSize/spare
}
