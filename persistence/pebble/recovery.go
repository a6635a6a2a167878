package pebble

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/matrixon/matrixon/persistence"
)

// Opening distinguishes what a dying process or machine leaves behind from damage.
//
// The newest record of the write-ahead log may be torn: it was never acknowledged, so it is reported and dropped. All
// else is damage: a log that is cut or spoiled before an acknowledged position, a missing or spoiled table, a missing
// manifest. Then the store does not open, and nothing is changed, so that what is there can be saved. Pebble itself
// would in some of these cases go on and delete what it takes for obsolete; therefore the data is first opened for
// reading only and examined, and only if all is well, or the loss is accepted, for writing.

// recoverDB opens the database and gives the newest position.
func recoverDB(o Options, opts *pebble.Options) (*pebble.DB, persistence.Position, error) {
	r := &recovery{Options: o, opts: opts}
	exists, err := r.inspectFolder()
	if err != nil {
		return nil, 0, err
	}
	if exists {
		if err := r.examine(); err != nil {
			return nil, 0, err
		}
	}
	opts.DisableConsistencyCheck = len(r.lost) > 0
	db, err := pebble.Open(o.Dir, opts)
	if err != nil {
		return nil, 0, r.cannotOpen(err)
	}
	newest, err := r.settle(db)
	if err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	return db, newest, nil
}

type recovery struct {
	Options
	opts         *pebble.Options
	acknowledged persistence.Position // the least that must be found
	torn         string               // what is wrong with the end of the write-ahead log, or nothing
	lost         []tableFile          // damaged tables whose loss was accepted
}

// damage gives the error for damage, or logs it when loss is accepted.
func (r *recovery) damage(format string, args ...any) error {
	what := fmt.Errorf(format, args...)
	if r.AcceptLoss {
		r.Log.Error("acknowledged data is lost; going on without it, as configured", "folder", r.Dir, "damage", what)
		return nil
	}
	return fmt.Errorf("%w in %s: %w; nothing was changed: restore a backup, or accept the loss with --accept-loss", persistence.ErrCorrupt, r.Dir, what)
}

// inspectFolder says whether there is a database, and reads or makes the acknowledged file.
func (r *recovery) inspectFolder() (exists bool, err error) {
	names, err := r.FS.List(r.Dir)
	if err != nil {
		return false, err
	}
	desc, err := pebble.Peek(r.Dir, r.FS)
	if err != nil {
		return false, r.cannotOpen(err)
	}
	data := 0
	for _, name := range names {
		_, _, log := wal.ParseLogFilename(name)
		if log || isTable(name) {
			data++
		}
	}
	if !desc.Exists && data > 0 {
		// Pebble would begin anew and delete these files. That is no loss that anybody should accept by an option.
		return false, fmt.Errorf("%w in %s: there are %d data files, but no manifest that names them; nothing was changed: restore a backup",
			persistence.ErrCorrupt, r.Dir, data)
	}
	r.acknowledged, err = readAcknowledged(r.FS, r.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !desc.Exists:
		// The file is made before the database, so that it is missing only when somebody took it away.
		return false, createAcknowledged(r.FS, r.Dir, 0)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, persistence.ErrCorrupt):
		err = r.damage("the file %s, which tells what was acknowledged, is missing or damaged", acknowledgedName)
	case err == nil && !desc.Exists && r.acknowledged > 0:
		err = r.damage("everything is missing; position %d was acknowledged", r.acknowledged)
	}
	return desc.Exists, err
}

// examine opens the database for reading and looks for damage.
func (r *recovery) examine() error {
	logs, err := inspectLogs(r.FS, r.Dir)
	if err != nil {
		return err
	}
	if n := len(logs); n > 0 && logs[n-1].torn() {
		last := logs[n-1]
		r.Log.Warn("the newest record of the write-ahead log is torn and is dropped; it was never acknowledged unless an error follows",
			"file", last.path, "offset", last.end, "bytes", last.size-last.end)
		r.torn = fmt.Sprintf(", for the write-ahead log %s cannot be read after offset %d of %d", last.path, last.end, last.size)
	}
	db, err := r.openReadOnly()
	if err != nil && pebble.IsCorruptionError(err) {
		if bad := firstUnclean(logs); bad >= 0 {
			if err := r.damage("the write-ahead log %s is damaged at offset %d of %d, and records follow: %w",
				logs[bad].path, logs[bad].end, logs[bad].size, err); err != nil {
				return err
			}
			if err := cutLogs(r.FS, r.Dir, logs[bad:]); err != nil {
				return err
			}
			db, err = r.openReadOnly()
		}
	}
	if err != nil {
		return r.cannotOpen(err)
	}
	for {
		err := errors.Join(r.examineOpen(db), db.Close())
		var missing missingTable
		if !errors.As(err, &missing) {
			return err
		}
		path := r.FS.PathJoin(r.Dir, string(missing))
		if err := r.damage("the table file %s is missing", path); err != nil {
			return err
		}
		// Pebble does not tell about a table without a file. With an empty one it is a damaged table like others.
		if err := createEmpty(r.FS, path); err != nil {
			return err
		}
		if db, err = r.openReadOnly(); err != nil {
			return r.cannotOpen(err)
		}
	}
}

func (r *recovery) openReadOnly() (*pebble.DB, error) {
	opts := r.opts.Clone()
	opts.ReadOnly = true
	opts.DisableConsistencyCheck = true // examineOpen does it
	opts.DisableTableStats = true
	return pebble.Open(r.Dir, opts)
}

func (r *recovery) examineOpen(db *pebble.DB) error {
	damaged, err := damagedTables(db, r.FS, r.Dir, r.opts, r.VerifyBytes)
	if err != nil {
		return err
	}
	for _, t := range damaged {
		if err := r.damage("the table file %s of %d bytes, which holds %s, is missing or damaged: %w", t.path, t.size, t.holds(), t.problem); err != nil {
			return err
		}
	}
	if r.lost = damaged; len(damaged) > 0 {
		return nil
	}
	found, err := readPosition(db)
	if err != nil {
		return r.cannotOpen(err)
	}
	if found < r.acknowledged {
		return r.damage("the newest data is missing: position %d was acknowledged, but what is there ends at %d%s", r.acknowledged, found, r.torn)
	}
	return nil
}

// cannotOpen is the error for what no option can overcome.
func (r *recovery) cannotOpen(err error) error {
	return fmt.Errorf("persistence: the data in %s cannot be opened: %w", r.Dir, corruption(err))
}

// settle takes damaged tables out of the open database and fixes the position from which to go on: the largest that
// anybody was ever told.
func (r *recovery) settle(db *pebble.DB) (persistence.Position, error) {
	if err := exciseTables(db, r.lost); err != nil {
		return 0, fmt.Errorf("persistence: the damaged tables could not be removed: %w", err)
	}
	newest, err := readPosition(db)
	if err != nil {
		return 0, err
	}
	newest = max(newest, r.acknowledged)
	return newest, createAcknowledged(r.FS, r.Dir, newest)
}
