package oauth

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The response modes.
const (
	modeQuery    = "query"
	modeFragment = "fragment"
)

// authorization is a request to be let in, that has been checked.
type authorization struct {
	client               metadata
	clientID, redirect   string
	state, mode          string
	granted, deviceID    string
	challenge            string
	create, login, quiet bool // of prompt
	hint, nonce          string
}

// challenges are what S256 makes of a verifier (RFC 7636).
var challenges = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// maxState bounds what a client wants back, in bytes.
const maxState = 4096

// read checks a request. Before it is known that the browser may go back to the client, problems are shown to the user; afterwards they are the
// client's, and the error is a *returned.
func (s *Server) read(r *api.Request, q url.Values) (*authorization, error) {
	if err := once(q); err != nil {
		return nil, mxerr.InvalidParam("the app has sent a wrong request: %s", err.Error())
	}
	a := &authorization{clientID: q.Get("client_id"), redirect: q.Get("redirect_uri"), state: q.Get("state"), mode: q.Get("response_mode"),
		challenge: q.Get("code_challenge"), hint: q.Get("login_hint"), nonce: q.Get("nonce")}
	var err error
	if a.client, err = s.find(r.Ctx, a.clientID); err != nil {
		if f, ok := err.(failure); ok { //nolint:errorlint // find gives it as it is
			return nil, mxerr.New(f.status, "M_UNKNOWN", "the app has not registered with this server, or long ago; start again in the app")
		}
		return nil, err
	}
	if !a.client.returns(a.redirect) {
		return nil, mxerr.InvalidParam("the app wants you back at an address that it has not registered")
	}
	if len(a.state) > maxState || len(a.nonce) > maxState {
		return nil, mxerr.InvalidParam("the app has sent a state or nonce of more than %d bytes", maxState)
	}
	mode := a.mode
	if mode != modeFragment {
		a.mode = modeQuery
	}
	switch {
	case mode != "" && mode != modeFragment && mode != modeQuery:
		return nil, a.fail("invalid_request", "response_mode must be query or fragment")
	case q.Get("response_type") != "code":
		return nil, a.fail("unsupported_response_type", "response_type must be code")
	case !slices.Contains(a.client.Grants, grantCode):
		return nil, a.fail("unauthorized_client", "the client has not registered the grant type "+grantCode)
	case q.Has("request") || q.Has("request_uri"):
		return nil, a.fail("request_not_supported", "requests are not taken as objects")
	case q.Get("code_challenge_method") != "S256" || !challenges.MatchString(a.challenge):
		return nil, a.fail("invalid_request", "code_challenge with code_challenge_method S256 is required")
	}
	if a.granted, a.deviceID, err = parseScope(q.Get("scope")); err != nil {
		return nil, a.fail("invalid_scope", err.(failure).description) //nolint:errorlint,forcetypeassert // parseScope gives no other
	}
	for _, prompt := range strings.Fields(q.Get("prompt")) {
		a.create, a.login, a.quiet = a.create || prompt == "create", a.login || prompt == "login", a.quiet || prompt == "none"
	}
	if a.quiet { // nobody is let in without being asked
		return nil, a.fail("interaction_required", "the user must be asked")
	}
	return a, nil
}

// returned is a problem that the client is told of.
type returned struct{ to string }

func (returned) Error() string { return "the request is refused" }

func (a *authorization) fail(code, description string) error {
	return returned{a.back(url.Values{"error": {code}, "error_description": {description}})}
}

// back is the client's address with an answer.
func (a *authorization) back(answer url.Values) string {
	if a.state != "" {
		answer.Set("state", a.state)
	}
	if a.mode == modeFragment {
		return a.redirect + "#" + answer.Encode()
	}
	mark := "?"
	if strings.Contains(a.redirect, "?") {
		mark = "&"
	}
	return a.redirect + mark + answer.Encode()
}

// consent is what the user is asked.
type consent struct {
	browser.Description
	Self, Request     string
	Target, Device    string
	UserCode, Warning string
	SignIn            string // as somebody else
}

// authorizePage asks the user, who signs in first, whether to let a client in (client-server API, "Authorisation code flow").
func (s *Server) authorizePage(v *browser.View) (any, error) {
	q := v.Query()
	a, err := s.read(v.Request, q)
	if back, ok := err.(returned); ok { //nolint:errorlint // read gives it as it is
		return browser.Redirect(back.to), nil
	}
	if err != nil {
		return nil, err
	}
	q.Del("prompt") // it is followed once
	self := browser.Local(authorizePath + "?" + q.Encode())
	if a.login {
		return browser.Redirect(browser.With(browser.SignInPath, "next", self)), nil
	}
	if to := s.o.Pages.NeedUser(v, self, a.create, a.hint); to != nil {
		return to, nil
	}
	c, err := s.describe(v, a.clientID, a.deviceID, consent{Self: authorizePath, Request: q.Encode(), Target: target(a.redirect),
		SignIn: browser.With(browser.SignInPath, "next", self)})
	return s.ask(v, c, err)
}

// target is where the browser goes on, in words.
func target(redirect string) string {
	u, err := url.Parse(redirect)
	switch {
	case err != nil:
		return ""
	case u.Host != "":
		return u.Host
	}
	return "the app " + u.Scheme + " on this device"
}

// describe fills in what is known of a client and the device.
func (s *Server) describe(v *browser.View, clientID, deviceID string, c consent) (consent, error) {
	row, _, err := schema.OAuthClients.Get(v.Ctx, s.Store, schema.OAuthClient{ClientID: clientID})
	if err != nil {
		return c, err
	}
	c.Description, c.Device = browser.Described(row), deviceID
	_, taken, err := schema.Devices.Get(v.Ctx, s.Store, schema.Device{UserID: v.Who.Account.UserID, DeviceID: deviceID})
	if err == nil && taken {
		c.Warning = "You have a device of this id already: the app takes its place, and it is signed out."
	}
	return c, err
}

func (s *Server) ask(v *browser.View, c consent, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return s.o.Pages.Render(http.StatusOK, "consent", browser.Shown{Title: "Let " + c.Name + " in?", User: v.Who.Account.UserID, Data: c})
}

// authorize does what the user has decided.
func (s *Server) authorize(v *browser.View) (any, error) {
	q, err := url.ParseQuery(v.Form.Get("request"))
	if err != nil {
		return nil, mxerr.InvalidParam("this is no form of this server")
	}
	a, err := s.read(v.Request, q)
	if back, ok := err.(returned); ok { //nolint:errorlint // read gives it as it is
		return browser.Redirect(back.to), nil
	}
	if err != nil {
		return nil, err
	}
	if to := s.o.Pages.NeedUser(v, browser.Local(authorizePath+"?"+q.Encode()), false, a.hint); to != nil {
		return to, nil
	}
	if v.Form.Get("decision") != "allow" {
		return browser.Redirect(a.back(url.Values{"error": {"access_denied"}, "error_description": {"the user has refused"}})), nil
	}
	if err := v.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	code := secret.New(secret.Code)
	err = s.o.Pages.Registrar().Ask(v.Request, v.Who.Account.UserID, &messages.GrantOAuth{Hash: secret.Hash(code), ClientId: a.clientID, DeviceId: a.deviceID,
		Scope: a.granted, RedirectUri: a.redirect, Challenge: a.challenge, Nonce: a.nonce, ExpiresTs: v.Now.Add(codeLife).UnixMilli()})
	if err != nil {
		return nil, err
	}
	return browser.Redirect(a.back(url.Values{"code": {code}, "iss": {s.o.Pages.URL("/")}})), nil
}
