package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/oauth"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/http/sso"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// browserEndpoints adds the server's own pages, and what leads to them, where it is known at which address browsers find them. What clients learn of
// them goes into the options of accounts.
func (s *Server) browserEndpoints(ctx context.Context, deps client.Deps, accounts *client.AccountOptions) error {
	c := s.config
	if !c.OAuth.Enabled && len(c.SSO.Providers) == 0 {
		return nil
	}
	if c.WellKnown.ClientBaseURL == "" && c.BrowserAddress() < 0 {
		s.log.Info("oauth is off, because it is not known where browsers reach this server: set well_known.client_base_url")
		return nil
	}
	box, err := s.box(ctx)
	if err != nil {
		return err
	}
	options := browser.Options{BaseURL: s.browserURL, Registrar: client.NewRegistrar(deps, *accounts), Box: box, Addresses: s.addresses, Trusted: c.SSO.TrustedApps}
	for _, p := range c.SSO.Providers {
		options.Providers = append(options.Providers, browser.Provider{ID: p.ID, Name: p.Name, Icon: p.Icon, Brand: p.Brand})
	}
	pages := browser.New(deps, options)
	accounts.SSO = &client.SSO{OAuth: c.OAuth.Enabled}
	if all := pages.Providers(); len(all) > 0 {
		accounts.SSO.Providers = all
	}
	s.api.Add(api.Client, pages.Endpoints()...)
	if len(c.SSO.Providers) > 0 {
		if err := s.ssoEndpoints(deps, pages, box, accounts.UIA); err != nil {
			return err
		}
	}
	s.api.Add(api.Client, pages.Fallbacks(accounts.UIA)...) // after that of identity providers, which is one of them
	if c.OAuth.Enabled {
		s.oauth = oauth.New(deps, oauth.Options{Store: s.store, Pages: pages, Box: box, Sessions: accounts.Sessions,
			AccessLifetime: accounts.AccessLifetime, RefreshLifetime: accounts.RefreshLifetime})
		s.api.Add(api.Client, s.oauth.Endpoints()...)
		accounts.Discovery.WellKnown["org.matrix.msc2965.authentication"] = map[string]string{ // for clients that do not ask for the metadata
			"issuer": pages.URL("/"), "account": pages.URL(browser.AccountPath)}
		if c.OAuth.Rendezvous != config.RendezvousNobody { // of use only where a device can be let in by another
			var meetings []api.Endpoint
			meetings, s.endRendezvous = client.Rendezvous(deps, client.RendezvousOptions{Store: s.store, Everybody: c.OAuth.Rendezvous == config.RendezvousEverybody, URL: pages.URL})
			s.api.Add(api.Client, meetings...)
			accounts.Discovery.Features["org.matrix.msc4108"] = true
			accounts.Discovery.Features["io.element.msc4388"] = true
		}
	}
	return nil
}

// ssoEndpoints adds the way to identity providers.
func (s *Server) ssoEndpoints(deps client.Deps, pages *browser.Pages, box *secret.Box, engine *uia.Engine) error {
	roots, err := trusted(s.config.SSO.CAFile)
	if err != nil {
		return fmt.Errorf("sso.ca_file: %w", err)
	}
	// The operator names the providers, which may well be in a private network.
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	o := sso.Options{Pages: pages, Box: box, UIA: engine, Client: outbound.Client(outbound.Policy{AllowNetworks: everywhere, Redirects: 3,
		Timeout: ssoTimeout, UserAgent: "Matrixon/" + s.version, Roots: roots})}
	for _, p := range s.config.SSO.Providers {
		key, err := p.Secret()
		if err != nil {
			return fmt.Errorf("sso.providers: %s: client_secret_file: %w", p.ID, err)
		}
		o.Providers = append(o.Providers, sso.Provider{ID: p.ID, Name: p.Name, Brand: p.Brand, Icon: p.Icon, Issuer: p.Issuer, ClientID: p.ClientID, Secret: key,
			Scopes: p.Scopes, Claims: sso.Claims{Localpart: p.Claims.Localpart, DisplayName: p.Claims.DisplayName, Email: p.Claims.Email},
			AllowExisting: p.AllowExisting, NoNewAccounts: p.NoNewAccounts, BackChannel: p.BackChannel})
	}
	ways := sso.New(deps, o)
	engine.Linked = ways.Linked
	s.api.Add(api.Client, ways.Endpoints()...)
	return nil
}

// ssoTimeout is how long an identity provider may take to answer.
const ssoTimeout = 15 * time.Second

// browserURL is where browsers reach this server, without a slash at its end.
func (s *Server) browserURL() string {
	if base := s.config.WellKnown.ClientBaseURL; base != "" {
		return strings.TrimSuffix(base, "/")
	}
	i := s.config.BrowserAddress()
	address, scheme := s.config.Listeners[i].Address, "http"
	if s.listener != nil { // port 0 is another by now
		address = s.listener.Addresses()[i].String()
	}
	if s.config.Listeners[i].TLS.Certificate != "" {
		scheme = "https"
	}
	return scheme + "://" + address
}

// resetPage is where users of OAuth 2.0 confirm that their cross-signing keys are replaced.
func (s *Server) resetPage() string {
	return s.browserURL() + browser.With(browser.AccountPath, "action", browser.ActionReset)
}

// boxSetting is the secret of the box, which all nodes must share.
const boxSetting = "browser_secret"

// box is what browsers and clients carry for the server.
func (s *Server) box(ctx context.Context) (*secret.Box, error) {
	for {
		row, ok, err := schema.Settings.Get(ctx, s.store, schema.Setting{Name: boxSetting})
		if err != nil {
			return nil, err
		}
		if ok {
			key, err := base64.RawURLEncoding.DecodeString(row.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", boxSetting, err)
			}
			return secret.NewBox(key)
		}
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
		fact := schema.Settings.Put(schema.Setting{Name: boxSetting, Value: base64.RawURLEncoding.EncodeToString(key)})
		_, err = persistence.Await(ctx, s.store, &persistence.Commit{Write: []persistence.Mutation{fact}, Absent: []persistence.Mutation{fact}})
		if err != nil && !errors.Is(err, persistence.ErrExists) { // else another node was quicker
			return nil, err
		}
	}
}

// documents are the policies of the configuration for the server's own pages: each in one language, English if there is one.
func documents(policies []config.Policy) []client.Document {
	var all []client.Document
	at := map[string]int{}
	for _, p := range policies {
		d := client.Document{Name: p.Name, URL: p.URL}
		switch i, ok := at[p.ID]; {
		case !ok:
			at[p.ID] = len(all)
			all = append(all, d)
		case p.Language == "en":
			all[i] = d
		}
	}
	return all
}
