package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Listener is an address and what is served there.
type Listener struct {
	Address string // host:port
	Serves  []Part
	// Certificate and Key are PEM files; without them the listener speaks plain HTTP. They are read again when they change, within a minute, or
	// with Server.Renew.
	Certificate, Key string
}

// Server serves an API on several listeners.
type Server struct {
	api     *API
	log     *slog.Logger
	servers []*http.Server
	nets    []net.Listener
	files   []*certificateFiles
	// connections bounds those of all listeners.
	connections *connections
}

// The bounds of connections. Answers have their own deadlines, because long polls take as long as they do.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 3 * time.Minute
	maxHeaderBytes    = 64 << 10
	// maxStreams is how many requests one HTTP/2 connection may have under way. A proxy sends those of many users over one.
	maxStreams = 1000
)

// Listen opens the listeners; Serve then serves them.
func Listen(a *API, listeners ...Listener) (*Server, error) {
	bound, err := newConnections(a.options.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{api: a, log: a.options.Log, connections: bound}
	for _, l := range listeners {
		if err := s.open(l); err != nil {
			return nil, errors.Join(err, s.closeAll())
		}
	}
	return s, nil
}

func (s *Server) open(l Listener) error {
	ln, err := net.Listen("tcp", l.Address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l.Address, err)
	}
	server := &http.Server{
		Handler:           s.api.Handler(l.Serves...),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Protocols:         protocols(l.Certificate != ""),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// OPTIONS * is answered as every other OPTIONS is.
		DisableGeneralOptionsHandler: true,
	}
	if l.Certificate != "" {
		files := &certificateFiles{certificate: l.Certificate, key: l.Key}
		if _, err := files.get(nil); err != nil {
			return errors.Join(fmt.Errorf("certificate for %s: %w", l.Address, err), ln.Close())
		}
		s.files = append(s.files, files)
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}
	}
	s.servers = append(s.servers, server)
	s.nets = append(s.nets, s.connections.of(ln))
	return nil
}

// protocols are HTTP/1.1 and HTTP/2. Without TLS the client, which is a proxy, has to begin with HTTP/2 (RFC 9113, section 3.3).
func protocols(tls bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(tls)
	p.SetUnencryptedHTTP2(!tls)
	return p
}

// Addresses are those listened on, in the order of the listeners, with the port that was chosen for port 0.
func (s *Server) Addresses() []net.Addr {
	addrs := make([]net.Addr, len(s.nets))
	for i, ln := range s.nets {
		addrs[i] = ln.Addr()
	}
	return addrs
}

// Serve serves until Shutdown (nil) or until a listener fails.
func (s *Server) Serve() error {
	failed := make(chan error, len(s.servers))
	for i, server := range s.servers {
		go func() {
			if server.TLSConfig != nil {
				failed <- server.ServeTLS(s.nets[i], "", "")
			} else {
				failed <- server.Serve(s.nets[i])
			}
		}()
	}
	var first error
	for range s.servers {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) && first == nil {
			first = err
			s.closeAll() //nolint:errcheck // the first failure is the one that counts
		}
	}
	return first
}

// Renew reads the certificates from their files, at once. With an error the one that could not be read serves on.
func (s *Server) Renew() error {
	var errs []error
	for _, files := range s.files {
		if err := files.renew(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", files.certificate, err))
		}
	}
	return errors.Join(errs...)
}

// Shutdown stops taking requests, ends long polls early and waits for what is being answered until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.api.drain()
	var wait sync.WaitGroup
	errs := make([]error, len(s.servers))
	for i, server := range s.servers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if errs[i] = server.Shutdown(ctx); errs[i] != nil {
				errs[i] = errors.Join(errs[i], server.Close())
			}
		}()
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (s *Server) closeAll() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	for _, ln := range s.nets {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// certificateFiles gives the certificate as it stands in its files, so that a renewed one needs no restart.
type certificateFiles struct {
	certificate, key string

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	current *tls.Certificate
}

const certificateCheck = time.Minute

func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && time.Since(c.checked) < certificateCheck {
		return c.current, nil
	}
	if info, err := os.Stat(c.certificate); err == nil && c.current != nil && info.ModTime().Equal(c.changed) {
		c.checked = time.Now()
		return c.current, nil
	}
	if err := c.load(); err != nil && c.current == nil { // else a half-written renewal: the old one serves until the next check
		return nil, err
	}
	return c.current, nil
}

func (c *certificateFiles) renew() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

// load reads the files. The lock is held.
func (c *certificateFiles) load() error {
	c.checked = time.Now()
	info, err := os.Stat(c.certificate)
	if err != nil {
		return err
	}
	loaded, err := tls.LoadX509KeyPair(c.certificate, c.key)
	if err != nil {
		return err
	}
	c.current, c.changed = &loaded, info.ModTime()
	return nil
}
