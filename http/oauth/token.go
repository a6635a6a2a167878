package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// refreshPrefix marks the refresh tokens of OAuth 2.0. What follows is sealed: whom the token is of. So one that is good no more still
// tells which session was compromised, and nothing of it needs to be kept.
const refreshPrefix = "mxor_"

// owner is what a refresh token says of itself.
type owner struct {
	UserID    string `json:"u"`
	DeviceID  string `json:"d"`
	SessionID string `json:"s"`
}

// refreshPurpose is what the box seals refresh tokens for.
const refreshPurpose = "oauth refresh token"

func (s *Server) newRefresh(o owner) (string, error) {
	sealed, err := s.o.Box.Seal(refreshPurpose, o)
	return refreshPrefix + sealed, err
}

// issued is the answer of the token endpoint (RFC 6749, section 5.1).
type issued struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token,omitzero"`
}

func (s *Server) answer(access, refresh, scope string) issued {
	return issued{AccessToken: access, TokenType: "Bearer", ExpiresIn: int64(s.o.AccessLifetime / time.Second), RefreshToken: refresh, Scope: scope}
}

func (s *Server) refreshExpiry(now time.Time) int64 {
	if s.o.RefreshLifetime == 0 {
		return 0
	}
	return now.Add(s.o.RefreshLifetime).UnixMilli()
}

// errGrant is of everything that was shown in vain; which it was is nobody's business.
var errGrant = fail("invalid_grant", "what was shown is not good, or no longer, or was given to another client")

// token gives tokens (client-server API, "Grant types").
func (s *Server) token(r *api.Request) (any, error) {
	q, err := form(r)
	if err != nil {
		return nil, err
	}
	if q.Get("client_id") == "" {
		return nil, fail("invalid_request", "client_id is required")
	}
	switch q.Get("grant_type") {
	case "":
		return nil, fail("invalid_request", "grant_type is required")
	case grantCode:
		return s.byCode(r, q)
	case grantRefresh:
		return s.byRefresh(r, q)
	case grantDevice:
		return s.byDevice(r, q)
	}
	return nil, fail("unsupported_grant_type", "grant_type must be one of those in the server's metadata")
}

// verifiers are what PKCE allows (RFC 7636, section 4.1).
var verifiers = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// byCode redeems an authorization code.
func (s *Server) byCode(r *api.Request, q url.Values) (any, error) {
	if err := r.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	code, verifier := q.Get("code"), q.Get("code_verifier")
	switch {
	case code == "" || q.Get("redirect_uri") == "" || verifier == "":
		return nil, fail("invalid_request", "code, redirect_uri and code_verifier are required")
	case !secret.Is(secret.Code, code):
		return nil, errGrant
	}
	g, ok, err := schema.OAuthGrants.Get(r.Ctx, s.Store, schema.OAuthGrant{Hash: secret.Hash(code)})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(verifier))
	proof := base64.RawURLEncoding.EncodeToString(sum[:])
	if !ok || g.ClientID != q.Get("client_id") || g.RedirectURI != q.Get("redirect_uri") || !verifiers.MatchString(verifier) ||
		subtle.ConstantTimeCompare([]byte(proof), []byte(g.Challenge)) != 1 {
		return nil, errGrant
	}
	return s.redeem(r, g)
}

// redeem opens the session that a user has granted.
func (s *Server) redeem(r *api.Request, g schema.OAuthGrant) (any, error) {
	access := secret.New(secret.Access)
	who := owner{g.UserID, g.DeviceID, secret.New(secret.Session)}
	refresh, err := s.newRefresh(who)
	if err != nil {
		return nil, err
	}
	if _, err := s.o.Pages.Registrar().Account(r, g.UserID); err != nil {
		return nil, denied(err)
	}
	err = s.o.Pages.Registrar().Ask(r, g.UserID, &messages.RedeemOAuth{Hash: g.Hash, SessionId: who.SessionID, Session: &messages.OpenSession{
		AccessHash: secret.Hash(access), AccessExpiresTs: r.Now.Add(s.o.AccessLifetime).UnixMilli(),
		RefreshHash: secret.Hash(refresh), RefreshExpiresTs: s.refreshExpiry(r.Now)}})
	s.o.Sessions.Forget(g.UserID)
	if err != nil {
		return nil, denied(err)
	}
	answer := s.answer(access, refresh, g.Scope)
	answer.IDToken, err = s.idToken(g, r.Now)
	return answer, err
}

// denied makes errGrant of what the account's actor refuses.
func denied(err error) error {
	if refused := browser.Refusal(err); refused != nil && refused.Status < http.StatusInternalServerError && refused.Status != http.StatusTooManyRequests {
		return errGrant
	}
	return err
}

// byRefresh exchanges a refresh token. One that was used up, because what it bought was used, has been copied: then the session ends
// (client-server API, "Refresh token grant").
func (s *Server) byRefresh(r *api.Request, q url.Values) (any, error) {
	if err := r.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	token := q.Get("refresh_token")
	if token == "" {
		return nil, fail("invalid_request", "refresh_token is required")
	}
	who, session, err := s.sessionOf(r, token)
	if err != nil {
		return nil, err
	}
	if session.ClientID != q.Get("client_id") {
		return nil, errGrant
	}
	_, ok, err := schema.RefreshTokens.Get(r.Ctx, s.Store, schema.RefreshToken{Hash: secret.Hash(token)})
	if err != nil {
		return nil, err
	}
	if !ok {
		s.Log.Warn("a refresh token was used again; the session ends", "user", who.UserID, "device", who.DeviceID)
		if err := s.o.Pages.Registrar().RemoveDevices(r, who.UserID, who.DeviceID); err != nil {
			return nil, err
		}
		return nil, errGrant
	}
	access := secret.New(secret.Access) // to a locked account too, so that its apps learn that it is locked
	next, err := s.newRefresh(who)
	if err != nil {
		return nil, err
	}
	_, err = client.AskUser[*messages.SessionRefreshed](r.Ctx, s.Deps, who.UserID, &messages.RefreshSession{RefreshHash: secret.Hash(token),
		NewAccessHash: secret.Hash(access), NewAccessExpiresTs: r.Now.Add(s.o.AccessLifetime).UnixMilli(),
		NewRefreshHash: secret.Hash(next), NewRefreshExpiresTs: s.refreshExpiry(r.Now)})
	if err != nil {
		return nil, denied(err)
	}
	s.o.Sessions.Forget(who.UserID)
	return s.answer(access, next, session.Scope), nil
}

// sessionOf gives the session that a refresh token was made for, if it goes on.
func (s *Server) sessionOf(r *api.Request, token string) (owner, schema.OAuthSession, error) {
	var who owner
	sealed, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || !s.o.Box.Open(refreshPurpose, sealed, &who) {
		return who, schema.OAuthSession{}, errGrant
	}
	session, ok, err := schema.OAuthSessions.Get(r.Ctx, s.Store, schema.OAuthSession{UserID: who.UserID, DeviceID: who.DeviceID})
	if err == nil && (!ok || session.SessionID != who.SessionID) {
		err = errGrant
	}
	return who, session, err
}

// revoke ends the session of a token, with its device (client-server API, "Token revocation"; RFC 7009). Whoever has a token could log it
// out too, so that nobody has to say which client it is.
func (s *Server) revoke(r *api.Request) (any, error) {
	q, err := form(r)
	if err != nil {
		return nil, err
	}
	token := q.Get("token")
	if token == "" {
		return nil, fail("invalid_request", "token is required")
	}
	userID, deviceID := "", ""
	if secret.Is(secret.Access, token) {
		row, _, err := schema.AccessTokens.Get(r.Ctx, s.Store, schema.AccessToken{Hash: secret.Hash(token)})
		if err != nil {
			return nil, err
		}
		userID, deviceID = row.UserID, row.DeviceID
	} else {
		row, _, err := schema.RefreshTokens.Get(r.Ctx, s.Store, schema.RefreshToken{Hash: secret.Hash(token)})
		if err != nil {
			return nil, err
		}
		userID, deviceID = row.UserID, row.DeviceID
	}
	if userID == "" || deviceID == "" {
		return nil, nil // "the token is already revoked or invalid"
	}
	return nil, s.o.Pages.Registrar().RemoveDevices(r, userID, deviceID)
}
