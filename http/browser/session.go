package browser

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	cookieName = "matrixon_browser"
	// sessionLife is how long a browser stays signed in.
	sessionLife = 12 * time.Hour
	// fresh is how long ago the user may have proved to be there for what cannot be undone.
	fresh = 10 * time.Minute
	// just is how long ago a user has signed in who comes from doing so.
	just = time.Minute
	// maxUserAgent is how much of a browser's description is kept.
	maxUserAgent = 200
)

// Session is who has signed in with a browser.
type Session struct {
	Account schema.Account
	AuthTS  int64 // ms
	Hash    []byte
}

// within reports whether the user has proved to be there within a time.
func (s *Session) within(r *api.Request, d time.Duration) bool {
	return s != nil && r.Now.UnixMilli()-s.AuthTS <= d.Milliseconds()
}

// named reads the cookie: whose session it is of, and the hash of its secret.
func named(r *api.Request) (userID string, hash []byte) {
	c, err := r.HTTP.Cookie(cookieName)
	if err != nil {
		return "", nil
	}
	name, token, _ := strings.Cut(c.Value, ".")
	raw, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil || !Text(string(raw)) || !secret.Is(secret.Browser, token) {
		return "", nil
	}
	return string(raw), secret.Hash(token)
}

// who finds who is signed in. A session of an account that nobody may use any more counts as none.
func (p *Pages) who(r *api.Request) (*Session, error) {
	userID, hash := named(r)
	if userID == "" {
		return nil, nil
	}
	row, ok, err := schema.BrowserSessions.Get(r.Ctx, p.Store, schema.BrowserSession{UserID: userID, Hash: hash})
	if err != nil || !ok || r.Now.UnixMilli() >= row.ExpiresTS {
		return nil, err
	}
	user, err := p.o.Registrar.Account(r, userID)
	var refused *mxerr.Error
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.Session = &api.Session{UserID: userID, Admin: user.Admin, Suspended: user.Suspended}
	return &Session{Account: user, AuthTS: row.AuthTS, Hash: hash}, nil
}

// SignIn signs a user in who has proved to be there, and gives the cookie.
func (p *Pages) SignIn(r *api.Request, userID string) (*http.Cookie, error) {
	token := secret.New(secret.Browser)
	m := &messages.OpenBrowserSession{Hash: secret.Hash(token), ExpiresTs: r.Now.Add(sessionLife).UnixMilli(), UserAgent: r.HTTP.UserAgent()}
	if len(m.UserAgent) > maxUserAgent {
		m.UserAgent = m.UserAgent[:maxUserAgent]
	}
	m.UserAgent = strings.ToValidUTF8(m.UserAgent, "")
	if before, hash := named(r); before == userID {
		m.Replaces = hash
	}
	if err := p.o.Registrar.Ask(r, userID, m); err != nil {
		return nil, err
	}
	return p.Cookie(cookieName, base64.RawURLEncoding.EncodeToString([]byte(userID))+"."+token, 0), nil
}

// Cookie makes a cookie that only these pages get. It lives as long as the browser runs, unless a lifetime is given; a negative one deletes it.
func (p *Pages) Cookie(name, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: Base, HttpOnly: true, Secure: strings.HasPrefix(p.o.BaseURL(), "https://"), SameSite: http.SameSiteLaxMode}
	switch {
	case life < 0:
		c.MaxAge = -1
	case life > 0:
		c.MaxAge = int(life / time.Second)
	}
	return c
}
