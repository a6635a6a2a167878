package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what a client says about itself, in bytes.
const (
	maxMetadata  = 64 << 10
	maxName      = 200
	maxURI       = 2000
	maxRedirects = 20
)

// unusedLife is how long a client is kept that nobody lets in.
const unusedLife = 48 * time.Hour

// metadata is what a client says about itself and the server understands (client-server API, "Client metadata"; RFC 7591).
type metadata struct {
	Name      string   `json:"client_name,omitzero"`
	URI       string   `json:"client_uri"`
	Logo      string   `json:"logo_uri,omitzero"`
	Terms     string   `json:"tos_uri,omitzero"`
	Policy    string   `json:"policy_uri,omitzero"`
	Redirects []string `json:"redirect_uris,omitempty"`
	Responses []string `json:"response_types"`
	Grants    []string `json:"grant_types"`
	Auth      string   `json:"token_endpoint_auth_method"`
	Type      string   `json:"application_type"`
}

// register registers a client (client-server API, "Dynamic client registration flow"). Its id is a hash of the metadata, so that the same
// app on many devices is one client, and a repeated request changes nothing.
func (s *Server) register(r *api.Request) (any, error) {
	if err := r.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	var m metadata
	if err := r.Decode(&m); err != nil {
		return nil, fail("invalid_client_metadata", err.Error())
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return nil, fail("invalid_client_metadata", "the metadata is not valid text")
	}
	sum := sha256.Sum256(raw)
	c := schema.OAuthClient{ClientID: base64.RawURLEncoding.EncodeToString(sum[:20]), Metadata: raw, CreatedTS: r.Now.UnixMilli()}
	if err := s.keep(r.Ctx, c); err != nil {
		return nil, err
	}
	return api.Answer{Status: http.StatusCreated, Body: struct {
		ClientID string `json:"client_id"`
		IssuedAt int64  `json:"client_id_issued_at"`
		metadata
	}{c.ClientID, r.Now.Unix(), m}}, nil
}

// keep writes the client down, unless it is known and will stay.
func (s *Server) keep(ctx context.Context, c schema.OAuthClient) error {
	known, ok, err := schema.OAuthClients.Get(ctx, s.Store, schema.OAuthClient{ClientID: c.ClientID})
	if err != nil || ok && (known.Used || c.CreatedTS-known.CreatedTS < unusedLife.Milliseconds()/2) {
		return err
	}
	return s.write(ctx, schema.OAuthClients.Put(c))
}

// write commits rows that any node may write.
func (s *Server) write(ctx context.Context, rows ...persistence.Mutation) error {
	_, err := persistence.Await(ctx, s.o.Store, &persistence.Commit{Write: rows})
	if errors.Is(err, persistence.ErrOverloaded) {
		return mxerr.LimitExceeded(1000)
	}
	return err
}

// find gives a registered client.
func (s *Server) find(ctx context.Context, clientID string) (metadata, error) {
	var m metadata
	row, ok, err := schema.OAuthClients.Get(ctx, s.Store, schema.OAuthClient{ClientID: clientID})
	if err != nil {
		return m, err
	}
	if !ok {
		return m, failure{http.StatusBadRequest, "invalid_client", "this client has not registered"}
	}
	return m, json.Unmarshal(row.Metadata, &m)
}

// check refuses metadata that the specification forbids, and brings the rest into one form.
func (m *metadata) check() error {
	const code = "invalid_client_metadata"
	site, err := url.Parse(m.URI)
	if m.URI == "" || err != nil || !web(site) {
		return fail(code, "client_uri must be an https address without a user, where people find out about the client")
	}
	for name, text := range map[string]string{"logo_uri": m.Logo, "tos_uri": m.Terms, "policy_uri": m.Policy} {
		if text == "" {
			continue
		}
		if u, err := url.Parse(text); err != nil || !web(u) || !below(u, site) {
			return fail(code, name+" must be an https address on the host of client_uri, or below it")
		}
	}
	for name, text := range map[string]string{"client_uri": m.URI, "logo_uri": m.Logo, "tos_uri": m.Terms, "policy_uri": m.Policy} {
		if len(text) > maxURI {
			return fail(code, name+" is too long")
		}
	}
	if len(m.Name) > maxName || !utf8.ValidString(m.Name) {
		return fail(code, "client_name is too long")
	}
	if m.Type == "" {
		m.Type = "web"
	}
	if m.Type != "web" && m.Type != "native" {
		return fail(code, "application_type must be web or native")
	}
	if m.Auth == "" {
		m.Auth = "none"
	}
	if m.Auth != "none" {
		return fail(code, "token_endpoint_auth_method must be none")
	}
	if m.Responses == nil {
		m.Responses = []string{"code"}
	}
	if m.Grants == nil {
		m.Grants = []string{grantCode}
	}
	m.Responses = known(m.Responses, "code")
	m.Grants = known(m.Grants, grantCode, grantRefresh, grantDevice)
	if len(m.Grants) == 0 {
		return fail(code, "grant_types has none that this server supports")
	}
	if slices.Contains(m.Grants, grantCode) && (len(m.Redirects) == 0 || len(m.Responses) == 0) {
		return fail(code, "redirect_uris and the response type code are needed with the grant type "+grantCode)
	}
	if len(m.Redirects) > maxRedirects {
		return fail("invalid_redirect_uri", "there are too many redirect_uris")
	}
	for _, text := range m.Redirects {
		if len(text) > maxURI || !m.mayReturn(text, site) {
			return fail("invalid_redirect_uri", "clients of this type must not use "+printable(text))
		}
	}
	return nil
}

// known gives those of the values that the server understands, in its own order.
func known(values []string, understood ...string) []string {
	return slices.DeleteFunc(understood, func(v string) bool { return !slices.Contains(values, v) })
}

// web reports whether an address is one of a web page as the specification wants it.
func web(u *url.URL) bool {
	return u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.Opaque == ""
}

// below reports whether an address is on the client's own host, or on one below it.
func below(u, site *url.URL) bool {
	host, of := strings.ToLower(u.Hostname()), strings.ToLower(site.Hostname())
	return host == of || strings.HasSuffix(host, "."+of) && net.ParseIP(of) == nil
}

// mayReturn decides whether a client may have people sent back to an address (client-server API, "Redirect URI validation").
func (m *metadata) mayReturn(text string, site *url.URL) bool {
	u, err := url.Parse(text)
	if err != nil || strings.Contains(text, "#") || strings.ContainsFunc(text, func(c rune) bool { return c <= 0x20 || c == 0x7f }) {
		return false
	}
	switch {
	case u.Scheme == "https":
		return web(u) && below(u, site)
	case m.Type != "native":
		return false
	case u.Scheme == "http":
		return u.User == nil && u.Port() == "" && !strings.HasSuffix(u.Host, ":") && loopback(u)
	}
	labels := strings.Split(strings.ToLower(site.Hostname()), ".")
	slices.Reverse(labels)
	reversed := strings.Join(labels, ".")
	return u.Host == "" && u.User == nil && !strings.HasPrefix(text[len(u.Scheme):], "://") && len(labels) > 1 &&
		(u.Scheme == reversed || strings.HasPrefix(u.Scheme, reversed+"."))
}

func loopback(u *url.URL) bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

// returns reports whether the client has registered an address. On the loopback interface any port will do (RFC 8252, section 7.3).
func (m *metadata) returns(text string) bool {
	if slices.Contains(m.Redirects, text) {
		return true
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || !loopback(u) || u.Port() == "" {
		return false
	}
	u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	return slices.Contains(m.Redirects, u.String())
}
