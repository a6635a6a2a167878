package server

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/matrixon/matrixon/actors/federation/devicelists"
	"github.com/matrixon/matrixon/actors/federation/edus"
	"github.com/matrixon/matrixon/actors/federation/entry"
	"github.com/matrixon/matrixon/actors/federation/history"
	"github.com/matrixon/matrixon/actors/federation/inquiry"
	"github.com/matrixon/matrixon/actors/federation/keyring"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/actors/room"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/federation"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/http/outbound"
)

// startFederation makes what asks other homeservers and knows their keys. Without federation there is neither.
func (s *Server) startFederation() error {
	c := s.config.Federation
	if !c.Enabled {
		return nil
	}
	policy, err := s.federationPolicy()
	if err != nil {
		return err
	}
	s.federation = outbound.NewFederation(outbound.FederationOptions{ServerName: s.config.ServerName, Key: s.key, Policy: policy,
		Timeout: time.Duration(c.Timeout), Now: time.Now, Metrics: s.metrics})
	s.keys = keyring.New(keyring.Options{
		Own:   &keyring.Own{ServerName: s.config.ServerName, Current: s.key, Newest: s.signingKey, Store: s.store, Now: time.Now},
		Store: s.store, Caller: s.federation, Notaries: c.TrustedKeyServers, Now: time.Now, Log: s.log})
	policy.Redirects, policy.Timeout, policy.Secure = mediaRedirects, mediaTimeout, true
	s.origin = &media.Origin{Caller: s.federation, Web: outbound.Client(policy), MaxSize: int64(s.config.Media.MaxRemote)}
	s.inquirer = inquiry.New(s.config.ServerName, s.federation, time.Now)
	s.deviceLists = devicelists.New(devicelists.Options{ServerName: s.config.ServerName, Store: s.store, Caller: s.federation,
		Leads: func() bool { return s.node.Owner(sweeper) == s.node.Name() }, Now: time.Now, Log: s.log})
	return nil
}

// federationPolicy says whom the server trusts and reaches.
func (s *Server) federationPolicy() (outbound.Policy, error) {
	c := s.config.Federation
	roots, err := trusted(c.CAFile)
	if err != nil {
		return outbound.Policy{}, fmt.Errorf("federation.ca_file: %w", err)
	}
	return outbound.Policy{AllowNetworks: c.AllowNetworks, UserAgent: "Matrixon/" + s.version, Resolver: resolver(c), Roots: roots}, nil
}

// The bounds of fetching media from where another server says it is.
const (
	mediaRedirects = 3
	mediaTimeout   = 10 * time.Minute
)

// startHandshakes makes what takes users into rooms of other servers, and what fetches the history of those.
func (s *Server) startHandshakes() {
	if s.keys == nil {
		return
	}
	s.verifier = verify.New(s.keys, 0)
	s.history = history.New(history.Deps{ServerName: s.config.ServerName, Store: s.store, Reader: s.reader, Rooms: s.node, Servers: s.federation,
		Verifier: s.verifier, Policy: s.policies, Leads: func() bool { return s.node.Owner(mender) == s.node.Name() },
		Mine: func(roomID string) bool {
			return s.node.Owner(cluster.Identity{Kind: cluster.KindRoom, ID: roomID}) == s.node.Name()
		}, Folder: s.config.DataDir, Now: time.Now, Log: s.log})
	s.handshakes = entry.New(entry.Deps{ServerName: s.config.ServerName, Key: s.key, Store: s.store, Reader: s.reader, Rooms: s.node, Servers: s.federation,
		Verifier: s.verifier, Policy: s.policies, Complete: s.history.Complete, CompleteWith: s.history.CompleteWith, Folder: s.config.DataDir, Now: time.Now, Log: s.log})
}

// elsewhere is what clients' endpoints are given of the handshakes: nothing without federation.
func (s *Server) elsewhere() client.Elsewhere {
	if s.handshakes == nil {
		return nil
	}
	return s.handshakes
}

// past is what clients' endpoints fetch history with: nothing without federation.
func (s *Server) past() client.History {
	if s.history == nil {
		return nil
	}
	return s.history
}

// creator makes rooms.
func (s *Server) creator() *room.Creator {
	c := &room.Creator{Caller: s.node, Store: s.store, ServerName: s.config.ServerName, Key: s.key, Now: time.Now, Random: rand.Reader, Log: s.log}
	if s.handshakes != nil {
		c.Invite = s.handshakes.Invite
	}
	return c
}

// takeEDUs takes the EDUs of a transaction, in order.
func (s *Server) takeEDUs(ctx context.Context, origin string, all []federation.EDU) error {
	receiver := edus.New(edus.Deps{ServerName: s.config.ServerName, Store: s.recorder(), Reader: s.reader, Actors: s.node, Devices: s.deviceLists,
		Presence: s.config.Presence.Enabled, Now: time.Now, Log: s.log})
	for _, e := range all {
		if err := receiver.Receive(ctx, origin, e.Type, e.Content); err != nil {
			return err
		}
	}
	return nil
}

// trusted are the system's certificate authorities and those in the file; nil are the system's alone.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no PEM certificate in it", file)
	}
	return pool, nil
}

// resolver asks the configured DNS server; nil is the system's.
func resolver(c config.Federation) *net.Resolver {
	if c.Resolver == "" {
		return nil
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, c.Resolver)
	}}
}

// federationAuth checks the signatures of other servers; nil without federation, when no endpoint needs it.
func (s *Server) federationAuth() api.FederationAuthenticator {
	if s.keys == nil {
		return nil
	}
	return listener{&federation.Authenticator{ServerName: s.config.ServerName, Keys: s.keys, Heard: s.keys.Heard, Now: time.Now}, s.node}
}

// federationEndpoints adds the server-server API.
func (s *Server) federationEndpoints() {
	if delegated := s.config.WellKnown.Server; delegated != "" {
		s.api.Add(api.Client, federation.WellKnown(delegated))
		s.api.Add(api.Federation, federation.WellKnown(delegated))
	}
	deps := federation.Deps{ServerName: s.config.ServerName, Store: s.store, Caller: s.node, Reader: s.reader, Keys: s.keys,
		Client: s.deps(), Now: time.Now, Log: s.log}
	s.api.Add(api.Federation, federation.UserInfo(deps))
	if s.keys == nil {
		return
	}
	s.api.Add(api.Federation, federation.Version(s.version))
	s.api.Add(api.Federation, federation.Transactions(deps, federation.TransactionOptions{
		Verifier: s.verifier, Policy: s.policies, Ended: s.handshakes.Ended, Originals: s.history.Originals, Stage: s.history.Stage, EDUs: s.takeEDUs})...)
	s.api.Add(api.Federation, federation.Memberships(deps, federation.MembershipOptions{Verifier: s.verifier, Policy: s.policies, Key: s.key, Handshakes: s.handshakes})...)
	if s.vouching != nil {
		s.api.Add(api.Federation, federation.PolicyServer(deps, s.verifier))
	}
	for _, area := range [][]api.Endpoint{federation.Keys(deps), federation.Queries(deps), federation.Devices(deps), federation.History(deps), federation.Directory(deps), s.media.Federated()} {
		s.api.Add(api.Federation, area...)
	}
}
