package peers

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/line"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// Server is a real homeserver. It can be killed and started again under the same name and addresses (binary.Server).
type Server struct {
	*binary.Server
	Name string // its server name, and the address of its federation

	door *line.Line // of StartApart: leads to its federation
}

// Start runs homeservers that reach each other, as binary.Start does; set gives further settings for all.
func Start(t testing.TB, n int, set ...string) []*Server {
	t.Helper()
	return NewAuthority(t).Start(n, set...)
}

// Start runs homeservers with certificates of the authority.
func (a *Authority) Start(n int, set ...string) []*Server {
	a.t.Helper()
	servers := make([]*Server, n)
	for i := range servers {
		address := freeAddress(a.t)
		servers[i] = a.start(&Server{Name: address}, address, set)
	}
	return servers
}

// StartApart runs homeservers as Start does, which can be cut apart (Part).
func StartApart(t testing.TB, n int, set ...string) []*Server {
	t.Helper()
	a := NewAuthority(t)
	servers := make([]*Server, n)
	for i := range servers {
		address := freeAddress(t)
		door := line.New(t, address)
		servers[i] = a.start(&Server{Name: door.Address, door: door}, address, set)
	}
	return servers
}

// start runs a homeserver whose federation listens at the address.
func (a *Authority) start(s *Server, address string, set []string) *Server {
	a.t.Helper()
	certificate, key := a.Files("127.0.0.1")
	s.Server = binary.Start(a.t, append([]string{
		"server_name=" + s.Name, "federation.ca_file=" + a.File, "federation.allow_networks=[127.0.0.0/8]",
		fmt.Sprintf("listeners=[{address: '%s', serves: [client, media, metrics, admin]}, {address: '%s', serves: [federation, media], tls: {certificate: '%s', key: '%s'}}]",
			freeAddress(a.t), address, certificate, key)}, set...)...)
	return s
}

// Part cuts groups of servers apart: those of one group hear nothing of those of the others, until Rejoin. It knows the processes that
// run now.
func Part(groups ...[]*Server) {
	for i, group := range groups {
		for j, others := range groups {
			if i == j {
				continue
			}
			for _, s := range group {
				for _, other := range others {
					s.door.PullFrom(other.PID())
				}
			}
		}
	}
}

// Rejoin puts the lines between the servers back.
func Rejoin(servers []*Server) {
	for _, s := range servers {
		s.door.Mend()
	}
}

// freeAddress is an address on which nobody listens now.
func freeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := local.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// User registers a user.
func (s *Server) User(t testing.TB, name string) *matrixclient.Client {
	t.Helper()
	nobody := &matrixclient.Client{URL: s.URL, HTTP: &http.Client{Timeout: time.Minute}}
	c, err := nobody.Register(t.Context(), name, "a password of "+name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
