package outbound_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/tests/peers"
)

// names is a DNS server: all its names have the address 127.0.0.1.
type names struct {
	hosts map[string]bool
	srv   map[string][]dnsmessage.SRVResource
	asked *atomic.Int64 // how often for SRV records
}

// resolver starts the server.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := n.answer(buffer[:size]); err == nil {
				_, _ = conn.WriteTo(answer, from) // who asks asks again
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (n *names) answer(raw []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil || len(m.Questions) != 1 {
		return nil, errors.Join(err, errors.New("no question"))
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 60}
	switch records, isService := n.srv[name]; {
	case q.Type == dnsmessage.TypeSRV:
		n.asked.Add(1)
		for _, r := range records {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &r})
		}
		if !isService {
			m.RCode = dnsmessage.RCodeNameError
		}
	case !n.hosts[name]:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	}
	return m.Pack()
}

// serve starts a server with a certificate for these names, and gives its port.
func serve(t *testing.T, a *peers.Authority, h http.Handler, certified ...string) int {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.Certificate(certified...)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// homeserver tells which one it is, and what Host header it was given.
func homeserver(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"server":%q,"host":%q,"signed":%q}`, name, r.Host, r.Header.Get("Authorization"))
	})
}

// TestResolvingServerNames goes through the cases of the specification (server-server API, "Resolving server names").
// HARD_PLACES.md 24: the steps of resolving a server name.
func TestResolvingServerNames(t *testing.T) {
	t.Parallel()
	a := peers.NewAuthority(t)
	usual := serve(t, a, homeserver("usual"), "127.0.0.1", "plain.test", "delegated2.test", "nonsense.test", "huge.test", "error.test")
	other := serve(t, a, homeserver("other"), "127.0.0.1", "port.test", "target.test", "delegated.test", "srv.test", "older.test", "second.test", "redirected.test")
	wrong := serve(t, a, homeserver("wrong"), "host.test")
	closed := func() int {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().(*net.TCPAddr).Port
	}()
	at := func(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }
	wellKnown := map[string]string{
		"wk-port.test": at("target.test", other), "wk-ip.test": at("127.0.0.1", other), "wk-srv.test": "delegated.test", "wk-plain.test": "delegated2.test",
	}
	web := serve(t, a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		switch {
		case r.URL.Path == "/moved":
			fmt.Fprintf(w, `{"m.server":"redirected.test:%d"}`, other)
		case r.URL.Path != "/.well-known/matrix/server":
			http.NotFound(w, r)
		case wellKnown[host] != "":
			fmt.Fprintf(w, `{"m.server":%q}`, wellKnown[host])
		case host == "wk-moved.test":
			http.Redirect(w, r, "/moved", http.StatusFound)
		case host == "nonsense.test":
			_, _ = io.WriteString(w, "<html>")
		case host == "huge.test":
			_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("x", 1<<20)+`","m.server":"target.test"}`)
		case host == "error.test":
			http.Error(w, "busy", http.StatusInternalServerError)
		default:
			http.NotFound(w, r)
		}
	}), "wk-port.test", "wk-ip.test", "wk-srv.test", "wk-plain.test", "wk-moved.test", "nonsense.test", "huge.test", "error.test", "plain.test", "srv.test", "older.test", "second.test", "none.test", "mistaken.test")

	var asked atomic.Int64
	dns := &names{asked: new(atomic.Int64), hosts: map[string]bool{}, srv: map[string][]dnsmessage.SRVResource{}}
	for _, host := range strings.Fields("plain port target delegated delegated2 srv older second redirected nonsense huge error wk-port wk-ip wk-srv wk-plain wk-moved none mistaken host") {
		dns.hosts[host+".test"] = true
	}
	record := func(kind, host, target string, port, priority int) {
		key := "_" + kind + "._tcp." + host
		dns.srv[key] = append(dns.srv[key], dnsmessage.SRVResource{Priority: uint16(priority), Weight: 1, Port: uint16(port), Target: dnsmessage.MustNewName(target)})
	}
	record("matrix-fed", "delegated.test", "host.test.", other, 1)
	record("matrix-fed", "srv.test", "host.test.", other, 1)
	record("matrix", "srv.test", "host.test.", wrong, 1)
	record("matrix", "older.test", "host.test.", other, 1)
	record("matrix-fed", "second.test", "host.test.", other, 20)
	record("matrix-fed", "second.test", "host.test.", closed, 10)
	record("matrix-fed", "none.test", ".", 0, 0)
	record("matrix-fed", "mistaken.test", "host.test.", wrong, 1)

	options := outbound.FederationOptions{ServerName: "here.test", Key: signing.NewKey("a", make([]byte, 32)), Now: time.Now, HTTPSPort: web, FederationPort: usual,
		Policy: outbound.Policy{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: a.Pool, Resolver: dns.resolver(t)}}
	f := outbound.NewFederation(options)
	t.Cleanup(f.Close)
	for name, c := range map[string]struct{ destination, server, host string }{
		"1: an address and a port":                   {at("127.0.0.1", other), "other", at("127.0.0.1", other)},
		"1: an address":                              {"127.0.0.1", "usual", "127.0.0.1"},
		"2: a name and a port":                       {at("port.test", other), "other", at("port.test", other)},
		"3.1: delegated to an address":               {"wk-ip.test", "other", at("127.0.0.1", other)},
		"3.2: delegated to a name and a port":        {"wk-port.test", "other", at("target.test", other)},
		"3.3: delegated to a name with a SRV record": {"wk-srv.test", "other", "delegated.test"},
		"3.5: delegated to a name alone":             {"wk-plain.test", "usual", "delegated2.test"},
		"3: delegated after a redirect":              {"wk-moved.test", "other", at("redirected.test", other)},
		"3: what is no JSON delegates nothing":       {"nonsense.test", "usual", "nonsense.test"},
		"3: what is too large delegates nothing":     {"huge.test", "usual", "huge.test"},
		"3: an error delegates nothing":              {"error.test", "usual", "error.test"},
		"4: a SRV record before the deprecated one":  {"srv.test", "other", "srv.test"},
		"5: the deprecated SRV record":               {"older.test", "other", "older.test"},
		"6: the usual port":                          {"plain.test", "usual", "plain.test"},
		"a place of less priority":                   {"second.test", "other", "second.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := f.Call(t.Context(), federation.Request{Destination: c.destination, Method: "GET", URI: "/_matrix/key/v2/server"})
			if err != nil {
				t.Fatal(err)
			}
			got := gjson.ParseBytes(raw)
			if got.Get("server").Str != c.server || got.Get("host").Str != c.host || !strings.Contains(got.Get("signed").Str, fmt.Sprintf("destination=%q", c.destination)) {
				t.Errorf("%s, want %s with the host %s", raw, c.server, c.host)
			}
		})
	}
	for name, destination := range map[string]string{
		"no service": "none.test", "a certificate for the target of the record": "mistaken.test", "no such name": "unknown.test",
		"nobody listens": at("port.test", closed), "no server name": "a b", "this server": "here.test",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if raw, err := f.Call(t.Context(), federation.Request{Destination: destination, Method: "GET", URI: "/_matrix/key/v2/server"}); err == nil {
				t.Errorf("%s", raw)
			}
		})
	}
	t.Run("what was found is remembered", func(t *testing.T) {
		own := options
		own.Policy.Resolver = (&names{hosts: dns.hosts, srv: dns.srv, asked: &asked}).resolver(t)
		g := outbound.NewFederation(own)
		t.Cleanup(g.Close)
		for range 3 {
			if _, err := g.Call(t.Context(), federation.Request{Destination: "wk-srv.test", Method: "GET", URI: "/_matrix/key/v2/server"}); err != nil {
				t.Fatal(err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the DNS was asked for SRV records %d times", n)
		}
	})
	t.Run("private addresses", func(t *testing.T) {
		closed := options
		closed.Policy.AllowNetworks = nil
		g := outbound.NewFederation(closed)
		t.Cleanup(g.Close)
		for _, destination := range []string{at("127.0.0.1", other), at("port.test", other), "plain.test", "srv.test"} {
			_, err := g.Call(t.Context(), federation.Request{Destination: destination, Method: "GET", URI: "/_matrix/key/v2/server"})
			if !errors.Is(err, outbound.ErrForbidden) {
				t.Errorf("%s: %v", destination, err)
			}
		}
	})
}
