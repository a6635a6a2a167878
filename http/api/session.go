package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Session is who speaks with an access token.
type Session struct {
	UserID   string
	DeviceID string // empty for application services that name no device
	// DeviceSince is when the device was made, in ms: another may have had its id before.
	DeviceSince int64
	Admin       bool
	Locked      bool
	Suspended   bool
	// Appservice is the id of the application service that speaks, for itself or for UserID.
	Appservice string
	// OAuth is the client that was let in through the OAuth 2.0 API, by its id; empty for sessions of the legacy API.
	OAuth string
	// Unlimited frees the session from rate limits.
	Unlimited bool
	// Expires is when the token ends; zero is never.
	Expires time.Time
	// TokenHash is the SHA-256 of the access token.
	TokenHash [32]byte
}

// Authenticator finds the session of a token. It refuses with *mxerr.Error 401 M_UNKNOWN_TOKEN.
type Authenticator interface {
	Authenticate(ctx context.Context, token string, r *http.Request) (*Session, error)
}

// FederationAuthenticator checks the signature of a remote server's request and gives its name.
type FederationAuthenticator interface {
	AuthenticateServer(ctx context.Context, r *http.Request, body []byte) (origin string, err error)
}

// SeenRecorder notes that a device was used. It must be quick and never block.
type SeenRecorder interface {
	Seen(s *Session, ip, userAgent string, now time.Time)
}

// UnknownToken is 401 M_UNKNOWN_TOKEN; soft says that logging in again with the same device keeps its data
// (client-server API, "Soft logout").
func UnknownToken(soft bool) *mxerr.Error {
	return mxerr.New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "the access token is not valid").With("soft_logout", soft)
}

// TokenOf gives the access token of a request: of its Authorization header or else its access_token parameter.
func TokenOf(r *http.Request) string {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token)
		}
		return ""
	}
	return r.URL.Query().Get("access_token")
}

// authenticate fills the request's session or origin, or refuses.
func (a *API) authenticate(r *Request) error {
	e := r.endpoint
	switch e.Auth {
	case Public:
		return nil
	case Signed:
		body, err := r.Body()
		if err != nil {
			return err
		}
		r.Origin, err = a.options.Federation.AuthenticateServer(r.Ctx, r.HTTP, body)
		return err
	}
	token := TokenOf(r.HTTP)
	if token == "" {
		if e.Auth == Optional {
			return nil
		}
		return mxerr.New(http.StatusUnauthorized, "M_MISSING_TOKEN", "this needs an access token, in the header: Authorization: Bearer …")
	}
	s, err := a.options.Auth.Authenticate(r.Ctx, token, r.HTTP)
	if err != nil {
		return err
	}
	r.Session = s
	if err := permit(e, s, r.HTTP.Method); err != nil {
		return err
	}
	if a.options.Seen != nil && s.DeviceID != "" {
		a.options.Seen.Seen(s, r.IP(), r.HTTP.UserAgent(), r.Now)
	}
	return nil
}

// permit decides by the state of the account.
func permit(e *Endpoint, s *Session, method string) error {
	switch {
	case s.Locked && !e.WhileLocked:
		return mxerr.New(http.StatusUnauthorized, "M_USER_LOCKED", "this account has been locked").With("soft_logout", true)
	case s.Suspended && e.mutates(method):
		return mxerr.New(http.StatusForbidden, "M_USER_SUSPENDED", "this account has been suspended and can only read")
	case e.Auth == Appservice && s.Appservice == "":
		return mxerr.Forbidden("this is for application services only")
	case e.Auth == Admins && !s.Admin:
		return mxerr.Forbidden("this is for administrators of the server only")
	}
	return nil
}
