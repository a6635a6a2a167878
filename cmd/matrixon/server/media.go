package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/http/media/picture"
	"github.com/matrixon/matrixon/http/media/preview"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs"
	"github.com/matrixon/matrixon/persistence/blobs/bucket"
	"github.com/matrixon/matrixon/persistence/blobs/database"
	"github.com/matrixon/matrixon/persistence/blobs/folder"
)

// openMedia opens where files are kept.
func openMedia(ctx context.Context, c *config.Config, kind string, rows persistence.Store) (blobs.Store, error) {
	switch kind {
	case config.MediaFile:
		s, err := folder.Open(c.MediaFolder())
		if err != nil {
			return nil, fmt.Errorf("media.path: %w", err)
		}
		return s, nil
	case config.MediaS3:
		o := c.Media.S3
		s, err := bucket.Open(ctx, bucket.Options{Endpoint: o.Endpoint, Region: o.Region, Bucket: o.Bucket, Prefix: o.Prefix,
			AccessKey: o.AccessKey, SecretKey: o.SecretKey.Reveal()})
		if err != nil {
			return nil, fmt.Errorf("media.s3: %w", err)
		}
		return s, nil
	default:
		return database.New(rows, time.Now), nil
	}
}

// startMedia makes the content repository.
func (s *Server) startMedia(ctx context.Context) error {
	store, err := openMedia(ctx, s.config, s.config.MediaStore(), s.store)
	if err != nil {
		return err
	}
	id, err := media.Bind(ctx, s.store, store)
	if err != nil {
		return fmt.Errorf("media.store: %w", err)
	}
	c := s.config.Media
	var pages *preview.Fetcher
	if c.Previews.Enabled {
		pages = preview.NewFetcher(outbound.Policy{AllowNetworks: c.Previews.AllowNetworks, UserAgent: "Matrixon/" + s.version + " (preview bot)"})
	}
	o := media.Options{
		ServerName: s.config.ServerName, Rows: s.store, Blobs: store, StoreID: id, Caller: s.node, Now: time.Now, Log: s.log,
		MaxUpload: int64(c.MaxUpload), MaxRemote: int64(c.MaxRemote), QuotaFiles: int64(c.Quota.Files), QuotaBytes: int64(c.Quota.Size),
		MostPending: int64(c.Pending.Most), PendingLifetime: time.Duration(c.Pending.Lifetime),
		Pictures: picture.NewWorkshop(picture.Limits{MaxPixels: int64(c.Thumbnails.MaxPixels), Memory: int64(c.Thumbnails.Memory), Workers: c.Thumbnails.Workers}),
		Pages:    pages, PreviewLifetime: time.Duration(c.Previews.Lifetime),
		Retention: media.Retention{Local: time.Duration(c.Retention.Local), Remote: time.Duration(c.Retention.Remote), RemoteSize: int64(c.Retention.RemoteSize)},
		Public:    c.Unauthenticated, Redirect: c.S3.Redirect,
	}
	for _, p := range s.config.SSO.Providers {
		if p.Icon != "" {
			o.Icons = append(o.Icons, p.Icon)
		}
	}
	if s.origin != nil {
		o.Remote = s.origin
	}
	s.media = media.New(o)
	return nil
}

// The pace of the work on media: writing down what was fetched, and deleting what has expired or is left over.
const (
	mediaFlush      = time.Minute
	mediaSweepFirst = 15 * time.Minute // after the start
	mediaSweep      = 6 * time.Hour
)

// tendMedia does the background work of the content repository.
func (s *Server) tendMedia(ctx context.Context) {
	flush, sweep := time.NewTicker(mediaFlush), time.NewTimer(mediaSweepFirst)
	defer flush.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			s.flushMedia(ctx)
			if !s.media.Grown() {
				continue
			}
			if err := s.media.SweepRemote(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("media of other servers could not be deleted", "error", err)
			}
		case <-sweep.C:
			sweep.Reset(mediaSweep)
			if s.node.Owner(sweeper) != s.node.Name() {
				continue
			}
			if err := s.media.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("old media could not be deleted", "error", err)
			}
		}
	}
}

func (s *Server) flushMedia(ctx context.Context) {
	if err := s.media.Flush(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("it could not be written down which media is in use", "error", err)
	}
}

// MoveMedia copies all files from one of the configured stores into another, to which they then belong. The data is opened for
// it: beside Pebble no server may run; in a cluster nodes may, which take no files from then on until they are
// started with the new store.
func MoveMedia(ctx context.Context, c *config.Config, o Options, from, to string, report func(media.Progress)) error {
	s := &Server{config: c, version: o.Version, log: o.Log, metrics: prometheus.NewRegistry()}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	var err error
	if s.store, err = s.openStore(o.AcceptLoss); err != nil {
		return err
	}
	source, err := openMedia(ctx, c, from, s.store)
	var target blobs.Store
	if err == nil {
		target, err = openMedia(ctx, c, to, s.store)
	}
	if err == nil {
		err = media.Move(ctx, s.store, source, target, report)
	}
	err = errors.Join(err, s.searcher.Close(), s.store.Close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
