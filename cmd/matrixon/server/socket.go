package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/matrixon/matrixon/docs"
	"github.com/matrixon/matrixon/http/admin"
)

// socketName is the Unix socket in data_dir through which the command line reaches the running server. Only the owner of the folder
// can open it, so it asks for no token.
const socketName = "admin.sock"

// SocketPath is where a server with this data folder listens for its operator.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, socketName) }

// ListenSocket serves the operator's interface on the socket. One that a killed server left behind is replaced; the lock of the store
// has made sure by now that no other server uses the folder.
func (s *Server) ListenSocket() error {
	path := SocketPath(s.config.DataDir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("administration socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("administration socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	s.socket = &http.Server{Handler: admin.Socket(s.adminDeps(), s.log), ReadHeaderTimeout: 10 * time.Second}
	go s.socket.Serve(ln) //nolint:errcheck // it ends with Close
	return nil
}

// adminDeps are what the operator's interface needs.
func (s *Server) adminDeps() admin.Deps {
	return admin.Deps{ServerName: s.config.ServerName, Store: s.store, Node: s.node, Passwords: s.hasher, Sessions: s.tokens, Rebalance: s.rebalance, Media: s.media, Registrations: s.registrations, Federates: s.federation != nil,
		Keys: signingKeys{s}, Notify: s.notify, Backup: s.backup, Log: s.log, Description: docs.AdminAPI}
}

func (s *Server) closeSocket(ctx context.Context) error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Shutdown(ctx)
}
