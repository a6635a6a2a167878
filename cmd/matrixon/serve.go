package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/cmd/matrixon/server"
)

type serveCommand struct {
	configFlags
	AcceptLoss bool `help:"Start even though acknowledged data is damaged or missing; what is lost is logged."`
}

// Run serves until ctx ends.
func (c serveCommand) Run(ctx context.Context, m *Main) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from the start, since the signal would end the process while nobody waits for it
	defer signal.Stop(reload)
	conf, file, err := c.load(m)
	if err != nil {
		return err
	}
	var level slog.LevelVar
	log := logger(m.Stderr, conf.Logging, &level)
	log.Info("starting", "version", buildInfo().Version, "config", file, "server_name", conf.ServerName, "data_dir", conf.DataDir)
	s, err := server.Open(conf, server.Options{Version: buildInfo().Version, Log: log, AcceptLoss: c.AcceptLoss})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return errors.Join(err, s.Close())
	}
	if os.Getenv("GOGC") == "" {
		go collectSeldom(ctx)
	}
	debug.FreeOSMemory() // starting up takes memory that serving does not
	failed := make(chan error, 1)
	go func() { failed <- s.Serve() }()
serving:
	for {
		select {
		case err = <-failed:
			break serving
		case err = <-s.Failed():
			log.Error("this node cannot go on", "error", err)
			break serving
		case <-ctx.Done():
			log.Info("shutting down")
			break serving
		case <-reload:
			if err := c.reload(ctx, m, s, &level); err != nil {
				log.Error("the configuration stays as it was", "error", err)
			}
		}
	}
	if err = errors.Join(err, s.Close()); err == nil {
		log.Info("stopped")
	}
	return err
}

// reloadTimeout bounds how long the store and the directory of nodes may take to accept a new configuration.
const reloadTimeout = 30 * time.Second

// reload reads the configuration again, where it was read from. A wrong one changes nothing.
func (c serveCommand) reload(ctx context.Context, m *Main, s *server.Server, level *slog.LevelVar) error {
	conf, _, err := c.load(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	if err := s.Reload(ctx, conf); err != nil {
		return err
	}
	setLevel(level, conf.Logging)
	return nil
}

func setLevel(level *slog.LevelVar, c config.Logging) {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level.Set(slog.LevelInfo) // Load has checked it
	}
}

// logger makes the logger that the configuration asks for; level is its level from then on.
func logger(w io.Writer, c config.Logging, level *slog.LevelVar) *slog.Logger {
	setLevel(level, c)
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
