package pebble

import (
	"bytes"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/matrixon/matrixon/persistence"
)

// Heads implements persistence.Source.
func (s *Store) Heads(ctx context.Context, yield func(persistence.Head) bool) error {
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	it, err := v.snapshot.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{headSpace}, UpperBound: []byte{headSpace + 1}})
	if err != nil {
		return corruption(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return corruption(err)
		}
		at, err := decodeHead(value)
		if err != nil {
			return err
		}
		kind, id, _ := bytes.Cut(it.Key()[1:], []byte{0})
		h := persistence.Head{Stream: persistence.Stream{Kind: string(kind), ID: string(id)}, Epoch: at.epoch, Seq: at.seq}
		err = get(v.snapshot, appendStreamKey(nil, snapshotSpace, h.Stream), func(value []byte) (err error) {
			h.SnapshotSeq, h.Snapshot, err = decodeSnapshot(value)
			return err
		})
		if err != nil {
			return err
		}
		if !yield(h) {
			return nil
		}
	}
	return corruption(it.Error())
}
