package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/cmd/matrixon/server"
	"github.com/matrixon/matrixon/http/admin"
)

// doer carries out a request to the operator's interface.
type doer func(*http.Request) (*http.Response, error)

// operate reaches the server through its socket; when none runs, it opens the data itself for as long as it takes.
func (f configFlags) operate(ctx context.Context, m *Main, do func(doer) error) error {
	conf, _, err := f.load(m)
	if err != nil {
		return err
	}
	client, dial := socketClient(conf)
	defer client.CloseIdleConnections()
	if conn, err := dial(ctx, "", ""); err == nil {
		return errors.Join(conn.Close(), do(client.Do))
	} else if errors.Is(err, fs.ErrPermission) {
		return notAllowed(conf)
	}
	quiet := slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := server.Open(conf, server.Options{Version: buildInfo().Version, Log: quiet})
	if err != nil {
		return err
	}
	if err = s.ListenSocket(); err == nil {
		err = do(client.Do)
	}
	return errors.Join(err, s.Close())
}

// errNotRunning says that a command is about what a server does, and none does anything.
var errNotRunning = errors.New("no server runs on this data folder")

// notAllowed tells who can use the command.
func notAllowed(c *config.Config) error {
	return fmt.Errorf("you may not use the data folder %s: run this as the user as whom the server runs, such as with sudo -u", c.DataDir)
}

// running is operate for commands that make sense only while the server runs.
func (f configFlags) running(ctx context.Context, m *Main, do func(doer) error) error {
	conf, _, err := f.load(m)
	if err != nil {
		return err
	}
	client, dial := socketClient(conf)
	defer client.CloseIdleConnections()
	conn, err := dial(ctx, "", "")
	switch {
	case errors.Is(err, fs.ErrPermission):
		return notAllowed(conf)
	case err != nil:
		return fmt.Errorf("%w, %s: start it, or name its configuration with --config", errNotRunning, conf.DataDir)
	}
	return errors.Join(conn.Close(), do(client.Do))
}

// dialer opens a connection to the server's socket, whatever address it is given.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// socketClient speaks to the server that uses the data folder.
func socketClient(c *config.Config) (*http.Client, dialer) {
	path := server.SocketPath(c.DataDir)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}}, dial
}

// ask sends a request and reads the answer, or the error.
func ask(ctx context.Context, do doer, method, path string, body, answer any) error {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://admin"+admin.Base+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return json.UnmarshalRead(resp.Body, answer)
	}
	return refusal(resp)
}

// refusal is the error in an answer.
func refusal(resp *http.Response) error {
	var refused struct {
		Error string `json:"error"`
	}
	if err := json.UnmarshalRead(resp.Body, &refused); err != nil {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return errors.New(refused.Error)
}
