package pebble

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/matrixon/matrixon/persistence"
)

// All data stands in one key space. The first byte of a key says what it is:
//
//	01 "position"         the newest position, and how many the batch that wrote it used
//	01 "table" name       a table's id and columns
//	02 kind 00 id         the head of a stream: epoch and sequence number
//	03 kind 00 id         the snapshot of a stream, after the sequence number at which it was taken
//	10 table-id key       a row
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

// span is what the position record of a batch holds: its newest position and how many it used.
type span struct {
	last  persistence.Position
	count uint64
}

func (s span) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.last))
	return binary.BigEndian.AppendUint64(dst, s.count)
}

func decodeSpan(b []byte) (span, error) {
	if len(b) != 16 {
		return span{}, fmt.Errorf("%w: the position has %d bytes", persistence.ErrCorrupt, len(b))
	}
	return span{persistence.Position(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}, nil
}

// tableIDs gives every declared table its prefix. An id belongs to a table's name for ever. Tables that are new, or have
// new columns at the end, are recorded; a table whose stored columns are others than the declared is an error, because
// its rows would be misread.
func tableIDs(db *pebble.DB) (map[*persistence.Schema][]byte, error) {
	stored, next, err := storedTables(db)
	if err != nil {
		return nil, err
	}
	batch := db.NewBatch()
	defer batch.Close()
	prefixes := make(map[*persistence.Schema][]byte)
	for _, s := range persistence.All() {
		columns := describe(s)
		old, known := stored[s.Name()]
		if !known {
			old.id = next
			next++
		}
		if len(old.columns) > len(columns) || !slices.Equal(old.columns, columns[:len(old.columns)]) ||
			known && len(old.columns) < s.Keys() {
			return nil, fmt.Errorf("persistence: table %s was written with columns %v, but this version has %v; was the data written by a newer version?",
				s.Name(), old.columns, columns)
		}
		if len(old.columns) < len(columns) {
			record := tableRecord{id: old.id, columns: columns}
			if err := batch.Set(tableKey(s.Name()), record.append(nil), nil); err != nil {
				return nil, err
			}
		}
		prefixes[s] = binary.BigEndian.AppendUint16([]byte{rowSpace}, old.id)
	}
	if next > maxTables {
		return nil, fmt.Errorf("persistence: more than %d tables", maxTables)
	}
	if batch.Empty() {
		return prefixes, nil
	}
	return prefixes, batch.Commit(pebble.Sync)
}

// maxTables keeps the successor of a table's prefix in the row space.
const maxTables = 1<<16 - 2

type tableRecord struct {
	id      uint16
	columns []string
}

// describe gives what must not change about each column.
func describe(s *persistence.Schema) []string {
	var all []string
	for i, c := range s.Columns() {
		d := c.Name + " " + c.Type.String()
		if i < s.Keys() {
			d += " key"
		}
		if c.Position {
			d += " position"
		}
		all = append(all, d)
	}
	return all
}

func (t tableRecord) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, t.id)
	for _, c := range t.columns {
		dst = append(dst, c...)
		dst = append(dst, 0)
	}
	return dst
}

func decodeTableRecord(b []byte) (tableRecord, error) {
	if len(b) < 3 || b[len(b)-1] != 0 {
		return tableRecord{}, fmt.Errorf("%w: the record of a table is cut short", persistence.ErrCorrupt)
	}
	t := tableRecord{id: binary.BigEndian.Uint16(b)}
	from := 2
	for i := 2; i < len(b); i++ {
		if b[i] == 0 {
			t.columns = append(t.columns, string(b[from:i]))
			from = i + 1
		}
	}
	return t, nil
}

// storedTables reads the records of all tables that were ever declared, and the id for the next one.
func storedTables(r pebble.Reader) (map[string]tableRecord, uint16, error) {
	lower := tableKey("")
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: []byte("\x01tablf")})
	if err != nil {
		return nil, 0, corruption(err)
	}
	defer it.Close()
	stored := make(map[string]tableRecord)
	var next uint16
	for ok := it.First(); ok; ok = it.Next() {
		record, err := decodeTableRecord(it.Value())
		if err != nil {
			return nil, 0, err
		}
		stored[string(it.Key()[len(lower):])] = record
		next = max(next, record.id+1)
	}
	return stored, next, corruption(it.Error())
}
