package pebble

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/matrixon/matrixon/persistence"
)

// All data stands in one key space. The first byte of a key says what it is:
//
//	01 "position"         the newest position
//	01 "table" name       a table's columns
//	01 "copy" part        of a store that was copied: how far that is, and from where; see Target
//	02 kind 00 id         the head of a stream: epoch and sequence number
//	03 kind 00 id         the snapshot of a stream, after the sequence number at which it was taken
//	10 table key          a row; see tablePrefix
const (
	metaSpace     = 0x01
	headSpace     = 0x02
	snapshotSpace = 0x03
	rowSpace      = 0x10
)

var positionKey = []byte("\x01position")

func tableKey(name string) []byte { return append([]byte("\x01table"), name...) }

// appendStreamKey needs a kind without zero bytes; see checkStream.
func appendStreamKey(dst []byte, space byte, s persistence.Stream) []byte {
	dst = append(dst, space)
	dst = append(dst, s.Kind...)
	dst = append(dst, 0)
	return append(dst, s.ID...)
}

// checkStream refuses names that would collide: kinds are the program's own words.
func checkStream(s persistence.Stream) error {
	if s.Kind == "" || slices.Contains([]byte(s.Kind), 0) {
		return fmt.Errorf("persistence: stream kind %q is empty or contains a zero byte", s.Kind)
	}
	return nil
}

// head is where a stream is.
type head struct {
	epoch persistence.Epoch
	seq   uint64
}

func (h head) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.epoch))
	return binary.BigEndian.AppendUint64(dst, h.seq)
}

func decodeHead(b []byte) (head, error) {
	if len(b) != 16 {
		return head{}, fmt.Errorf("%w: the head of a stream has %d bytes", persistence.ErrCorrupt, len(b))
	}
	return head{persistence.Epoch(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}, nil
}

func decodePosition(b []byte) (persistence.Position, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: the position has %d bytes", persistence.ErrCorrupt, len(b))
	}
	return persistence.Position(binary.BigEndian.Uint64(b)), nil
}

// tablePrefix is what the keys of a table begin with. It follows from the name alone, so that rows never change their
// table, even if the records of the tables are lost.
func tablePrefix(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return append([]byte{rowSpace}, sum[:4]...)
}

// declareTables gives every declared table its prefix. Tables that are new, or have new columns at the end, are
// recorded; a table whose recorded columns are others than the declared is an error, because its rows would be misread.
func declareTables(db *pebble.DB) (map[*persistence.Schema][]byte, error) {
	stored, err := storedTables(db)
	if err != nil {
		return nil, err
	}
	batch := db.NewBatch()
	defer batch.Close()
	prefixes := make(map[*persistence.Schema][]byte)
	owners := make(map[string]string)
	for _, s := range persistence.All() {
		prefix := tablePrefix(s.Name())
		if other, taken := owners[string(prefix)]; taken {
			return nil, fmt.Errorf("persistence: the tables %s and %s have the same prefix: one needs another name", other, s.Name())
		}
		owners[string(prefix)] = s.Name()
		prefixes[s] = prefix
		columns := describe(s)
		old, known := stored[s.Name()]
		if known && !extends(columns, old, s.Keys()) {
			return nil, fmt.Errorf("persistence: table %s was written with the columns %q, but this version has %q; was the data written by a newer version?",
				s.Name(), old, columns)
		}
		if len(old) < len(columns) {
			if err := batch.Set(tableKey(s.Name()), encodeColumns(columns), nil); err != nil {
				return nil, err
			}
		}
	}
	if batch.Empty() {
		return prefixes, nil
	}
	return prefixes, batch.Commit(pebble.Sync)
}

// extends says whether the columns are the old ones and perhaps more at the end, outside the key.
func extends(columns, old []string, keys int) bool {
	return len(old) >= keys && len(old) <= len(columns) && slices.Equal(old, columns[:len(old)])
}

// describe gives what must not change about each column.
func describe(s *persistence.Schema) []string {
	var all []string
	for _, c := range s.Columns() {
		d := c.Name + " " + c.Type.String()
		if c.Key {
			d += " key"
		}
		if c.Position {
			d += " position"
		}
		all = append(all, d)
	}
	return all
}

func encodeColumns(columns []string) []byte { return []byte(strings.Join(columns, "\x00")) }

// storedTables reads the columns of all tables that were ever declared.
func storedTables(r pebble.Reader) (map[string][]string, error) {
	lower := tableKey("")
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: []byte("\x01tablf")})
	if err != nil {
		return nil, corruption(err)
	}
	stored := make(map[string][]string)
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, errors.Join(corruption(err), it.Close())
		}
		stored[string(it.Key()[len(lower):])] = strings.Split(string(value), "\x00")
	}
	return stored, corruption(it.Close())
}
