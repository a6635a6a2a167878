package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/bleve"
	"github.com/matrixon/matrixon/persistence/pebble"
	"github.com/matrixon/matrixon/persistence/postgres"
)

// openTimeout is how long a database may take to be reached and migrated.
const openTimeout = 10 * time.Minute

// PebbleFolder is where the embedded storage is, in data_dir.
const PebbleFolder = "pebble"

// openStore opens the configured storage. The data folder belongs to one process: Pebble locks it itself, beside Postgres
// it is locked here, for the sake of the operator's socket.
func (s *Server) openStore(acceptLoss bool) (persistence.Store, error) {
	c := s.config
	if c.Storage == config.Pebble {
		return s.openPebble(acceptLoss)
	}
	lock, err := os.OpenFile(filepath.Join(c.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("data_dir: another server uses %s", c.DataDir)
	}
	s.lock = lock // it ends with the process, or with Close
	name, err := s.nodeName()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	var replicas []string
	for _, url := range c.Replicas {
		replicas = append(replicas, url.Reveal())
	}
	store, err := postgres.Open(ctx, postgres.Options{URL: c.Storage.Reveal(), Node: name, Log: s.log, Lost: s.fail, Replicas: replicas})
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	s.searcher = store.Search()
	s.databaseMetrics(store)
	return store, nil
}

// databaseMetrics show how this node sees the database.
func (s *Server) databaseMetrics(store *postgres.Store) {
	gauge := func(name, help string, f func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "matrixon", Subsystem: "database", Name: name, Help: help}, f)
	}
	s.metrics.MustRegister(
		gauge("reachable", "Whether the database answered when it was last asked.", func() float64 {
			if store.Reachable() {
				return 1
			}
			return 0
		}),
		gauge("replicas", "Replicas of the database that are configured.", func() float64 {
			all, _ := store.Replicas()
			return float64(all)
		}),
		gauge("replicas_used", "Replicas of the database that answer and are near enough to be used.", func() float64 {
			_, used := store.Replicas()
			return float64(used)
		}),
	)
}

// openPebble opens the embedded storage, and the search index beside it.
func (s *Server) openPebble(acceptLoss bool) (persistence.Store, error) {
	c := s.config
	store, err := pebble.Open(pebble.Options{
		Dir: filepath.Join(c.DataDir, PebbleFolder), CacheBytes: int64(c.Pebble.Cache), MemtableBytes: int64(c.Pebble.Memtable),
		AcceptLoss: acceptLoss, Log: s.log})
	if err != nil {
		return nil, err
	}
	// The store's lock of the folder protects the index too.
	if s.searcher, err = bleve.Open(filepath.Join(c.DataDir, "search"), s.log); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}
