// Package sso lets people sign in with identity providers that speak OpenID Connect (client-server API, "SSO client
// login/authentication"): the browser goes to the provider and comes back with who its user is, who then is signed in to the server's own
// pages. What is under way lies sealed in the browser's cookies; the server stores only which account belongs to whom.
package sso

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	// CallbackPath is where providers send browsers back to.
	CallbackPath   = browser.Base + "/callback"
	namePath       = browser.Base + "/name"
	backPath       = browser.Base + "/backchannel/{idpId}"
	cookiePrefix   = "matrixon_sso_"
	underWayLife   = 15 * time.Minute
	underWayMatter = "sso under way"
	nameMatter     = "sso without a name"
	// maxDisplayName bounds a name that a provider gives, in characters.
	maxDisplayName = 256
)

// Options are what the endpoints need besides client.Deps.
type Options struct {
	Pages     *browser.Pages
	Box       *secret.Box
	UIA       *uia.Engine
	Providers []Provider
	// Client asks the providers.
	Client *http.Client
}

// SSO is the way to identity providers and back.
type SSO struct {
	client.Deps
	o         Options
	providers []*remote
}

// New makes it.
func New(d client.Deps, o Options) *SSO {
	s := &SSO{Deps: d, o: o}
	for _, p := range o.Providers {
		s.providers = append(s.providers, &remote{Provider: p, client: o.Client, callback: func() string { return o.Pages.URL(CallbackPath) }})
	}
	return s
}

// Endpoints are those of the way.
func (s *SSO) Endpoints() []api.Endpoint {
	get, post := []string{http.MethodGet}, []string{http.MethodPost}
	fallback := s.page(get, "/_matrix/client/v3/auth/m.login.sso/fallback/web", s.fallback)
	fallback.Also = []string{"/_matrix/client/r0/auth/m.login.sso/fallback/web"}
	return []api.Endpoint{
		s.page(get, browser.WithPath+"{idpId}", s.begin), s.page(get, CallbackPath, s.callback), s.page(post, namePath, s.named), fallback,
		{Methods: post, Path: backPath, MaxBody: 64 << 10, Limit: api.LimitLogin, Handler: s.backChannel},
	}
}

// page is a page on which the failures of providers are shown too.
func (s *SSO) page(methods []string, path string, f func(*browser.View) (any, error)) api.Endpoint {
	return s.o.Pages.Page(methods, path, func(v *browser.View) (any, error) {
		answer, err := f(v)
		var failure failed
		if errors.As(err, &failure) {
			s.Log.Warn("somebody could not be signed in", "provider", failure.name, "error", failure.cause)
			return nil, failure.refusal()
		}
		return answer, err
	})
}

func (s *SSO) find(id string) (*remote, error) {
	i := slices.IndexFunc(s.providers, func(p *remote) bool { return p.ID == id })
	if i < 0 {
		return nil, mxerr.NotFound("this server does not know the identity provider %.64q", id)
	}
	return s.providers[i], nil
}

// underWay is what the browser keeps while its user is at the provider.
type underWay struct {
	Provider string `json:"p"`
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Next     string `json:"x"`
	Session  string `json:"u,omitzero"` // of user-interactive authentication, when it is for one
	Connect  string `json:"c,omitzero"` // the user whom the provider is to sign in from now on, when it is for that
	Expires  int64  `json:"e"`
}

// begin sends the browser to the provider.
func (s *SSO) begin(v *browser.View) (any, error) {
	p, err := s.find(v.Vars["idpId"])
	if err != nil {
		return nil, err
	}
	if err := v.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	w := underWay{Provider: p.ID, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: browser.Local(v.Param("next")),
		Session: v.Param("session"), Expires: v.Now.Add(underWayLife).UnixMilli()}
	if v.Param("connect") != "" {
		if to := s.o.Pages.NeedFresh(v, browser.Local(v.HTTP.URL.RequestURI())); to != nil {
			return to, nil
		}
		w.Connect, w.Next = v.Who.Account.UserID, browser.With(browser.AccountPath, "action", browser.ActionProfile)
	}
	to, err := p.address(v.Ctx, w.State, w.Nonce, w.Verifier, w.Session != "" || v.Param("again") != "")
	if err != nil {
		return nil, err
	}
	sealed, err := s.o.Box.Seal(underWayMatter, w)
	if err != nil {
		return nil, err
	}
	return browser.Redirect(to, s.o.Pages.Cookie(cookieName(w.State), sealed, underWayLife)), nil
}

// cookieName lets several be under way in one browser.
func cookieName(state string) string { return cookiePrefix + state[:min(len(state), 8)] }

// callback is where the browser comes back: the one that went, and no other (client-server API, "Handling the callback from the
// Authentication server").
func (s *SSO) callback(v *browser.View) (any, error) {
	state := v.Param("state")
	stale := mxerr.InvalidParam("this browser is not on its way to sign in, or was for too long; go back to your app and begin anew")
	if strings.Trim(state, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" || state == "" {
		return nil, stale
	}
	cookie, err := v.HTTP.Cookie(cookieName(state))
	var w underWay
	if err != nil || !s.o.Box.Open(underWayMatter, cookie.Value, &w) || v.Now.UnixMilli() >= w.Expires || subtle.ConstantTimeCompare([]byte(state), []byte(w.State)) != 1 {
		return nil, stale
	}
	p, err := s.find(w.Provider)
	if err != nil {
		return nil, err
	}
	if iss := v.Param("iss"); iss != "" && iss != p.Issuer {
		return nil, mxerr.InvalidParam("somebody else than %s has answered", p.Name)
	}
	if v.Query().Has("error") {
		return nil, mxerr.Forbidden("%s has not signed you in", p.Name)
	}
	who, err := p.exchange(v.Ctx, v.Param("code"), w.Nonce, w.Verifier)
	if err != nil {
		return nil, err
	}
	done := s.o.Pages.Cookie(cookieName(state), "", -1)
	row, known, err := schema.ExternalIDs.Get(v.Ctx, s.Store, schema.ExternalID{Provider: p.ID, Subject: who.Subject})
	switch {
	case err != nil:
		return nil, err
	case w.Session != "":
		return s.prove(v, w.Session, row.UserID, done)
	case w.Connect != "":
		return s.connect(v, p, who, w, done)
	case known:
		return s.signIn(v, row.UserID, w.Next, done)
	}
	return s.newcomer(v, p, who, w.Next, done)
}

// connect lets the provider sign in the user who has asked for it, and is still there.
func (s *SSO) connect(v *browser.View, p *remote, who person, w underWay, done *http.Cookie) (any, error) {
	if v.Who == nil || v.Who.Account.UserID != w.Connect {
		return nil, mxerr.Forbidden("you are not signed in any more as who wanted this; begin anew")
	}
	if err := s.o.Pages.Registrar().Ask(v.Request, w.Connect, &messages.LinkExternalID{ExternalId: external(p.ID, who)}); err != nil {
		return nil, err
	}
	return browser.Redirect(w.Next, done), nil
}

// signIn signs the user in to the pages, and goes on.
func (s *SSO) signIn(v *browser.View, userID, next string, cookies ...*http.Cookie) (any, error) {
	if _, err := s.o.Pages.Registrar().Account(v.Request, userID); err != nil {
		return nil, err
	}
	cookie, err := s.o.Pages.SignIn(v.Request, userID)
	if err != nil {
		return nil, err
	}
	return browser.Redirect(next, append(cookies, cookie)...), nil
}

// newcomer finds or makes the account of somebody who comes for the first time.
func (s *SSO) newcomer(v *browser.View, p *remote, who person, next string, done *http.Cookie) (any, error) {
	name := strings.ToLower(who.Localpart)
	if p.AllowExisting && name != "" {
		userID := "@" + name + ":" + s.ServerName
		_, there, err := schema.Accounts.Get(v.Ctx, s.Store, schema.Account{UserID: userID})
		if err != nil {
			return nil, err
		}
		if there {
			if err := s.o.Pages.Registrar().Ask(v.Request, userID, &messages.LinkExternalID{ExternalId: external(p.ID, who)}); err != nil {
				return nil, err
			}
			return s.signIn(v, userID, next, done)
		}
	}
	if p.NoNewAccounts {
		return nil, mxerr.Forbidden("you have no account here, and %s makes none for those who come from %s", s.ServerName, p.Name)
	}
	if name != "" && len(s.o.Pages.Registrar().Rules().Documents) == 0 {
		userID, err := s.o.Pages.Registrar().Free(v.Request, name)
		if err == nil {
			err = s.make(v, userID, p.ID, who)
		}
		if err == nil {
			return s.signIn(v, userID, next, done)
		}
		if browser.Refusal(err) == nil {
			return nil, err
		}
	}
	name, _, _ = strings.Cut(name, "@")
	sealed, err := s.o.Box.Seal(nameMatter, nameless{p.ID, who, next, v.Now.Add(underWayLife).UnixMilli()})
	if err != nil {
		return nil, err
	}
	return s.o.Pages.AskName(http.StatusOK, namePath, sealed, name, p.Name, "")
}

func external(provider string, who person) *messages.ExternalID {
	return &messages.ExternalID{Provider: provider, Subject: who.Subject}
}

// nameless is somebody new who is choosing a user name.
type nameless struct {
	Provider string `json:"p"`
	Who      person `json:"w"`
	Next     string `json:"x"`
	Expires  int64  `json:"e"`
}

// named makes the account under the name that was chosen.
func (s *SSO) named(v *browser.View) (any, error) {
	var n nameless
	sealed := v.Form.Get("carried")
	if !s.o.Box.Open(nameMatter, sealed, &n) || v.Now.UnixMilli() >= n.Expires {
		return nil, mxerr.InvalidParam("choosing has taken too long; go back to your app and begin anew")
	}
	p, err := s.find(n.Provider)
	if err != nil {
		return nil, err
	}
	v.Session = nil // whoever is signed in with this browser, attempts count for the address
	if err := v.Take(api.LimitRegister); err != nil {
		return nil, err
	}
	name := strings.TrimSpace(v.Form.Get("name"))
	userID, err := s.o.Pages.Registrar().Free(v.Request, name)
	if err == nil && len(s.o.Pages.Registrar().Rules().Documents) > 0 && v.Form.Get("agree") == "" {
		err = mxerr.InvalidParam("an account can only be made when you agree to the terms")
	}
	if err == nil {
		err = s.make(v, userID, p.ID, n.Who)
	}
	if refused := browser.Refusal(err); refused != nil {
		return s.o.Pages.AskName(refused.Status, namePath, sealed, name, p.Name, refused.Message)
	}
	if err != nil {
		return nil, err
	}
	return s.signIn(v, userID, n.Next)
}

// make makes an account that belongs to whom the provider has named. An address that belongs to another account is left out.
func (s *SSO) make(v *browser.View, userID, provider string, who person) error {
	m := &messages.RegisterExternal{ExternalId: external(provider, who), Account: &messages.RegisterAccount{DisplayName: who.DisplayName}}
	if utf8.RuneCountInString(who.DisplayName) > maxDisplayName {
		m.Account.DisplayName = ""
	}
	if canonical, ok := address.Canonical(who.Email); ok && who.Email != "" {
		m.Account.ThirdPartyId = &messages.AddThirdPartyID{Medium: account.Email, Address: canonical, ValidatedTs: v.Now.UnixMilli()}
	}
	err := s.o.Pages.Registrar().Ask(v.Request, userID, m)
	if refused := browser.Refusal(err); refused != nil && refused.Code == "M_THREEPID_IN_USE" {
		m.Account.ThirdPartyId = nil
		err = s.o.Pages.Registrar().Ask(v.Request, userID, m)
	}
	return err
}

// Linked reports whether the user can sign in with a provider.
func (s *SSO) Linked(ctx context.Context, userID string) (bool, error) {
	linked, err := s.of(ctx, userID)
	return len(linked) > 0, err
}

// backChannel is a provider that signs somebody out, of all devices (OpenID Connect Back-Channel Logout 1.0).
func (s *SSO) backChannel(r *api.Request) (any, error) {
	p, err := s.find(r.Vars["idpId"])
	if err != nil || !p.BackChannel {
		return nil, mxerr.Unrecognized("there is no such endpoint on this server")
	}
	raw, err := r.Body()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, mxerr.BadJSON("this is no form")
	}
	subject, err := p.signedOut(r.Ctx, form.Get("logout_token"))
	if err != nil {
		s.Log.Warn("a logout token was refused", "provider", p.Name, "error", err)
		return nil, mxerr.InvalidParam("the logout token is not valid")
	}
	row, ok, err := schema.ExternalIDs.Get(r.Ctx, s.Store, schema.ExternalID{Provider: p.ID, Subject: subject})
	if err != nil || !ok {
		return nil, err
	}
	return nil, s.o.Pages.Registrar().RemoveDevices(r, row.UserID)
}
