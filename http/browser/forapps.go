package browser

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

const (
	// loginTokenLife is how long an app has to use the token that it is sent back with.
	loginTokenLife = 30 * time.Second
	// maxAppURL bounds the address of an app, in bytes.
	maxAppURL = 2000
)

// forApps are the endpoints through which apps of the legacy API send people here (client-server API, "SSO client login/authentication").
func (p *Pages) forApps() []api.Endpoint {
	const path = "/_matrix/client/v3/login/sso/redirect"
	old := func(path string) []string { return []string{strings.Replace(path, "/v3/", "/r0/", 1)} }
	begin, with := p.Page(get, path, p.beginSSO), p.Page(get, path+"/{idpId}", p.beginSSO)
	begin.Also, with.Also = old(begin.Path), old(with.Path)
	return []api.Endpoint{begin, with, p.Page(get, ContinuePath, p.continuePage), p.Page(post, ContinuePath, p.goOn)}
}

// beginSSO is where an app sends a browser.
func (p *Pages) beginSSO(v *View) (any, error) {
	app, err := v.Need("redirectUrl")
	if err != nil {
		return nil, err
	}
	if _, err := appURL(app); err != nil {
		return nil, err
	}
	action, err := v.Enum("action", "login", "login", "register")
	if err != nil {
		return nil, err
	}
	next := With(ContinuePath, "redirectUrl", app)
	if id := v.Vars["idpId"]; id != "" {
		if !slices.ContainsFunc(p.o.Providers, func(known Provider) bool { return known.ID == id }) {
			return nil, mxerr.NotFound("this server does not know the identity provider %.64q", id)
		}
		return found(With(WithPath+url.PathEscape(id), "next", next)), nil
	}
	if action == "register" && p.SignUp() {
		return found(With(SignUpPath, "next", next)), nil
	}
	return found(next), nil // where it is known who is signed in: the cookie does not come here
}

// found is Redirect with the status that the specification names.
func found(to string) api.Answer {
	h := http.Header{}
	guard(h)
	h.Set("Location", to)
	return api.Answer{Status: http.StatusFound, Header: h}
}

// appURL checks where an app wants the browser back: nowhere that would run as a script, or on the user's disk.
func appURL(app string) (*url.URL, error) {
	u, err := url.Parse(app)
	if err != nil || u.Scheme == "" || len(app) > maxAppURL || u.User != nil || (u.Scheme == "http" || u.Scheme == "https") && u.Host == "" {
		return nil, mxerr.InvalidParam("redirectUrl must be a full address of at most %d bytes", maxAppURL)
	}
	switch strings.ToLower(u.Scheme) {
	case "javascript", "data", "vbscript", "file", "about", "blob", "filesystem", "view-source":
		return nil, mxerr.InvalidParam("redirectUrl must be the address of an app")
	}
	return u, nil
}

// trusted reports whether the operator trusts the app with this address. A trusted beginning ends where a part of an address does.
func (p *Pages) trusted(app *url.URL) bool {
	text := app.String()
	return slices.ContainsFunc(p.o.Trusted, func(t string) bool {
		rest, ok := strings.CutPrefix(text, t)
		return ok && (rest == "" || strings.HasSuffix(t, "/") || strings.ContainsAny(rest[:1], "/?#"))
	})
}

// confirmForm is what is shown before an app is let in.
type confirmForm struct {
	Self, App, AppName string
	SignIn             string // as somebody else
}

// continuePage lets the app in, after the user has agreed: else a link could hand an account to whoever made it. Who has signed in just
// now, for an app that the operator trusts, has agreed.
func (p *Pages) continuePage(v *View) (any, error) {
	app, err := appURL(v.Param("redirectUrl"))
	if err != nil {
		return nil, err
	}
	self := With(ContinuePath, "redirectUrl", app.String())
	if to := p.NeedUser(v, self, false, ""); to != nil {
		return to, nil
	}
	if p.trusted(app) && v.Who.within(v.Request, just) {
		return p.letIn(v, app)
	}
	name := app.Host
	if name == "" {
		name = "the app " + app.Scheme
	}
	return p.Render(http.StatusOK, "confirm", Shown{Title: "Go on to " + name + "?", User: v.Who.Account.UserID,
		Data: confirmForm{Self: ContinuePath, App: app.String(), AppName: name, SignIn: With(SignInPath, "next", self)}})
}

// goOn is the button of continuePage.
func (p *Pages) goOn(v *View) (any, error) {
	app, err := appURL(v.Form.Get("redirectUrl"))
	if err != nil {
		return nil, err
	}
	if to := p.NeedUser(v, With(ContinuePath, "redirectUrl", app.String()), false, ""); to != nil {
		return to, nil
	}
	return p.letIn(v, app)
}

// letIn sends the browser back with a login token.
func (p *Pages) letIn(v *View, app *url.URL) (any, error) {
	token := secret.New(secret.Login)
	err := p.o.Registrar.Ask(v.Request, v.Who.Account.UserID, &messages.IssueShortToken{
		TokenKind: account.LoginToken, Hash: secret.Hash(token), ExpiresTs: v.Now.Add(loginTokenLife).UnixMilli()})
	if err != nil {
		return nil, err
	}
	to := *app
	query := to.Query()
	query.Set("loginToken", token)
	to.RawQuery = query.Encode()
	return Redirect(to.String()), nil
}
