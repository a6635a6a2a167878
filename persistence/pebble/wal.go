package pebble

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// logFile is what is known about a file of the write-ahead log.
type logFile struct {
	path, name string
	number     uint64
	size       int64
	end        int64 // where its good records end
	problem    error // why reading ended there; nil at a regular end
	ours       bool  // what follows end is not blank, and not a rest of an older log whose file is used again
}

// torn says whether a record was begun that is not there.
func (l *logFile) torn() bool { return l.problem != nil && l.ours }

// inspectLogs reads all log files in the order of their numbers.
func inspectLogs(fs vfs.FS, dir string) ([]logFile, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	var logs []logFile
	for _, name := range names {
		if number, _, ok := wal.ParseLogFilename(name); ok {
			logs = append(logs, logFile{path: fs.PathJoin(dir, name), name: name, number: uint64(number)})
		}
	}
	slices.SortFunc(logs, func(a, b logFile) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	for i := range logs {
		if err := logs[i].inspect(fs); err != nil {
			return nil, fmt.Errorf("persistence: reading the write-ahead log %s: %w", logs[i].path, err)
		}
	}
	return logs, nil
}

func (l *logFile) inspect(fs vfs.FS) error {
	f, err := fs.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	l.size = info.Size()
	r := newRecordReader(record.NewReader, f, l.number)
	for {
		l.end = r.Offset()
		rec, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, record.ErrUnexpectedEOF), errors.Is(err, record.ErrInvalidChunk), errors.Is(err, record.ErrZeroedChunk):
			l.problem = err
			l.ours, err = l.begun(f)
			return err
		default:
			return err
		}
	}
}

// newRecordReader exists because the type of the log number has no public name.
func newRecordReader[N ~uint64](open func(io.Reader, N) *record.Reader, f io.Reader, number uint64) *record.Reader {
	return open(f, N(number))
}

// begun says whether a record of this log begins at its end. The header of a chunk has the log's number in bytes 7 to
// 10; in a file that was used before, older records follow the end, and in one of preallocated space zeros.
func (l *logFile) begun(f io.ReaderAt) (bool, error) {
	const numberAt, headerSize = 7, 11
	header := make([]byte, headerSize)
	n, err := f.ReadAt(header, l.end)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	header = header[:n]
	if !slices.ContainsFunc(header, func(b byte) bool { return b != 0 }) {
		return false, nil
	}
	if n < headerSize {
		return true, nil
	}
	var number uint32
	for i := range 4 {
		number |= uint32(header[numberAt+i]) << (8 * i)
	}
	// A spoiled header may have any number; one that is near ours and smaller is that of an older log.
	return number >= uint32(l.number) || number == 0, nil
}

// firstUnclean gives the index of the first log that does not end regularly, or -1.
func firstUnclean(logs []logFile) int {
	return slices.IndexFunc(logs, func(l logFile) bool { return l.problem != nil })
}

// cutLogs cuts the first log where its good records end and puts the others away, because what they have builds on
// what is lost. The files as they were are kept under names that begin with "damaged-".
func cutLogs(fs vfs.FS, dir string, logs []logFile) error {
	for i, l := range logs {
		saved := fs.PathJoin(dir, "damaged-"+l.name)
		if err := fs.Rename(l.path, saved); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		if err := copyStart(fs, saved, l.path, l.end); err != nil {
			return err
		}
	}
	return syncDir(fs, dir)
}

// copyStart copies the first n bytes of a file.
func copyStart(fs vfs.FS, from, to string, n int64) error {
	src, err := fs.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.CopyN(dst, src, n)
	return errors.Join(err, dst.Sync(), dst.Close())
}
