package client

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// loginTokenLife is how long a token of login/get_token is valid.
const loginTokenLife = 2 * time.Minute

const (
	loginPassword   = "m.login.password"
	loginToken      = "m.login.token"
	loginAppservice = "m.login.application_service"
)

func (a *accounts) login() []api.Endpoint {
	return []api.Endpoint{
		{Methods: get, Path: "/_matrix/client/v3/login", R0: true, Handler: a.loginFlows},
		{Methods: post, Path: "/_matrix/client/v3/login", R0: true, Handler: a.postLogin},
		{Methods: post, Path: "/_matrix/client/v1/login/get_token", Also: []string{"/_matrix/client/unstable/org.matrix.msc3882/login/get_token"},
			Auth: api.User, Limit: api.LimitLogin, WhileSuspended: true, Handler: a.getLoginToken},
		{Methods: post, Path: "/_matrix/client/v3/refresh", Also: []string{"/_matrix/client/v1/refresh"}, Limit: api.LimitLogin, Handler: a.refresh},
		{Methods: post, Path: "/_matrix/client/v3/logout", R0: true, Auth: api.User, WhileLocked: true, WhileSuspended: true, Handler: a.logout},
		{Methods: post, Path: "/_matrix/client/v3/logout/all", R0: true, Auth: api.User, WhileLocked: true, WhileSuspended: true, Handler: a.logoutAll},
		{Methods: get, Path: "/_matrix/client/v3/account/whoami", R0: true, Auth: api.User, Handler: a.whoami},
	}
}

func (a *accounts) loginFlows(*api.Request) (any, error) {
	flows := []map[string]any{{"type": loginToken, "get_login_token": true}}
	if !a.o.NoPasswords {
		flows = append([]map[string]any{{"type": loginPassword}}, flows...)
	}
	if a.o.SSO != nil {
		sso := map[string]any{"type": "m.login.sso", "oauth_aware_preferred": a.o.SSO.OAuth,
			"org.matrix.msc3824.delegated_oidc_compatibility": a.o.SSO.OAuth} // as clients knew it before it was specified
		if a.o.SSO.Providers != nil {
			sso["identity_providers"] = a.o.SSO.Providers
		}
		flows = append(flows, sso)
	}
	if a.Appservices != nil {
		flows = append(flows, map[string]any{"type": loginAppservice})
	}
	return map[string]any{"flows": flows}, nil
}

// sessionRequest is what login and registration say about the session they want.
type sessionRequest struct {
	DeviceID     string `json:"device_id"`
	DisplayName  string `json:"initial_device_display_name"`
	RefreshToken bool   `json:"refresh_token"`
}

// sessionAnswer is the answer of login, registration and refresh.
type sessionAnswer struct {
	UserID       string `json:"user_id,omitzero"`
	HomeServer   string `json:"home_server,omitzero"`
	AccessToken  string `json:"access_token,omitzero"`
	DeviceID     string `json:"device_id,omitzero"`
	RefreshToken string `json:"refresh_token,omitzero"`
	ExpiresInMS  int64  `json:"expires_in_ms,omitzero"`
	WellKnown    any    `json:"well_known,omitzero"`
}

// The longest that a device may be called.
const (
	maxDeviceID   = 255
	maxDeviceName = 500
)

// newSession makes the tokens of a session, and the message that opens it.
func (a *accounts) newSession(userID string, q sessionRequest, now time.Time) (*messages.OpenSession, sessionAnswer, error) {
	if len(q.DeviceID) > maxDeviceID {
		return nil, sessionAnswer{}, mxerr.InvalidParam("device_id is longer than %d bytes", maxDeviceID)
	}
	if len(q.DisplayName) > maxDeviceName {
		return nil, sessionAnswer{}, mxerr.InvalidParam("initial_device_display_name is longer than %d bytes", maxDeviceName)
	}
	if q.DeviceID == "" {
		q.DeviceID = rand.Text()[:10]
	}
	answer := sessionAnswer{UserID: userID, HomeServer: a.ServerName, DeviceID: q.DeviceID, AccessToken: secret.New(secret.Access)}
	open := &messages.OpenSession{DeviceId: q.DeviceID, DisplayName: q.DisplayName, AccessHash: secret.Hash(answer.AccessToken)}
	if q.RefreshToken {
		answer.RefreshToken = secret.New(secret.Refresh)
		answer.ExpiresInMS = a.o.AccessLifetime.Milliseconds()
		open.AccessExpiresTs = now.Add(a.o.AccessLifetime).UnixMilli()
		open.RefreshHash = secret.Hash(answer.RefreshToken)
		open.RefreshExpiresTs = a.refreshExpiry(now)
	}
	return open, answer, nil
}

func (a *accounts) refreshExpiry(now time.Time) int64 {
	if a.o.RefreshLifetime == 0 {
		return 0
	}
	return now.Add(a.o.RefreshLifetime).UnixMilli()
}

// loginRequest is the body of POST /login, with the members that older clients use in place of identifier.
type loginRequest struct {
	sessionRequest
	Type       string          `json:"type"`
	Identifier *uia.Identifier `json:"identifier"`
	User       string          `json:"user"`
	Medium     string          `json:"medium"`
	Address    string          `json:"address"`
	Password   *string         `json:"password"`
	Token      string          `json:"token"`
}

// user says who is named.
func (q *loginRequest) user() uia.Identifier {
	switch {
	case q.Identifier != nil:
		return *q.Identifier
	case q.Medium != "" || q.Address != "":
		return uia.Identifier{Type: "m.id.thirdparty", Medium: q.Medium, Address: q.Address}
	}
	return uia.Identifier{Type: "m.id.user", User: q.User}
}

// postLogin begins a session (client-server API, "Login").
func (a *accounts) postLogin(r *api.Request) (any, error) {
	var q loginRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Type != loginAppservice {
		if err := r.Take(api.LimitLogin); err != nil {
			return nil, err
		}
	}
	var user schema.Account
	var spent []byte
	var err error
	switch q.Type {
	case "":
		return nil, mxerr.MissingParam("type is required")
	case loginPassword:
		user, err = a.byPassword(r, &q)
	case loginToken:
		spent = secret.Hash(q.Token)
		user, err = a.byToken(r, q.Token)
	case loginAppservice:
		user, err = a.forAppservice(r, &q)
	default:
		err = mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "this server does not know the login type %.64q", q.Type)
	}
	if err != nil {
		return nil, err
	}
	if err := usable(user); err != nil {
		return nil, err
	}
	answer, err := a.openSession(r, user.UserID, q.sessionRequest, spent)
	if err != nil {
		return nil, err
	}
	if w := a.wellKnown(); w != nil {
		answer.WellKnown = w
	}
	return answer, nil
}

// openSession begins a session of an account; spent is the hash of the login token that pays for it, nil for none.
func (a *accounts) openSession(r *api.Request, userID string, q sessionRequest, spent []byte) (sessionAnswer, error) {
	open, answer, err := a.newSession(userID, q, r.Now)
	if err != nil {
		return sessionAnswer{}, err
	}
	open.LoginTokenHash = spent
	if err := a.ask(r, userID, &messages.LogIn{Session: open}); err != nil {
		return sessionAnswer{}, err
	}
	a.o.Sessions.Forget(userID)
	return answer, nil
}

// usable refuses accounts that nobody can log in to.
func usable(a schema.Account) error {
	if a.Deactivated {
		return mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "this account has been deactivated")
	}
	if a.Locked {
		return mxerr.New(http.StatusUnauthorized, "M_USER_LOCKED", "this account has been locked").With("soft_logout", true)
	}
	return nil
}

func (a *accounts) byPassword(r *api.Request, q *loginRequest) (schema.Account, error) {
	if a.o.NoPasswords {
		return schema.Account{}, errNoPasswords
	}
	userID, err := q.user().UserID(r.Ctx, a.Store, a.ServerName)
	if err != nil {
		return schema.Account{}, err
	}
	if q.Password == nil {
		return schema.Account{}, mxerr.MissingParam("password is required")
	}
	return uia.CheckPassword(r, a.Store, a.o.Passwords, userID, *q.Password)
}

// errNoPasswords is where people sign in with identity providers alone.
var errNoPasswords = mxerr.Forbidden("nobody signs in with a password here")

// byToken finds the user of a login token. Whether it is still good is decided where it is spent.
func (a *accounts) byToken(r *api.Request, token string) (schema.Account, error) {
	if token == "" {
		return schema.Account{}, mxerr.MissingParam("token is required")
	}
	invalid := mxerr.Forbidden("the login token is not valid, or no longer")
	if !secret.Is(secret.Login, token) {
		return schema.Account{}, invalid
	}
	t, ok, err := schema.ShortTokens.Get(r.Ctx, a.Store, schema.ShortToken{Kind: account.LoginToken, Hash: secret.Hash(token)})
	if err != nil {
		return schema.Account{}, err
	}
	if !ok {
		return schema.Account{}, invalid
	}
	user, ok, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: t.UserID})
	if err == nil && !ok {
		err = invalid
	}
	return user, err
}

// forAppservice lets an application service log in as one of its users (client-server API, "Appservice Login"). Only who has no right to
// that is limited.
func (a *accounts) forAppservice(r *api.Request, q *loginRequest) (schema.Account, error) {
	service, err := a.byAppservice(r)
	if err != nil {
		return schema.Account{}, errors.Join(r.Take(api.LimitLogin), err)
	}
	userID, err := q.user().UserID(r.Ctx, a.Store, a.ServerName)
	if err != nil {
		return schema.Account{}, err
	}
	if err := a.owned(service, userID); err != nil {
		return schema.Account{}, err
	}
	user, ok, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: userID})
	if err == nil && !ok {
		err = mxerr.Forbidden("%s has not been registered", userID)
	}
	return user, err
}

// getLoginToken gives a token with which another device can log in, once (client-server API, "Login").
func (a *accounts) getLoginToken(r *api.Request) (any, error) {
	challenge := uia.ByPassword
	challenge.Once = true
	if _, err := a.o.UIA.Require(r, challenge); err != nil {
		return nil, err
	}
	token := secret.New(secret.Login)
	err := a.ask(r, r.User(), &messages.IssueShortToken{
		TokenKind: account.LoginToken, Hash: secret.Hash(token), ExpiresTs: r.Now.Add(loginTokenLife).UnixMilli(),
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"login_token": token, "expires_in_ms": loginTokenLife.Milliseconds()}, nil
}

// refresh exchanges a refresh token (client-server API, "Refreshing access tokens").
func (a *accounts) refresh(r *api.Request) (any, error) {
	var q struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.RefreshToken == "" {
		return nil, mxerr.MissingParam("refresh_token is required")
	}
	if !secret.Is(secret.Refresh, q.RefreshToken) {
		return nil, account.UnknownRefreshToken(false)
	}
	row, ok, err := schema.RefreshTokens.Get(r.Ctx, a.Store, schema.RefreshToken{Hash: secret.Hash(q.RefreshToken)})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, account.UnknownRefreshToken(false)
	}
	user, _, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: row.UserID})
	if err != nil {
		return nil, err
	}
	if err := usable(user); err != nil {
		return nil, err
	}
	answer := sessionAnswer{AccessToken: secret.New(secret.Access), RefreshToken: secret.New(secret.Refresh), ExpiresInMS: a.o.AccessLifetime.Milliseconds()}
	_, err = AskUser[*messages.SessionRefreshed](r.Ctx, a.Deps, row.UserID, &messages.RefreshSession{
		RefreshHash:         row.Hash,
		NewAccessHash:       secret.Hash(answer.AccessToken),
		NewAccessExpiresTs:  r.Now.Add(a.o.AccessLifetime).UnixMilli(),
		NewRefreshHash:      secret.Hash(answer.RefreshToken),
		NewRefreshExpiresTs: a.refreshExpiry(r.Now),
	})
	if err != nil {
		return nil, err
	}
	a.o.Sessions.Forget(row.UserID)
	return answer, nil
}

func (a *accounts) logout(r *api.Request) (any, error) {
	if r.Device() == "" {
		return nil, mxerr.Forbidden("an application service's own token cannot be logged out")
	}
	err := a.ask(r, r.User(), &messages.RemoveDevices{DeviceIds: []string{r.Device()}})
	a.o.Sessions.Forget(r.User())
	return nil, err
}

func (a *accounts) logoutAll(r *api.Request) (any, error) {
	err := a.ask(r, r.User(), &messages.RemoveDevices{All: true})
	a.o.Sessions.Forget(r.User())
	return nil, err
}

func (a *accounts) whoami(r *api.Request) (any, error) {
	return struct {
		UserID   string `json:"user_id"`
		DeviceID string `json:"device_id,omitzero"`
		IsGuest  bool   `json:"is_guest"`
	}{r.User(), r.Device(), false}, nil
}

// openID gives a token with which a third party can learn who the user is (client-server API, "OpenID").
func (a *accounts) openID(r *api.Request) (any, error) {
	if err := r.Self("userId"); err != nil {
		return nil, err
	}
	var q struct{}
	if err := r.DecodeOptional(&q); err != nil {
		return nil, err
	}
	const life = time.Hour
	token := secret.New(secret.OpenID)
	err := a.ask(r, r.User(), &messages.IssueShortToken{
		TokenKind: account.OpenIDToken, Hash: secret.Hash(token), ExpiresTs: r.Now.Add(life).UnixMilli(),
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"access_token": token, "token_type": "Bearer", "matrix_server_name": a.ServerName, "expires_in": int64(life / time.Second),
	}, nil
}

// newUserID gives the id of a new account with this user name.
func (a *accounts) newUserID(name string) (string, error) {
	userID := "@" + name + ":" + a.ServerName
	if !id.ValidNewLocalpart(name) || len(userID) > id.MaxLength {
		return "", mxerr.New(http.StatusBadRequest, "M_INVALID_USERNAME",
			"a user name may hold only a-z, 0-9 and . _ = - / +, and its full id is at most %d bytes long", id.MaxLength)
	}
	return userID, nil
}

// ConfirmRefresh gives what api.Tokens calls at the first use of a token that can be refreshed: the pair of tokens that
// it replaced ends (client-server API, "Refreshing access tokens").
func ConfirmRefresh(d Deps) func(ctx context.Context, s *api.Session) bool {
	return func(ctx context.Context, s *api.Session) bool {
		due, err := account.Unconfirmed(ctx, d.Store, s.UserID, s.DeviceID, s.TokenHash[:])
		if err == nil && due {
			_, err = AskUser[*messages.Done](ctx, d, s.UserID, &messages.ConfirmSession{DeviceId: s.DeviceID, AccessHash: s.TokenHash[:]})
		}
		if err != nil { // the old tokens then live until the next use
			d.Log.Warn("could not end refreshed tokens", "user", s.UserID, "error", err)
		}
		return due && err == nil
	}
}

// WriteSightings gives what api.LastSeen writes with.
func WriteSightings(d Deps) func(context.Context, []api.Sighting) {
	return func(_ context.Context, sightings []api.Sighting) {
		byUser := map[string]*messages.DevicesSeen{}
		for _, s := range sightings {
			m := byUser[s.UserID]
			if m == nil {
				m = &messages.DevicesSeen{}
				byUser[s.UserID] = m
			}
			m.Devices = append(m.Devices, &messages.DeviceSeen{DeviceId: s.DeviceID, Ts: s.TS, Ip: s.IP, UserAgent: s.UserAgent})
		}
		for userID, m := range byUser {
			d.Caller.Tell(cluster.Identity{Kind: cluster.KindUser, ID: userID}, m)
		}
	}
}
