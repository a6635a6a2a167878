package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/matrixon/matrixon/persistence"
)

// acknowledged is the file that holds the newest acknowledged position, apart from Pebble's files. It is written after
// each synced batch and before its fates are told, but synced only now and then: the kernel keeps what was written when
// the process is killed, and when the machine dies an older position does no harm, for it is only a lower bound of what
// must be found at the next start.
//
// The file has two slots, written in turn, so that a torn write leaves the other. A slot is a word that names the
// format, the position, and the CRC-32C of both.
type acknowledged struct {
	file   vfs.File
	slot   int
	synced time.Time
}

const (
	acknowledgedName = "ACKNOWLEDGED"
	slotMagic        = "mxack001"
	slotSize         = 20
	slotDistance     = 4096 // slots stand in different sectors and pages
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// createAcknowledged makes the file, durably, with the given position.
func createAcknowledged(fs vfs.FS, dir string, p persistence.Position) error {
	name := fs.PathJoin(dir, acknowledgedName)
	temporary := name + ".new"
	f, err := fs.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	content := make([]byte, slotDistance, slotDistance+slotSize)
	encodeSlot(content, p)
	content = append(content, content[:slotSize]...)
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temporary, name); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func openAcknowledged(fs vfs.FS, dir string) (*acknowledged, error) {
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, acknowledgedName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &acknowledged{file: f, synced: time.Now()}, nil
}

// readAcknowledged gives the position in the file. A file without a valid slot is ErrCorrupt.
func readAcknowledged(fs vfs.FS, dir string) (persistence.Position, error) {
	f, err := fs.Open(fs.PathJoin(dir, acknowledgedName))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var newest persistence.Position
	valid := false
	for slot := range 2 {
		var b [slotSize]byte
		if _, err := f.ReadAt(b[:], int64(slot*slotDistance)); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if p, ok := decodeSlot(b[:]); ok {
			newest, valid = max(newest, p), true
		}
	}
	if !valid {
		return 0, fmt.Errorf("%w: the file %s has no valid position", persistence.ErrCorrupt, acknowledgedName)
	}
	return newest, nil
}

func encodeSlot(b []byte, p persistence.Position) {
	copy(b, slotMagic)
	binary.BigEndian.PutUint64(b[8:], uint64(p))
	binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
}

func decodeSlot(b []byte) (persistence.Position, bool) {
	if string(b[:8]) != slotMagic || crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
		return 0, false
	}
	return persistence.Position(binary.BigEndian.Uint64(b[8:])), true
}

// note records that everything up to p is about to be acknowledged.
func (a *acknowledged) note(p persistence.Position) error {
	var b [slotSize]byte
	encodeSlot(b[:], p)
	a.slot = 1 - a.slot
	_, err := a.file.WriteAt(b[:], int64(a.slot*slotDistance))
	return err
}

// syncIfOlder syncs the file if that has not been done for longer than age.
func (a *acknowledged) syncIfOlder(age time.Duration) error {
	if time.Since(a.synced) < age {
		return nil
	}
	a.synced = time.Now()
	return a.file.SyncData()
}

func (a *acknowledged) close() error {
	return errors.Join(a.file.SyncData(), a.file.Close())
}
