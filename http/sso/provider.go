package sso

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Provider is an identity provider that speaks OpenID Connect, as the operator has configured it.
type Provider struct {
	ID, Name, Brand, Icon string
	Issuer                string
	ClientID, Secret      string
	Scopes                []string // besides openid
	Claims                Claims
	AllowExisting         bool // who has the user name of an account that is there gets it
	NoNewAccounts         bool
	BackChannel           bool // the provider may sign people out
}

// Claims names the claims from which an account is made; empty: none.
type Claims struct{ Localpart, DisplayName, Email string }

// person is whom a provider has named.
type person struct {
	Subject     string `json:"sub"`
	Localpart   string `json:"localpart,omitzero"`
	DisplayName string `json:"name,omitzero"`
	Email       string `json:"email,omitzero"` // verified
}

// remote is a provider that is asked. What it says about itself is read when it is first needed, so that the server starts without it.
type remote struct {
	Provider
	callback func() string
	client   *http.Client

	mu    sync.Mutex
	found *oidc.Provider
}

// maxSubject bounds how a provider names people, in bytes.
const maxSubject = 255

func (p *remote) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.Issuer)
	if err != nil {
		return nil, p.unreachable(err)
	}
	p.found = found
	return found, nil
}

// unreachable is what people are told when the provider does not do its part; the operator finds out why in the log.
func (p *remote) unreachable(err error) error { return failed{p.Name, err} }

// failed is the failure of a provider.
type failed struct {
	name  string
	cause error
}

func (f failed) Error() string { return fmt.Sprintf("identity provider %s: %v", f.name, f.cause) }

func (f failed) refusal() *mxerr.Error {
	return mxerr.New(http.StatusBadGateway, "M_UNKNOWN", "%s does not answer as it should; try again later", f.name)
}

func (p *remote) oauth(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.Secret, Endpoint: found.Endpoint(), RedirectURL: p.callback(),
		Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...)}
}

// address is where the browser is sent. With again the provider is asked to let people prove anew that they are there.
func (p *remote) address(ctx context.Context, state, nonce, verifier string, again bool) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)}
	if again {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return p.oauth(found).AuthCodeURL(state, options...), nil
}

// exchange learns who comes back with a code.
func (p *remote) exchange(ctx context.Context, code, nonce, verifier string) (person, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return person{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := p.oauth(found).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return person{}, p.unreachable(err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return person{}, p.unreachable(errors.New("there is no id_token in its answer"))
	}
	id, err := found.VerifierContext(ctx, &oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	switch {
	case err != nil:
		return person{}, p.unreachable(err)
	case id.Nonce != nonce:
		return person{}, p.unreachable(errors.New("the nonce is not that of the request"))
	case id.Subject == "" || len(id.Subject) > maxSubject || !browser.Text(id.Subject):
		return person{}, p.unreachable(errors.New("the subject is missing, or too long"))
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return person{}, p.unreachable(err)
	}
	if p.lacks(claims) && found.UserInfoEndpoint() != "" {
		info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return person{}, p.unreachable(err)
		}
		if info.Subject != id.Subject {
			return person{}, p.unreachable(errors.New("its userinfo is about somebody else"))
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return person{}, p.unreachable(err)
		}
		for name, value := range more {
			if _, ok := claims[name]; !ok {
				claims[name] = value
			}
		}
	}
	return p.person(id.Subject, claims), nil
}

// lacks reports whether a claim is wanted that is not there.
func (p *remote) lacks(claims map[string]any) bool {
	for _, name := range []string{p.Claims.Localpart, p.Claims.DisplayName, p.Claims.Email} {
		if _, ok := claims[name]; name != "" && !ok {
			return true
		}
	}
	return false
}

func (p *remote) person(subject string, claims map[string]any) person {
	text := func(name string) string {
		value, _ := claims[name].(string)
		if !browser.Text(value) || len(value) > 1000 {
			return ""
		}
		return value
	}
	who := person{Subject: subject, Localpart: text(p.Claims.Localpart), DisplayName: text(p.Claims.DisplayName)}
	if verified, _ := claims["email_verified"].(bool); verified {
		who.Email = text(p.Claims.Email)
	}
	return who
}

// signedOut gives the subject of a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6).
func (p *remote) signedOut(ctx context.Context, token string) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	verified, err := found.VerifierContext(ctx, &oidc.Config{ClientID: p.ClientID}).Verify(ctx, token)
	if err != nil {
		return "", err
	}
	var claims struct {
		Events map[string]any `json:"events"`
		Nonce  *string        `json:"nonce"`
	}
	if err := verified.Claims(&claims); err != nil {
		return "", err
	}
	if _, ok := claims.Events["http://schemas.openid.net/event/backchannel-logout"]; !ok || claims.Nonce != nil || verified.Subject == "" {
		return "", errors.New("it is no logout token that names somebody")
	}
	return verified.Subject, nil
}
