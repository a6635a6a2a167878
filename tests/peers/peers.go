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
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// Server is a real homeserver. It can be killed and started again under the same name and addresses (binary.Server).
type Server struct {
	*binary.Server
	Name string // its server name, and the address of its federation
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
		client, name := freeAddress(a.t), freeAddress(a.t)
		certificate, key := a.Files("127.0.0.1")
		settings := append([]string{
			"server_name=" + name, "federation.ca_file=" + a.File, "federation.allow_networks=[127.0.0.0/8]",
			fmt.Sprintf("listeners=[{address: '%s', serves: [client, media, metrics, admin]}, {address: '%s', serves: [federation, media], tls: {certificate: '%s', key: '%s'}}]",
				client, name, certificate, key)}, set...)
		servers[i] = &Server{Server: binary.Start(a.t, settings...), Name: name}
	}
	return servers
}

// freeAddress is an address on which nobody listens now.
func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := local.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
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
