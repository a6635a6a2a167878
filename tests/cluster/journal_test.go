package cluster

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// checkJournals reads the journals of all rooms as they lie in Postgres: no gap, positions that never decrease, and never
// two writers at once, which is that the epochs of those who wrote never decrease.
func (f *fleet) checkJournals(ctx context.Context) {
	f.t.Helper()
	db, err := pgx.Connect(ctx, f.postgres.URL(f.postgres.Address, "matrixon"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is written
	rows, err := db.Query(ctx, `SELECT e.room_id, e.seq, e.pos, i.epoch FROM events e JOIN event_ids i USING (room_id, event_id) ORDER BY e.room_id, e.seq`)
	if err != nil {
		f.t.Fatal(err)
	}
	type line struct {
		room            string
		seq, pos, epoch int64
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (line, error) {
		var l line
		return l, row.Scan(&l.room, &l.seq, &l.pos, &l.epoch)
	})
	if err != nil {
		f.t.Fatal(err)
	}
	writers, last := 0, line{}
	for _, l := range lines {
		switch {
		case l.room != last.room:
			last = line{room: l.room}
			if l.seq != 1 {
				f.t.Errorf("the journal of %s starts with %d", l.room, l.seq)
			}
		case l.seq != last.seq+1:
			f.t.Errorf("the journal of %s has %d after %d", l.room, l.seq, last.seq)
		}
		if l.pos < last.pos || l.epoch < last.epoch {
			f.t.Errorf("in %s, event %d was written at %d by epoch %d, after one at %d by epoch %d", l.room, l.seq, l.pos, l.epoch, last.pos, last.epoch)
		}
		if l.epoch != last.epoch {
			writers++
		}
		last = l
	}
	f.t.Logf("%d events, by %d activations one after the other", len(lines), writers)
}
