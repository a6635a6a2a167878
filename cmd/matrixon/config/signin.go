package config

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
)

// providerID is what a provider may be called: it stands in addresses.
var providerID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// signingIn checks how people sign in with a browser.
func (b *binder) signingIn() {
	c := b.config
	b.oneOf("oauth.rendezvous", c.OAuth.Rendezvous, RendezvousNobody, RendezvousUsers, RendezvousEverybody)
	if len(c.SSO.Providers) > 0 && c.WellKnown.ClientBaseURL == "" && c.BrowserAddress() < 0 {
		b.reject("well_known.client_base_url", "it is needed with sso.providers: identity providers send people back there")
	}
	if c.SSO.Only && len(c.SSO.Providers) == 0 {
		b.reject("sso.only", "nobody could sign in: sso.providers is empty")
	}
	if c.SSO.Only && (c.Registration.Open || c.Registration.TokensRequired) {
		b.reject("sso.only", "accounts are made by the identity providers then: registration.open and registration.tokens_required must be false")
	}
	for i, app := range c.SSO.TrustedApps {
		if scheme, _, ok := strings.Cut(app, ":"); !ok || scheme == "" || strings.ContainsAny(scheme, "/ ") {
			b.reject(fmt.Sprintf("sso.trusted_apps.%d", i), "%q is not the beginning of an address, such as https://app.example.org/", app)
		}
	}
	for i, p := range c.SSO.Providers {
		key := fmt.Sprintf("sso.providers.%d", i)
		if !providerID.MatchString(p.ID) {
			b.reject(key+".id", "%q is not 1 to 64 letters, digits and . _ -", p.ID)
		}
		if slices.ContainsFunc(c.SSO.Providers[:i], func(other SSOProvider) bool { return other.ID == p.ID }) {
			b.reject(key+".id", "there are two providers %q", p.ID)
		}
		if p.Name == "" || p.ClientID == "" {
			b.reject(key, "id, name, issuer and client_id are needed")
		}
		b.check(key+".issuer", webURL(p.Issuer))
		if p.Icon != "" && !strings.HasPrefix(p.Icon, "mxc://") {
			b.reject(key+".icon", "%q is not an mxc:// URI", p.Icon)
		}
		if p.ClientSecret != "" && p.ClientSecretFile != "" {
			b.reject(key, "either client_secret or client_secret_file is given")
		}
	}
}

// Secret is what the identity provider has given this server.
func (p SSOProvider) Secret() (string, error) {
	if p.ClientSecretFile == "" {
		return p.ClientSecret.Reveal(), nil
	}
	text, err := os.ReadFile(p.ClientSecretFile)
	return strings.TrimSpace(string(text)), err
}

// BrowserAddress is the host and port of the first listener for clients that a browser on the same machine can reach, as its index;
// -1 when there is none.
func (c *Config) BrowserAddress() int {
	return slices.IndexFunc(c.Listeners, func(l Listener) bool {
		host, _, err := net.SplitHostPort(l.Address)
		return err == nil && slices.Contains(l.Serves, "client") && isLoopback(host)
	})
}
