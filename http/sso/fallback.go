package sso

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// of are the providers that the user can sign in with.
func (s *SSO) of(ctx context.Context, userID string) ([]browser.Provider, error) {
	var linked []browser.Provider
	for row, err := range schema.ExternalIDsByUser.Scan(ctx, s.Store, persistence.Range[schema.ExternalIDByUser]{Prefix: schema.ExternalIDByUser{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if p, err := s.find(row.Provider); err == nil && !slices.ContainsFunc(linked, func(l browser.Provider) bool { return l.ID == p.ID }) {
			linked = append(linked, browser.Provider{ID: p.ID, Name: p.Name})
		}
	}
	return linked, nil
}

// fallback tells the user what an app is about to do, before the provider is asked, which may say yes by itself (client-server API, "SSO
// during User-Interactive Authentication").
func (s *SSO) fallback(v *browser.View) (any, error) {
	session, err := v.Need("session")
	if err != nil {
		return nil, err
	}
	userID, action, err := s.o.UIA.Bound(v.Ctx, v.Now, session)
	if err != nil {
		return nil, err
	}
	linked, err := s.of(v.Ctx, userID)
	if err != nil {
		return nil, err
	}
	if len(linked) == 0 {
		return nil, mxerr.Forbidden("this account cannot be signed in to with an identity provider")
	}
	type way struct{ Name, To string }
	shown := struct {
		User, Action string
		Ways         []way
	}{User: userID, Action: action}
	for _, p := range linked {
		shown.Ways = append(shown.Ways, way{p.Name, browser.With(browser.WithPath+url.PathEscape(p.ID), "session", session)})
	}
	return s.o.Pages.Render(http.StatusOK, "prove", browser.Shown{Title: "Show that it is you", Data: shown})
}

// prove completes the stage, when it is the user of the session who has come back.
func (s *SSO) prove(v *browser.View, session, userID string, done *http.Cookie) (any, error) {
	bound, _, err := s.o.UIA.Bound(v.Ctx, v.Now, session)
	if err != nil {
		return nil, err
	}
	if userID == "" || userID != bound {
		return nil, mxerr.Forbidden("you have signed in as somebody else than the app wants to act for")
	}
	if err := s.o.UIA.CompleteSSO(v.Ctx, v.Now, session, userID); err != nil {
		return nil, err
	}
	return s.o.Pages.Render(http.StatusOK, "message", browser.Shown{Title: "Thank you", Data: "Go back to your app; you can close this page.", Script: browser.AuthDone}, done)
}
