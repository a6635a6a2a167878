package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence/cache"
)

// Target is where a homeserver is reached, and who it has to be.
type Target struct {
	Host   string  // of the Host header
	Name   string  // a DNS name or an IP address, for which the certificate must be good
	Places []Place // in the order in which they are tried
}

// Place is a DNS name or an IP address, and a port.
type Place struct {
	Host string
	Port int
}

func (p Place) String() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// The ports that stand in no server name (server-server API, "Resolving server names").
const (
	federationPort = 8448
	httpsPort      = 443
)

const (
	// discovered bounds how many names are remembered; those least in use are forgotten first.
	discovered = 20_000
	// srvLifetime is how long the answer to a SRV query is believed: net.Resolver does not tell how long it may be.
	srvLifetime = 5 * time.Minute
)

// discovery finds homeservers by their names. It is safe for concurrent use.
type discovery struct {
	resolver *net.Resolver
	web      *http.Client // of .well-known
	webPort  int
	port     int // of homeservers that name none
	now      func() time.Time

	delegations *cache.Cache[string, delegation]
	services    *cache.Cache[string, service]
	flight      singleflight.Group
}

// service is what the DNS says of a name's SRV records.
type service struct {
	places []Place // none: there is no such record
	until  time.Time
}

func newDiscovery(p Policy, webPort, port int, now func() time.Time) *discovery {
	p.Redirects, p.Timeout, p.Secure = wellKnownRedirects, wellKnownTimeout, true
	d := &discovery{resolver: p.Resolver, web: Client(p), webPort: webPort, port: port, now: now,
		delegations: cache.New(cache.Options[string, delegation]{Size: discovered}),
		services:    cache.New(cache.Options[string, service]{Size: discovered})}
	if d.resolver == nil {
		d.resolver = net.DefaultResolver
	}
	return d
}

// find takes the steps of the specification: an address or a port in the name, .well-known, SRV records, the default port.
func (d *discovery) find(ctx context.Context, server string) (Target, error) {
	host, port, err := id.ParseServerName(server)
	if err != nil {
		return Target{}, fmt.Errorf("%.255q: %w", server, err)
	}
	if port != 0 || literal(host) {
		return d.direct(server, host, port), nil
	}
	delegated, err := d.delegated(ctx, host)
	if err != nil {
		return Target{}, err
	}
	if delegated == "" {
		return d.service(ctx, host)
	}
	if host, port, err = id.ParseServerName(delegated); err != nil {
		return Target{}, err // it was checked when it was fetched
	}
	if port != 0 || literal(host) {
		return d.direct(delegated, host, port), nil
	}
	return d.service(ctx, host)
}

func literal(host string) bool {
	_, err := netip.ParseAddr(bare(host))
	return err == nil
}

// bare takes the brackets off an IPv6 address.
func bare(host string) string { return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]") }

func (d *discovery) direct(server, host string, port int) Target {
	if port == 0 {
		port = d.port
	}
	return Target{Host: server, Name: bare(host), Places: []Place{{bare(host), port}}}
}

// service finds a host by its SRV records, of which the second kind is deprecated, or else at the default port.
func (d *discovery) service(ctx context.Context, host string) (Target, error) {
	t := Target{Host: host, Name: host}
	for _, kind := range [...]string{"matrix-fed", "matrix"} {
		places, err := d.lookup(ctx, kind, host)
		if err != nil {
			return t, err
		}
		if len(places) > 0 {
			t.Places = places
			return t, nil
		}
	}
	t.Places = []Place{{host, d.port}}
	return t, nil
}

// lookup gives the places of a SRV record, none if there is no such record. A record that says that there is no service is an error.
func (d *discovery) lookup(ctx context.Context, kind, host string) ([]Place, error) {
	key := kind + " " + host
	known, ok := d.services.Get(key)
	if !ok || !d.now().Before(known.until) {
		_, records, err := d.resolver.LookupSRV(ctx, kind, "tcp", host)
		var refused *net.DNSError
		if err != nil && (!errors.As(err, &refused) || !refused.IsNotFound) {
			return nil, err
		}
		known = service{until: d.now().Add(srvLifetime)}
		for _, r := range records { // ordered by priority, and by chance according to weight
			known.places = append(known.places, Place{strings.TrimSuffix(r.Target, "."), int(r.Port)})
		}
		d.services.Set(key, known)
	}
	if len(known.places) == 1 && known.places[0].Host == "" {
		return nil, fmt.Errorf("%s says that it is no homeserver", host)
	}
	return known.places, nil
}
