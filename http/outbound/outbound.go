// Package outbound makes the client for requests to addresses that strangers name. It connects only to public addresses: what is
// checked is the address that a connection is about to be made to, after names were resolved, so that neither a name nor a
// redirect leads into a private network.
package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrForbidden says that an address lies in a network that requests must not reach; test with errors.Is.
var ErrForbidden = errors.New("outbound: the address is not a public one")

// Policy is what a client may do.
type Policy struct {
	// AllowNetworks are exceptions to the networks that are blocked.
	AllowNetworks []netip.Prefix
	// OnlyAllowed blocks all others, public ones too.
	OnlyAllowed bool
	// Redirects is how many may follow each other.
	Redirects int
	// Timeout bounds a whole request, with the reading of its answer.
	Timeout time.Duration
	// HeaderTimeout bounds how long the answer may take to begin; 0 is 15 seconds.
	HeaderTimeout time.Duration
	// UserAgent is sent with every request.
	UserAgent string
	// Roots are the certificate authorities that are trusted; nil: the system's.
	Roots *x509.CertPool
	// Resolver looks names up; nil: the system's.
	Resolver *net.Resolver
	// Secure allows https only, for redirects too.
	Secure bool
}

// Bounds of a connection.
const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 15 * time.Second
	idleTimeout   = 30 * time.Second
	idleMost      = 32
	maxHeader     = 64 << 10
)

// Client makes a client. It keeps no cookies and asks no proxy, which would connect in its place.
func Client(p Policy) *http.Client {
	if p.HeaderTimeout == 0 {
		p.HeaderTimeout = headerTimeout
	}
	transport := &http.Transport{
		DialContext: p.dialer().DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.Roots}, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: p.HeaderTimeout,
		IdleConnTimeout: idleTimeout, MaxIdleConns: idleMost, MaxResponseHeaderBytes: maxHeader, ForceAttemptHTTP2: true,
	}
	return &http.Client{Timeout: p.Timeout, Transport: &named{transport, p.UserAgent}, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > p.Redirects {
			return fmt.Errorf("outbound: more than %d redirects", p.Redirects)
		}
		if p.Secure && r.URL.Scheme != "https" {
			return fmt.Errorf("%w: a redirect to plain http", ErrForbidden)
		}
		return CheckURL(r)
	}}
}

// dialer connects to what the policy permits, to the faster of IPv6 and IPv4.
func (p Policy) dialer() *net.Dialer {
	return &net.Dialer{Timeout: dialTimeout, Resolver: p.Resolver, Control: func(_, address string, _ syscall.RawConn) error {
		return p.permit(address)
	}}
}

// CheckURL refuses what is no plain address on the web.
func CheckURL(r *http.Request) error {
	if s := r.URL.Scheme; s != "http" && s != "https" || r.URL.Host == "" || r.URL.User != nil {
		return fmt.Errorf("%w: only http and https without a password", ErrForbidden)
	}
	return nil
}

// named sets the User-Agent of every request.
type named struct {
	http.RoundTripper
	userAgent string
}

// RoundTrip implements http.RoundTripper.
func (n *named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", n.userAgent)
	return n.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections is for http.Client.
func (n *named) CloseIdleConnections() {
	if c, ok := n.RoundTripper.(*http.Transport); ok {
		c.CloseIdleConnections()
	}
}

func (p Policy) permit(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrForbidden, address)
	}
	addr := at.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(p.AllowNetworks, func(n netip.Prefix) bool { return n.Contains(addr) }) || !p.OnlyAllowed && Public(addr) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrForbidden, addr)
}

// blocked are the networks of the special-purpose address registries (RFC 6890) that are not, or not surely, those of the public.
var blocked = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
	"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// Public reports whether an address belongs to the public network. Those that stand for another address, as in 6to4 and NAT64,
// do not: nobody knows where they lead.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsValid() && !slices.ContainsFunc(blocked, func(n netip.Prefix) bool { return n.Contains(addr) })
}
