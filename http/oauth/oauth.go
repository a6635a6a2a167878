// Package oauth is the OAuth 2.0 authorization server of the homeserver (client-server API, "OAuth 2.0 API"): clients register
// themselves, users let them in on the pages of package browser, and the tokens that clients get are those of ordinary devices.
//
// What a client shows to be let in, a code, was decided about by a user before, and is spent by that user's actor; so it works once,
// whichever nodes are asked.
package oauth

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/persistence"
)

// The endpoints, below the server's base URL.
const (
	base          = browser.Base + "/oauth2"
	registerPath  = base + "/register"
	authorizePath = base + "/authorize"
	tokenPath     = base + "/token"
	revokePath    = base + "/revoke"
	devicePath    = base + "/device"
	keysPath      = base + "/keys"
	// linkPath is where people type the code that another device shows.
	linkPath = browser.Base + "/link"
)

// The grant types.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
)

const (
	// codeLife is how long a client has to redeem an authorization code.
	codeLife = time.Minute
	// deviceLife is how long a device waits to be let in.
	deviceLife = 20 * time.Minute
	// pollInterval is how long a device is asked to wait between its questions.
	pollInterval = 5 * time.Second
)

// Options are what the server needs besides client.Deps.
type Options struct {
	Store    persistence.Store
	Pages    *browser.Pages
	Box      *secret.Box
	Sessions client.SessionCache
	// AccessLifetime is how long access tokens are good.
	AccessLifetime time.Duration
	// RefreshLifetime is how long refresh tokens are good that are not used; 0 is for ever.
	RefreshLifetime time.Duration
}

// Server is the authorization server.
type Server struct {
	client.Deps
	o     Options
	polls *api.Limits // how often a device asks; it is told to slow down by the node that it asks
}

// polling is the kind of limit that polls has.
const polling api.Limit = "oauth_poll"

// New makes the server. Close ends it.
func New(d client.Deps, o Options) *Server {
	return &Server{Deps: d, o: o, polls: api.NewLimits(map[api.Limit]api.Rate{polling: {PerSecond: 1 / pollInterval.Seconds() * 1.25, Burst: 2}}, d.Now)}
}

// Close ends what runs beside the server.
func (s *Server) Close() { s.polls.Close() }

// Endpoints are those of the server.
func (s *Server) Endpoints() []api.Endpoint {
	get, post := []string{http.MethodGet}, []string{http.MethodPost}
	p := s.o.Pages
	return []api.Endpoint{
		{Methods: get, Path: "/_matrix/client/v1/auth_metadata", Also: []string{"/_matrix/client/unstable/org.matrix.msc2965/auth_metadata"}, Handler: s.metadata},
		{Methods: get, Path: "/_matrix/client/unstable/org.matrix.msc2965/auth_issuer", Handler: s.issuer},
		{Methods: get, Path: "/.well-known/openid-configuration", Also: []string{"/.well-known/oauth-authorization-server"}, Handler: s.metadata},
		{Methods: get, Path: keysPath, Handler: s.keys},
		{Methods: post, Path: registerPath, MaxBody: maxMetadata, Handler: s.answered(s.register)},
		{Methods: post, Path: tokenPath, MaxBody: maxForm, Limit: api.LimitRead, Handler: s.answered(s.token)},
		{Methods: post, Path: revokePath, MaxBody: maxForm, Limit: api.LimitRead, Handler: s.answered(s.revoke)},
		{Methods: post, Path: devicePath, MaxBody: maxForm, Handler: s.answered(s.device)},
		p.Page(get, authorizePath, s.authorizePage), p.Page(post, authorizePath, s.authorize),
		p.Page(get, linkPath, s.linkPage), p.Page(post, linkPath, s.link),
	}
}

// maxForm bounds what clients send in forms, in bytes.
const maxForm = 32 << 10

// issuer is what clients asked for before there was the metadata (MSC2965).
func (s *Server) issuer(*api.Request) (any, error) {
	return map[string]string{"issuer": s.o.Pages.URL("/")}, nil
}

// metadata describes the server (client-server API, "Server metadata discovery"; RFC 8414).
func (s *Server) metadata(*api.Request) (any, error) {
	url := s.o.Pages.URL
	prompts := []string{}
	if s.o.Pages.SignUp() {
		prompts = append(prompts, "create")
	}
	body := map[string]any{
		"issuer":                                     url("/"),
		"authorization_endpoint":                     url(authorizePath),
		"token_endpoint":                             url(tokenPath),
		"revocation_endpoint":                        url(revokePath),
		"registration_endpoint":                      url(registerPath),
		"device_authorization_endpoint":              url(devicePath),
		"response_types_supported":                   []string{"code"},
		"response_modes_supported":                   []string{modeQuery, modeFragment},
		"grant_types_supported":                      []string{grantCode, grantRefresh, grantDevice},
		"code_challenge_methods_supported":           []string{"S256"},
		"token_endpoint_auth_methods_supported":      []string{"none"},
		"revocation_endpoint_auth_methods_supported": []string{"none"},
		"prompt_values_supported":                    prompts,
		"jwks_uri":                                   url(keysPath),
		"scopes_supported":                           []string{openID, apiScopes[0], deviceScopes[0] + "*"},
		"subject_types_supported":                    []string{"public"},
		"id_token_signing_alg_values_supported":      []string{"EdDSA"},
		"account_management_uri":                     url(browser.AccountPath),
		"account_management_actions_supported":       browser.Actions,
	}
	h := http.Header{}
	h.Set("Cache-Control", "public, max-age=600")
	return api.Answer{Header: h, Body: body}, nil
}

// failure is an error as OAuth 2.0 has it (RFC 6749, section 5.2).
type failure struct {
	status      int
	code        string
	description string
}

func (f failure) Error() string { return f.code + ": " + f.description }

// Answer implements api.Responder.
func (f failure) Answer() api.Answer {
	return api.Answer{Status: f.status, Body: map[string]string{"error": f.code, "error_description": f.description}}
}

func fail(code, description string) failure { return failure{http.StatusBadRequest, code, description} }

// answered gives refusals the form that OAuth 2.0 clients understand, beside that of Matrix.
func (s *Server) answered(h api.Handler) api.Handler {
	return func(r *api.Request) (any, error) {
		answer, err := h(r)
		refused := browser.Refusal(err)
		if refused == nil {
			return answer, err
		}
		code := "invalid_request"
		switch {
		case refused.Status == http.StatusTooManyRequests:
			return nil, err // with its Retry-After
		case refused.Status >= http.StatusInternalServerError:
			code = "temporarily_unavailable"
		}
		return nil, failure{refused.Status, code, refused.Message}
	}
}

// form reads the body of a request, in which no parameter may stand twice (RFC 6749, section 3.2).
func form(r *api.Request) (url.Values, error) {
	kind, _, _ := strings.Cut(r.HTTP.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return nil, fail("invalid_request", "the body must be a form: application/x-www-form-urlencoded")
	}
	raw, err := r.Body()
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, fail("invalid_request", "the body is no form")
	}
	return values, once(values)
}

// once refuses parameters that stand twice, and text that no table can hold.
func once(values url.Values) error {
	for name, all := range values {
		if !browser.Text(all...) {
			return fail("invalid_request", "a parameter is not valid UTF-8 text: "+printable(name))
		}
		if len(all) > 1 {
			return fail("invalid_request", "a parameter stands twice: "+printable(name))
		}
	}
	return nil
}

// printable cuts what a stranger wrote to characters that error descriptions may have.
func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, text)
	return text[:min(len(text), 64)]
}
