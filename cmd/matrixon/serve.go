package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/cmd/matrixon/server"
)

type serveCommand struct {
	configFlags
	AcceptLoss bool `help:"Start even though acknowledged data is damaged or missing; what is lost is logged."`
}

// Run serves until ctx ends.
func (c serveCommand) Run(ctx context.Context, m *Main) error {
	conf, file, err := c.load(m)
	if err != nil {
		return err
	}
	log := logger(m.Stderr, conf.Logging)
	log.Info("starting", "version", buildInfo().Version, "config", file, "server_name", conf.ServerName, "data_dir", conf.DataDir)
	s, err := server.Open(conf, server.Options{Version: buildInfo().Version, Log: log, AcceptLoss: c.AcceptLoss})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return errors.Join(err, s.Close())
	}
	debug.FreeOSMemory() // starting up takes memory that serving does not
	failed := make(chan error, 1)
	go func() { failed <- s.Serve() }()
	select {
	case err = <-failed:
	case err = <-s.Failed():
		log.Error("this node cannot go on", "error", err)
	case <-ctx.Done():
		log.Info("shutting down")
	}
	if err = errors.Join(err, s.Close()); err == nil {
		log.Info("stopped")
	}
	return err
}

// logger makes the logger that the configuration asks for.
func logger(w io.Writer, c config.Logging) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Load has checked it
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
