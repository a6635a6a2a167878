package client

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the shared-secret registration of existing tools is defined with HMAC-SHA1
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

func (a *accounts) registration() []api.Endpoint {
	return []api.Endpoint{
		{Methods: post, Path: "/_matrix/client/v3/register", R0: true, Handler: a.register},
		{Methods: get, Path: "/_matrix/client/v3/register/available", R0: true, Limit: api.LimitRegister, Handler: a.available},
		{Methods: get, Path: "/_matrix/client/v1/register/m.login.registration_token/validity", Limit: api.LimitRegister, Handler: a.tokenValidity},
	}
}

// SharedSecretRegistration are the endpoints with which existing tools make accounts, for the part of administrators.
func SharedSecretRegistration(d Deps, o AccountOptions) []api.Endpoint {
	a := &accounts{Deps: d, o: o}
	const path = "/_synapse/admin/v1/register"
	return []api.Endpoint{
		{Methods: get, Path: path, Limit: api.LimitRegister, Handler: a.registrationNonce},
		{Methods: post, Path: path, Limit: api.LimitRegister, Handler: a.sharedSecretRegister},
	}
}

type registerRequest struct {
	sessionRequest
	Type         string  `json:"type"`
	Username     *string `json:"username"`
	Password     string  `json:"password"`
	InhibitLogin bool    `json:"inhibit_login"`
	// Auth is what the user-interactive authentication reads.
	Auth jsontext.Value `json:"auth"`
}

// session is the authentication session that the request continues, empty for none.
func (q *registerRequest) session() string { return gjson.GetBytes(q.Auth, "session").Str }

// register makes an account (client-server API, "Account registration"). The name is looked at before the user is
// asked to prove anything, and again when the account is made.
func (a *accounts) register(r *api.Request) (any, error) {
	kind, err := r.Enum("kind", "user", "user", "guest")
	if err != nil {
		return nil, err
	}
	if kind == "guest" {
		return nil, mxerr.New(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "this server has no guest accounts")
	}
	var q registerRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Type == loginAppservice {
		return a.registerForAppservice(r, &q)
	}
	if err := r.Take(api.LimitRegister); err != nil {
		return nil, err
	}
	if !a.o.Registration().Open && !a.o.Registration().TokensRequired {
		return nil, mxerr.Forbidden("registration is disabled on this server")
	}
	userID, err := a.wantedUser(r, q.Username, q.session())
	repeated := q.session() != "" && inUse(err)
	if err != nil && !repeated {
		return nil, err
	}
	if q.Password != "" {
		if err := a.acceptable(q.Password); err != nil {
			return nil, err
		}
	}
	proof, err := a.o.UIA.Require(r, a.registrationChallenge())
	if err != nil {
		return nil, err
	}
	if q.Password == "" {
		return nil, mxerr.MissingParam("password is required")
	}
	if repeated {
		return a.registered(r, userID, &q, proof)
	}
	hash, err := a.o.Passwords.Hash(r.Ctx, q.Password)
	if err != nil {
		return nil, err
	}
	m := &messages.RegisterAccount{PasswordHash: hash, RegistrationToken: proof.RegistrationToken}
	if proof.Email.Address != "" {
		m.ThirdPartyId = &messages.AddThirdPartyID{Medium: account.Email, Address: proof.Email.Address, ValidatedTs: proof.Email.TS}
	}
	answer, err := a.make(r, userID, &q, m)
	if q.session() != "" && inUse(err) { // another attempt was faster
		return a.registered(r, userID, &q, proof)
	}
	return answer, err
}

func inUse(err error) bool {
	var refusal *mxerr.Error
	return errors.As(err, &refusal) && refusal.Code == account.UserInUse().Code
}

// registered answers a request that is repeated because its answer was lost: the account has been made since the authentication began, and
// has the same password. It is then as if the user logged in.
func (a *accounts) registered(r *api.Request, userID string, q *registerRequest, proof uia.Proof) (any, error) {
	row, ok, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: userID})
	if err != nil {
		return nil, err
	}
	if !ok || row.CreatedTS < proof.Begun {
		return nil, account.UserInUse()
	}
	if row, err = uia.CheckPassword(r, a.Store, a.o.Passwords, userID, q.Password); err != nil {
		if mxerr.From(err).Code == "M_FORBIDDEN" {
			err = account.UserInUse()
		}
		return nil, err
	}
	if err := usable(row); err != nil {
		return nil, err
	}
	if q.InhibitLogin {
		return sessionAnswer{UserID: userID, HomeServer: a.ServerName}, nil
	}
	return a.openSession(r, userID, q.sessionRequest, nil)
}

// registrationChallenge is what those who register must show: a token or nothing, an email address where the server can ask for one,
// and that they agree to the terms.
func (a *accounts) registrationChallenge() uia.Challenge {
	o := a.o.Registration()
	c := uia.Challenge{LateBinding: true, EmailFor: address.Register}
	var first, last []string
	if o.TokensRequired {
		first = []string{uia.RegistrationToken}
	}
	if o.Terms != nil {
		last = []string{uia.Terms}
		c.Params = map[string]any{uia.Terms: o.Terms}
	}
	if !o.EmailRequired {
		bare := first
		if bare == nil {
			bare = []string{uia.Dummy}
		}
		c.Flows = append(c.Flows, slices.Concat(bare, last))
	}
	if a.o.Addresses != nil {
		c.Flows = append(c.Flows, slices.Concat(first, []string{uia.Email}, last))
	}
	return c
}

// wantedUser gives the id of the account to be made, which must be free. Without a name it is a random one, the same for the same
// authentication session.
func (a *accounts) wantedUser(r *api.Request, name *string, session string) (string, error) {
	switch {
	case name == nil && session == "":
		return a.newUserID(strings.ToLower(rand.Text()[:16]))
	case name == nil:
		sum := sha256.Sum256([]byte(session))
		named := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
		name = &named
	}
	userID, err := a.newUserID(strings.ToLower(*name))
	if err != nil {
		return "", err
	}
	return userID, a.free(r, userID)
}

// free refuses a user id that is taken or reserved.
func (a *accounts) free(r *api.Request, userID string) error {
	if err := a.unreserved(userID); err != nil {
		return err
	}
	_, taken, err := schema.Accounts.Get(r.Ctx, a.Store, schema.Account{UserID: userID})
	if err == nil && taken {
		err = account.UserInUse()
	}
	return err
}

// acceptable refuses a password that is too short or too long.
func (a *accounts) acceptable(pw string) error {
	if len(pw) < a.o.MinPassword {
		return mxerr.New(http.StatusBadRequest, "M_WEAK_PASSWORD", "the password must have at least %d characters", a.o.MinPassword)
	}
	if len(pw) > password.MaxLength {
		return mxerr.InvalidParam("the password is longer than %d bytes", password.MaxLength)
	}
	return nil
}

// make asks the new user's actor for the account.
func (a *accounts) make(r *api.Request, userID string, q *registerRequest, m *messages.RegisterAccount) (any, error) {
	answer := sessionAnswer{UserID: userID, HomeServer: a.ServerName}
	if !q.InhibitLogin {
		var err error
		if m.Session, answer, err = a.newSession(userID, q.sessionRequest, r.Now); err != nil {
			return nil, err
		}
	}
	return answer, a.ask(r, userID, m)
}

// registerForAppservice makes a user of an application service (application service API, "Server admin style permissions"). Only who has
// no right to that is limited.
func (a *accounts) registerForAppservice(r *api.Request, q *registerRequest) (any, error) {
	service, err := a.byAppservice(r)
	if err != nil {
		return nil, errors.Join(r.Take(api.LimitRegister), err)
	}
	if q.Username == nil {
		return nil, mxerr.MissingParam("username is required")
	}
	userID, err := a.newUserID(*q.Username)
	if err != nil {
		return nil, err
	}
	if err := a.owned(service, userID); err != nil {
		return nil, err
	}
	return a.make(r, userID, q, &messages.RegisterAccount{})
}

func (a *accounts) available(r *api.Request) (any, error) {
	name, err := r.Need("username")
	if err != nil {
		return nil, err
	}
	if !a.o.Registration().Open && !a.o.Registration().TokensRequired {
		return nil, mxerr.Forbidden("registration is disabled on this server")
	}
	if _, err := a.wantedUser(r, &name, ""); err != nil {
		return nil, err
	}
	return map[string]bool{"available": true}, nil
}

func (a *accounts) tokenValidity(r *api.Request) (any, error) {
	if !a.o.Registration().Open && !a.o.Registration().TokensRequired {
		return nil, mxerr.Forbidden("this server does not register accounts")
	}
	token, err := r.Need("token")
	if err != nil {
		return nil, err
	}
	valid, err := account.RegistrationTokenValid(r.Ctx, a.Store, token, r.Now.UnixMilli())
	return map[string]bool{"valid": valid}, err
}

// A nonce of the shared-secret registration is random bytes, the time, and a MAC of both, so that any node knows its own kind.
const (
	nonceLife   = time.Minute
	nonceRandom = 16
	nonceTime   = 8
	nonceMAC    = 16
)

func (a *accounts) nonceMAC(b []byte) []byte {
	m := hmac.New(sha256.New, []byte("nonce\x00"+a.o.Registration().SharedSecret))
	m.Write(b)
	return m.Sum(nil)[:nonceMAC]
}

func (a *accounts) registrationNonce(r *api.Request) (any, error) {
	if err := a.sharedSecretOn(); err != nil {
		return nil, err
	}
	b := make([]byte, nonceRandom, nonceRandom+nonceTime+nonceMAC)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	b = binary.BigEndian.AppendUint64(b, uint64(r.Now.UnixMilli()))
	return map[string]string{"nonce": base64.RawURLEncoding.EncodeToString(append(b, a.nonceMAC(b)...))}, nil
}

func (a *accounts) sharedSecretOn() error {
	if a.o.Registration().SharedSecret == "" {
		return mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "registration by shared secret is not enabled: set registration.shared_secret")
	}
	return nil
}

func (a *accounts) validNonce(nonce string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != nonceRandom+nonceTime+nonceMAC {
		return false
	}
	signed := b[:nonceRandom+nonceTime]
	age := now.UnixMilli() - int64(binary.BigEndian.Uint64(signed[nonceRandom:]))
	return hmac.Equal(b[len(signed):], a.nonceMAC(signed)) && age >= 0 && age <= nonceLife.Milliseconds()
}

// sharedSecretRegister makes an account for whoever knows the shared secret, as tools for other homeservers expect.
func (a *accounts) sharedSecretRegister(r *api.Request) (any, error) {
	if err := a.sharedSecretOn(); err != nil {
		return nil, err
	}
	var q struct {
		registerRequest
		Nonce    string `json:"nonce"`
		Name     string `json:"displayname"`
		Admin    bool   `json:"admin"`
		UserType string `json:"user_type"`
		MAC      string `json:"mac"`
	}
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	switch {
	case q.Nonce == "":
		return nil, mxerr.BadJSON("nonce is required")
	case q.Username == nil || *q.Username == "" || strings.Contains(*q.Username, "\x00"):
		return nil, mxerr.BadJSON("username is required, and may hold no NUL")
	case q.Password == "" || strings.Contains(q.Password, "\x00"):
		return nil, mxerr.BadJSON("password is required, and may hold no NUL")
	case !a.validNonce(q.Nonce, r.Now):
		return nil, mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "the nonce was not given out by this server, or is too old")
	}
	if given, err := hex.DecodeString(q.MAC); err != nil || !hmac.Equal(given, a.registrationMAC(q.Nonce, *q.Username, q.Password, q.Admin, q.UserType)) {
		return nil, mxerr.Forbidden("the HMAC is not right: does the tool know the shared secret?")
	}
	userID, err := a.newUserID(strings.ToLower(*q.Username))
	if err != nil {
		return nil, err
	}
	if err := a.acceptable(q.Password); err != nil {
		return nil, err
	}
	hash, err := a.o.Passwords.Hash(r.Ctx, q.Password)
	if err != nil {
		return nil, err
	}
	return a.make(r, userID, &q.registerRequest, &messages.RegisterAccount{PasswordHash: hash, Admin: q.Admin, DisplayName: q.Name})
}

func (a *accounts) registrationMAC(nonce, username, pw string, admin bool, userType string) []byte {
	m := hmac.New(sha1.New, []byte(a.o.Registration().SharedSecret))
	role := "notadmin"
	if admin {
		role = "admin"
	}
	parts := []string{nonce, username, pw, role}
	if userType != "" {
		parts = append(parts, userType)
	}
	m.Write([]byte(strings.Join(parts, "\x00")))
	return m.Sum(nil)
}
