package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/matrixon/matrixon/persistence"
)

// tableFile is a sorted table of Pebble: a file, and the keys that the database expects in it.
type tableFile struct {
	number            uint64
	path              string
	size              uint64
	smallest, largest []byte
	problem           error
}

func isTable(name string) bool { return strings.HasSuffix(name, ".sst") }

// missingTable is the error that a table has no file; it is the name of that file.
type missingTable string

func (m missingTable) Error() string { return "the file " + string(m) + " is missing" }

var unknownTable = regexp.MustCompile(`file (\d{6,}) \(type sstable\)`)

// asMissingTable finds the name in Pebble's error, which has it in its text only.
func asMissingTable(err error) error {
	if m := unknownTable.FindStringSubmatch(err.Error()); m != nil && errors.Is(err, fs.ErrNotExist) {
		return missingTable(m[1] + ".sst")
	}
	return corruption(err)
}

func createEmpty(fs vfs.FS, path string) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// damagedTables looks at all table files, and reads the newest completely, up to limit bytes (all when negative).
func damagedTables(db *pebble.DB, disk vfs.FS, dir string, opts *pebble.Options, limit int64) ([]tableFile, error) {
	levels, err := db.SSTables()
	if err != nil {
		return nil, asMissingTable(err)
	}
	var tables []tableFile
	for _, level := range levels {
		for _, t := range level {
			file := tableFile{
				number: uint64(t.BackingSSTNum), size: t.Size,
				path:     disk.PathJoin(dir, fmt.Sprintf("%06d.sst", uint64(t.BackingSSTNum))),
				smallest: bytes.Clone(t.Smallest.UserKey), largest: bytes.Clone(t.Largest.UserKey),
			}
			if t.Virtual {
				file.size = 0 // it is a part of its file
			}
			tables = append(tables, file)
		}
	}
	slices.SortFunc(tables, func(a, b tableFile) int { return cmp.Compare(b.number, a.number) })
	if limit < 0 {
		limit = math.MaxInt64
	}
	var damaged []tableFile
	for _, t := range tables {
		if t.problem = t.check(disk, opts, &limit); t.problem != nil {
			damaged = append(damaged, t)
		}
	}
	return damaged, nil
}

// check looks whether the file is there in its size, and verifies all checksums if that does not exceed what is left of
// the limit.
func (t *tableFile) check(fs vfs.FS, opts *pebble.Options, limit *int64) error {
	info, err := fs.Stat(t.path)
	if err != nil {
		return err
	}
	if t.size != 0 && info.Size() != int64(t.size) {
		return fmt.Errorf("it has %d bytes", info.Size())
	}
	if info.Size() > *limit {
		*limit = 0
		return nil
	}
	*limit -= info.Size()
	f, err := fs.Open(t.path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return err
	}
	r, err := sstable.NewReader(context.Background(), readable, opts.MakeReaderOptions())
	if err != nil {
		_ = readable.Close() // it was only read
		return err
	}
	defer r.Close()
	return r.ValidateBlockChecksums()
}

// holds describes the rows of the file to an operator.
func (t *tableFile) holds() string {
	return fmt.Sprintf("rows from %s to %s", describeKey(t.smallest), describeKey(t.largest))
}

func describeKey(key []byte) string {
	if len(key) > 0 {
		switch key[0] {
		case metaSpace:
			return "the list of tables"
		case headSpace:
			return "the heads of streams"
		case snapshotSpace:
			return "snapshots"
		}
	}
	for _, s := range persistence.All() {
		if bytes.HasPrefix(key, tablePrefix(s.Name())) {
			return "table " + s.Name()
		}
	}
	return fmt.Sprintf("key %q", key)
}

// exciseTables removes the key ranges of the tables from the database without reading the files.
func exciseTables(db *pebble.DB, tables []tableFile) error {
	slices.SortFunc(tables, func(a, b tableFile) int { return bytes.Compare(a.smallest, b.smallest) })
	for i := 0; i < len(tables); {
		end := tables[i].largest
		next := i + 1
		for next < len(tables) && bytes.Compare(tables[next].smallest, end) <= 0 {
			if bytes.Compare(tables[next].largest, end) > 0 {
				end = tables[next].largest
			}
			next++
		}
		span := pebble.KeyRange{Start: tables[i].smallest, End: append(bytes.Clone(end), 0)}
		if err := db.Excise(context.Background(), span); err != nil {
			return err
		}
		i = next
	}
	return nil
}
