package pebble

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/matrixon/matrixon/persistence"
)

func recoverDB(o Options, opts *pebble.Options) (*pebble.DB, persistence.Position, error) {
	db, err := pebble.Open(o.Dir, opts)
	if err != nil {
		return nil, 0, corruption(err)
	}
	p, err := readPosition(db)
	if err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	return db, p, createAcknowledged(o.FS, o.Dir, p)
}
