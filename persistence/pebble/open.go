package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/matrixon/matrixon/persistence"
)

// Options say where a store is and what it may use. Zero values mean the defaults.
type Options struct {
	// Dir is the folder; it is made when it is missing.
	Dir string
	// CacheBytes is how much of the files is kept in memory; 32 MiB by default.
	CacheBytes int64
	// MemtableBytes is how much of what was written last is kept in memory; 16 MiB by default, grown into as needed.
	MemtableBytes int64
	// MaxWaiting and MaxWaitingBytes bound the commits that wait; beyond them Submit refuses with ErrOverloaded.
	// 16384 and 64 MiB by default.
	MaxWaiting      int
	MaxWaitingBytes int
	// VerifyBytes is how much of the data is checked when the store is opened, the newest files first, because those
	// are what a dying machine damages. 64 MiB by default; negative means everything.
	VerifyBytes int64
	// AcceptLoss opens the store even when acknowledged data is damaged or missing. What is lost is logged as an error.
	AcceptLoss bool
	// Log gets warnings and errors; slog.Default() by default.
	Log *slog.Logger
	// FS is the file system; the operating system's by default.
	FS vfs.FS
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = 16 << 20
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 16384
	}
	if o.MaxWaitingBytes == 0 {
		o.MaxWaitingBytes = 64 << 20
	}
	if o.VerifyBytes == 0 {
		o.VerifyBytes = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return o
}

// memtablesAtMost is how many memtables take their memory out of Pebble's cache: one that is written, one on its way to a file, and one
// that waits to be used again. Without room for them there would be none for what was read.
const memtablesAtMost = 3

// pebbleOptions configures Pebble; the caller owns the cache, and must Unref it.
func (o Options) pebbleOptions(l *logger) *pebble.Options {
	opts := &pebble.Options{
		FS:                    o.FS,
		Logger:                l,
		EventListener:         l.events(),
		FormatMajorVersion:    pebble.FormatNewest,
		Cache:                 pebble.NewCache(o.CacheBytes + memtablesAtMost*o.MemtableBytes),
		MemTableSize:          uint64(o.MemtableBytes),
		L0CompactionThreshold: 2,
		L0StopWritesThreshold: 64,
		LBaseMaxBytes:         64 << 20,
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}

// Open opens the store, or makes it. Damage to acknowledged data is ErrCorrupt, unless Options.AcceptLoss is set.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	if err := refuseUnfinished(o); err != nil {
		return nil, err
	}
	if err := errors.Join(o.FS.MkdirAll(o.Dir, 0o700), syncDir(o.FS, o.FS.PathDir(o.Dir))); err != nil {
		return nil, fmt.Errorf("persistence: %w", err)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("persistence: the data in %s is in use, probably by another running server: %w", o.Dir, err)
	}
	s, err := openApart(o, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// openApart opens on a goroutine of its own, because a fatal error of Pebble ends the goroutine.
func openApart(o Options, lock *pebble.Lock) (*Store, error) {
	var s *Store
	l := &logger{log: o.Log}
	err := errors.New("persistence: opening ended in Pebble")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("persistence: panic in Pebble: %v\n%s", p, debug.Stack())
			}
		}()
		s, err = open(o, lock, l)
	}()
	<-ended
	if s != nil {
		return s, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, errors.Join(err, l.early)
}

func open(o Options, lock *pebble.Lock, l *logger) (*Store, error) {
	opts := o.pebbleOptions(l)
	defer opts.Cache.Unref()
	opts.Lock = lock
	db, newest, err := recoverDB(o, opts)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, fs: o.FS, lock: lock, log: o.Log, newest: newest,
		committed: make(chan struct{}), failed: make(chan struct{}),
		maxWaiting: o.MaxWaiting, maxBytes: o.MaxWaitingBytes,
	}
	s.work = sync.NewCond(&s.mu)
	s.position.Set(uint64(newest))
	s.visible.Store(uint64(newest))
	if s.tables, err = declareTables(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if s.acknowledged, err = openAcknowledged(o.FS, o.Dir); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.view = newView(db)
	l.attach(s.fail)
	go s.commitLoop()
	return s, nil
}

// readPosition gives the newest position that the database has.
func readPosition(r pebble.Reader) (persistence.Position, error) {
	var newest persistence.Position
	err := get(r, positionKey, func(value []byte) (err error) {
		newest, err = decodePosition(value)
		return err
	})
	return newest, err
}
