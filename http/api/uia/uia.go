// Package uia is user-interactive authentication (client-server API, "User-Interactive Authentication API"): an
// endpoint asks for proof, the client completes the stages of a flow over several requests, and the request goes on.
//
// A session is bound to the user, the endpoint and the body of the request that began it, so that what a person
// agreed to is what happens. It is kept in rows that are only ever added, so that any node can go on with it without
// a writer of its own: one row for the session, one for each completed stage, one when it was used up.
package uia

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The stages that are served.
const (
	Password          = "m.login.password"
	Dummy             = "m.login.dummy"
	RegistrationToken = "m.login.registration_token"
	Terms             = "m.login.terms"
	Email             = "m.login.email.identity"
)

// Lifetime is how long a session may take.
const Lifetime = 30 * time.Minute

// Engine runs sessions.
type Engine struct {
	ServerName string
	Store      persistence.Store
	Passwords  *password.Hasher
	// Addresses validates email addresses; nil: there is no such stage.
	Addresses *address.Validator
	// Linked reports whether a user can prove with an identity provider to be there; nil: nobody can.
	Linked func(ctx context.Context, userID string) (bool, error)
}

// Challenge is what an endpoint wants.
type Challenge struct {
	// Flows are the sequences of stages of which one must be completed, in its order.
	Flows [][]string
	// Params is what a client needs to know for some of the stages.
	Params map[string]any
	// Once makes a completed session good for one request only.
	Once bool
	// LateBinding binds the body only when the first stage is completed: for registration, where there is no account
	// yet that could be deceived, and where clients begin with a part of the body.
	LateBinding bool
	// EmailFor is what the address of the stage m.login.email.identity must have been validated for.
	EmailFor address.Purpose
}

// ByPassword is the challenge of endpoints that change an account.
var ByPassword = Challenge{Flows: [][]string{{Password}}}

// Proof is what a completed session has shown.
type Proof struct {
	// UserID is who gave the password; empty when no stage names a user.
	UserID string
	// RegistrationToken is the token that was given; empty without that stage.
	RegistrationToken string
	// Email is the address that was validated; its Address is empty without that stage.
	Email address.Validated
	// Begun is when the session began, in ms.
	Begun int64
}

// binding is what a session is for.
type binding struct {
	UserID   string `json:"user_id,omitzero"`
	Endpoint string `json:"endpoint"`
	// Body is the hash of the request's body without auth, empty when it had no other members.
	Body string `json:"body,omitzero"`
}

// stage is the row of a completed stage.
type stage struct {
	Stage             string `json:"stage"`
	Body              string `json:"body,omitzero"`
	UserID            string `json:"user_id,omitzero"`
	RegistrationToken string `json:"registration_token,omitzero"`
	Email             string `json:"email,omitzero"`
	EmailTS           int64  `json:"email_ts,omitzero"`
	// InBrowser says that a page has completed it, which knows nothing of the request of the app.
	InBrowser bool `json:"in_browser,omitzero"`
}

// auth is the auth member of a request.
type auth struct {
	Type       string      `json:"type"`
	Session    string      `json:"session"`
	Identifier *Identifier `json:"identifier"`
	User       string      `json:"user"`
	Password   string      `json:"password"`
	Token      string      `json:"token"`

	Credentials    *credentials `json:"threepid_creds"`
	OldCredentials *credentials `json:"threepidCreds"` // as clients spelt it once
}

// credentials name a validated address (client-server API, "Email-based").
type credentials struct {
	SID          string `json:"sid"`
	ClientSecret string `json:"client_secret"`
}

// session is a session in progress.
type session struct {
	id   string
	bind binding
	done []stage
	// begun is when it was made, in ms.
	begun int64
}

// Require lets the request go on when its session is complete. Else the error is the 401 that tells the client what is
// missing; handlers return it as it is.
func (e *Engine) Require(r *api.Request, c Challenge) (Proof, error) {
	if r.Session != nil && r.Session.OAuth != "" {
		return Proof{}, mxerr.Unrecognized("clients that were let in with OAuth 2.0 send the user to the account's pages for this")
	}
	c, err := e.widened(r, c)
	if err != nil {
		return Proof{}, err
	}
	given, now, err := e.read(r)
	if err != nil {
		return Proof{}, err
	}
	if given == nil {
		s, err := e.begin(r, now)
		if err != nil {
			return Proof{}, err
		}
		return Proof{}, challenge(s, c, nil)
	}
	s, err := e.resume(r, c, given.Session, now)
	if err != nil {
		return Proof{}, err
	}
	if given.Type != "" && !slices.Contains(s.completed(), given.Type) {
		if err := e.attempt(r, s, c, given, now); err != nil {
			return Proof{}, err
		}
	}
	if !s.complete(c.Flows) {
		return Proof{}, challenge(s, c, nil)
	}
	if c.Once {
		if err := e.useUp(r.Ctx, s, r.Now); err != nil {
			return Proof{}, err
		}
	}
	return s.proof(), nil
}

// Confirm lets the request go on when confirmed reports that the user has agreed to it on the page with this address; else the error is
// the 401 that sends the user there (client-server API, "OAuth authentication").
func (e *Engine) Confirm(r *api.Request, page string, confirmed func() (bool, error)) error {
	if ok, err := confirmed(); err != nil || ok {
		return err
	}
	given, now, err := e.read(r)
	if err != nil {
		return err
	}
	var s *session
	if given != nil && given.Session != "" {
		s, err = e.resume(r, confirmation(page), given.Session, now)
	} else {
		s, err = e.begin(r, now)
	}
	if err != nil {
		return err
	}
	return challenge(s, confirmation(page), nil)
}

// confirmation is the challenge of Confirm. The second name is that which clients knew before the specification had one.
func confirmation(page string) Challenge {
	const stage, before = "m.oauth", "org.matrix.cross_signing_reset"
	url := map[string]string{"url": page}
	return Challenge{Flows: [][]string{{stage}, {before}}, Params: map[string]any{stage: url, before: url}}
}

// read takes the request apart into its auth member and what the session is to be bound to.
func (e *Engine) read(r *api.Request) (*auth, binding, error) {
	b := binding{UserID: r.User(), Endpoint: r.Method() + " " + r.HTTP.URL.EscapedPath()}
	var body struct {
		Auth jsontext.Value            `json:"auth"`
		Rest map[string]jsontext.Value `json:",embed"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, b, err
	}
	if len(body.Rest) > 0 {
		raw, err := json.Marshal(body.Rest, json.Deterministic(true))
		if err != nil {
			return nil, b, err
		}
		value := jsontext.Value(raw)
		if err := value.Compact(); err != nil {
			return nil, b, err
		}
		sum := sha256.Sum256(value)
		b.Body = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if len(body.Auth) == 0 || body.Auth.Kind() == 'n' {
		return nil, b, nil
	}
	var given auth
	if err := json.Unmarshal(body.Auth, &given); err != nil {
		return nil, b, mxerr.BadJSON("the member \"auth\" must be an object as user-interactive authentication has it")
	}
	return &given, b, nil
}

func (e *Engine) begin(r *api.Request, b binding) (*session, error) {
	s := &session{id: secret.New(secret.Session), bind: b, begun: r.Now.UnixMilli()}
	return s, e.add(r.Ctx, s.id, b, r.Now, false)
}

// resume finds the session and checks that it is for this request. Without a session one begins: clients may know
// beforehand what they will be asked.
func (e *Engine) resume(r *api.Request, c Challenge, sessionID string, now binding) (*session, error) {
	if sessionID == "" {
		return e.begin(r, now)
	}
	unknown := mxerr.New(http.StatusUnauthorized, "M_UNKNOWN", "this authentication session does not exist, or no longer")
	s, err := e.find(r.Ctx, r.Now, sessionID)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, e.again(r, c, now, unknown)
	}
	if s.bind.UserID != now.UserID || s.bind.Endpoint != now.Endpoint || !s.sameBody(c, now.Body) {
		return nil, mxerr.Forbidden("this authentication session is for another request")
	}
	return s, nil
}

// find reads a session; nil when there is none that is good.
func (e *Engine) find(ctx context.Context, at time.Time, sessionID string) (*session, error) {
	if !secret.Is(secret.Session, sessionID) {
		return nil, nil
	}
	s := &session{id: sessionID}
	found := false
	rows := schema.AuthSessions.Scan(ctx, e.Store, persistence.Range[schema.AuthSession]{
		From: &schema.AuthSession{ID: sessionID}, Before: &schema.AuthSession{ID: sessionID + stageMark + "\x7f"},
	})
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		if err := s.take(row, &found); err != nil {
			return nil, err
		}
		if row.ID == sessionID && at.UnixMilli()-row.CreatedTS > Lifetime.Milliseconds() {
			found = false
			break
		}
	}
	if !found {
		return nil, nil
	}
	return s, nil
}

// stageMark stands between a session's id and what the row is about.
const stageMark = "/"

const usedMark = stageMark + "used"

func (s *session) take(row schema.AuthSession, found *bool) error {
	switch row.ID {
	case s.id:
		*found, s.begun = true, row.CreatedTS
		return json.Unmarshal(row.State, &s.bind)
	case s.id + usedMark:
		*found = false
		return nil
	}
	var done stage
	if err := json.Unmarshal(row.State, &done); err != nil {
		return err
	}
	s.done = append(s.done, done)
	return nil
}

// sameBody reports whether the body is the one the session is bound to. A session that began without a body, as a
// question which flows there are, is bound by its first completed stage.
func (s *session) sameBody(c Challenge, body string) bool {
	for _, d := range s.done {
		if d.Body != body && !(d.InBrowser && c.LateBinding) {
			return false
		}
	}
	return c.LateBinding || s.bind.Body == "" || s.bind.Body == body
}

// again begins a new session in answer to a useless one.
func (e *Engine) again(r *api.Request, c Challenge, b binding, because *mxerr.Error) error {
	s, err := e.begin(r, b)
	if err != nil {
		return err
	}
	return challenge(s, c, because)
}

// attempt tries one stage.
func (e *Engine) attempt(r *api.Request, s *session, c Challenge, given *auth, now binding) error {
	if !s.next(c.Flows, given.Type) {
		return challenge(s, c, mxerr.New(http.StatusUnauthorized, "M_FORBIDDEN", "the stage %.64q is not the next of a flow", given.Type))
	}
	done := stage{Stage: given.Type, Body: now.Body}
	var refused *mxerr.Error
	var err error
	switch given.Type {
	case Dummy, Terms:
	case Password:
		done.UserID, err = e.checkPassword(r, given)
	case RegistrationToken:
		done.RegistrationToken = given.Token
		err = e.checkRegistrationToken(r, given.Token)
	case Email:
		err = e.checkEmail(r, c, given, &done)
	default:
		err = mxerr.Forbidden("this server has no stage %.64q", given.Type)
	}
	if errors.As(err, &refused) && refused.Status != http.StatusTooManyRequests {
		return challenge(s, c, refused)
	}
	if err != nil {
		return err
	}
	s.done = append(s.done, done)
	return e.add(r.Ctx, s.id+stageMark+given.Type, done, r.Now, false)
}

// checkPassword checks the password stage. With a session, only the password of its own user counts.
func (e *Engine) checkPassword(r *api.Request, given *auth) (string, error) {
	userID := r.User()
	if given.Identifier != nil || given.User != "" || userID == "" {
		identifier := Identifier{Type: "m.id.user", User: given.User}
		if given.Identifier != nil {
			identifier = *given.Identifier
		}
		named, err := identifier.UserID(r.Ctx, e.Store, e.ServerName)
		if err != nil {
			return "", err
		}
		if userID != "" && !strings.EqualFold(named, userID) {
			return "", mxerr.Forbidden("the password must be your own")
		}
		if userID == "" {
			userID = named
		}
	}
	a, err := CheckPassword(r, e.Store, e.Passwords, userID, given.Password)
	return a.UserID, err
}

// checkEmail checks the stage of a validated address. Where it names a user, only the session's own counts.
func (e *Engine) checkEmail(r *api.Request, c Challenge, given *auth, done *stage) error {
	creds := given.Credentials
	if creds == nil {
		creds = given.OldCredentials
	}
	if creds == nil || creds.SID == "" || creds.ClientSecret == "" {
		return mxerr.MissingParam("threepid_creds with sid and client_secret are required")
	}
	if e.Addresses == nil {
		return mxerr.Forbidden("this server validates no email addresses")
	}
	proven, err := e.Addresses.Use(r.Ctx, r.Now, c.EmailFor, creds.SID, creds.ClientSecret)
	if err != nil {
		return err
	}
	done.Email, done.EmailTS = proven.Address, proven.TS
	if c.EmailFor != address.Password {
		return nil
	}
	owner, ok, err := schema.ThirdPartyIDs.Get(r.Ctx, e.Store, schema.ThirdPartyID{Medium: account.Email, Address: proven.Address})
	if err != nil {
		return err
	}
	if !ok || owner.UserID != proven.UserID || r.User() != "" && r.User() != owner.UserID {
		return mxerr.Forbidden("the address does not belong to the account")
	}
	done.UserID = owner.UserID
	return nil
}

// checkRegistrationToken checks that the token could be used now.
func (e *Engine) checkRegistrationToken(r *api.Request, token string) error {
	valid, err := account.RegistrationTokenValid(r.Ctx, e.Store, token, r.Now.UnixMilli())
	if err == nil && !valid {
		err = mxerr.New(http.StatusUnauthorized, "M_FORBIDDEN", "the registration token is not valid, or no longer")
	}
	return err
}

// useUp makes the session good for nothing more; 401 when another request was first.
func (e *Engine) useUp(ctx context.Context, s *session, now time.Time) error {
	err := e.add(ctx, s.id+usedMark, struct{}{}, now, true)
	if errors.Is(err, persistence.ErrExists) {
		return mxerr.New(http.StatusUnauthorized, "M_UNKNOWN", "this authentication session has been used")
	}
	return err
}

func (e *Engine) add(ctx context.Context, rowID string, state any, now time.Time, once bool) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	put := schema.AuthSessions.Put(schema.AuthSession{ID: rowID, CreatedTS: now.UnixMilli(), State: raw})
	c := &persistence.Commit{Write: []persistence.Mutation{put}}
	if once {
		c.Absent = c.Write
	}
	_, err = persistence.Await(ctx, e.Store, c)
	if errors.Is(err, persistence.ErrOverloaded) {
		return mxerr.LimitExceeded(1000)
	}
	return err
}

func (s *session) completed() []string {
	names := make([]string, 0, len(s.done))
	for _, d := range s.done {
		names = append(names, d.Stage)
	}
	return names
}

// next reports whether the stage is the next one of a flow whose stages so far are the completed ones.
func (s *session) next(flows [][]string, name string) bool {
	return slices.ContainsFunc(flows, func(flow []string) bool {
		n := s.progress(flow)
		return n == len(s.done) && n < len(flow) && flow[n] == name
	})
}

func (s *session) complete(flows [][]string) bool {
	return slices.ContainsFunc(flows, func(flow []string) bool { return s.progress(flow) == len(flow) })
}

// progress is how many of the flow's stages are completed, from its beginning.
func (s *session) progress(flow []string) int {
	completed := s.completed()
	for i, name := range flow {
		if !slices.Contains(completed, name) {
			return i
		}
	}
	return len(flow)
}

func (s *session) proof() Proof {
	p := Proof{Begun: s.begun}
	for _, d := range s.done {
		p.UserID += d.UserID
		p.RegistrationToken += d.RegistrationToken
		if d.Email != "" {
			p.Email = address.Validated{Address: d.Email, UserID: d.UserID, TS: d.EmailTS}
		}
	}
	return p
}

// incomplete is the 401 of a session that lacks something.
type incomplete struct{ body map[string]any }

func (incomplete) Error() string { return "user-interactive authentication is incomplete" }

// Answer implements api.Responder.
func (i incomplete) Answer() api.Answer {
	return api.Answer{Status: http.StatusUnauthorized, Body: i.body}
}

func challenge(s *session, c Challenge, because *mxerr.Error) error {
	flows := make([]map[string][]string, len(c.Flows))
	for i, stages := range c.Flows {
		flows[i] = map[string][]string{"stages": stages}
	}
	params := c.Params
	if params == nil {
		params = map[string]any{}
	}
	body := map[string]any{"session": s.id, "flows": flows, "params": params, "completed": s.completed()}
	if because != nil {
		body["errcode"], body["error"] = because.Code, because.Message
	}
	return incomplete{body}
}
