package api

import (
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// connections bounds how many connections all listeners of a server have at once. Each is an open file, of which a process has only so many,
// and the store that ran out of them could no longer write. Who comes when there are as many as may be waits, in the backlog of the system,
// until another has gone.
type connections struct {
	places chan struct{}
	log    *slog.Logger
	mu     sync.Mutex
	warned time.Time
}

// warnEvery is how often it is logged that there are too many connections.
const warnEvery = time.Minute

// The part of the process's files that is kept from connections: a quarter, but no more than this many. The store has a thousand open, and
// what is asked of other servers, media and peers take the rest.
const (
	reservedPart  = 4
	reservedFiles = 4096
)

// connectionsOf is how many connections a process may have that may have so many files.
func connectionsOf(files uint64) int {
	const most = 1 << 22 // as many as Linux lets any process have, and more
	return int(min(files-min(files/reservedPart, reservedFiles), most))
}

func newConnections(log *slog.Logger) (*connections, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, err
	}
	return &connections{places: make(chan struct{}, connectionsOf(uint64(files.Cur))), log: log}, nil //nolint:unconvert // it is signed on some systems
}

// of gives a listener that shares the bound.
func (c *connections) of(ln net.Listener) net.Listener {
	return &boundListener{Listener: ln, connections: c, closed: make(chan struct{})}
}

func (c *connections) warn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.warned) >= warnEvery {
		c.warned = now
		c.log.Warn("there are as many connections as the limit of open files allows; others wait", "connections", cap(c.places))
	}
}

type boundListener struct {
	net.Listener
	connections *connections
	once        sync.Once
	closed      chan struct{}
}

func (l *boundListener) Accept() (net.Conn, error) {
	select {
	case l.connections.places <- struct{}{}:
	default:
		l.connections.warn()
		select {
		case l.connections.places <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.connections.places
		return nil, err
	}
	return &boundConn{TCPConn: conn.(*net.TCPConn), connections: l.connections}, nil
}

func (l *boundListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// boundConn gives its place to another when it is closed.
type boundConn struct {
	*net.TCPConn
	connections *connections
	once        sync.Once
}

func (c *boundConn) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() { <-c.connections.places })
	return err
}
