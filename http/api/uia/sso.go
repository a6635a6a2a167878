package uia

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// SSO is the stage in which an identity provider says who the user is.
const SSO = "m.login.sso"

// widened lets users prove with an identity provider what others prove with a password; those who have no password only so.
func (e *Engine) widened(r *api.Request, c Challenge) (Challenge, error) {
	byPassword := func(flow []string) bool { return len(flow) == 1 && flow[0] == Password }
	if e.Linked == nil || r.User() == "" || !slices.ContainsFunc(c.Flows, byPassword) {
		return c, nil
	}
	linked, err := e.Linked(r.Ctx, r.User())
	if err != nil || !linked {
		return c, err
	}
	account, _, err := schema.Accounts.Get(r.Ctx, e.Store, schema.Account{UserID: r.User()})
	if err != nil {
		return c, err
	}
	c.Flows = slices.Clone(c.Flows)
	if account.PasswordHash == "" {
		c.Flows = slices.DeleteFunc(c.Flows, byPassword)
	}
	c.Flows = append(c.Flows, []string{SSO})
	return c, nil
}

// CompleteSSO completes the stage SSO.
func (e *Engine) CompleteSSO(ctx context.Context, now time.Time, sessionID, userID string) error {
	s, err := e.find(ctx, now, sessionID)
	if err != nil {
		return err
	}
	if s == nil || s.bind.UserID != userID {
		return mxerr.Forbidden("this authentication session is for another request")
	}
	return e.complete(ctx, now, s, stage{Stage: SSO, UserID: userID})
}

// complete completes a stage in the place of the app. It is for the request with which the session began.
func (e *Engine) complete(ctx context.Context, now time.Time, s *session, done stage) error {
	if slices.Contains(s.completed(), done.Stage) {
		return nil
	}
	done.Body, done.InBrowser = s.bind.Body, true
	return e.add(ctx, s.id+stageMark+done.Stage, done, now, false)
}

// Bound gives whose session it is, and what it lets an app do, in words; 404 M_NOT_FOUND when there is none.
func (e *Engine) Bound(ctx context.Context, now time.Time, sessionID string) (userID, action string, err error) {
	s, err := e.find(ctx, now, sessionID)
	if err == nil && (s == nil || s.bind.UserID == "") {
		err = mxerr.NotFound("there is nothing to confirm, or no longer; go back to your app and begin anew")
	}
	if err != nil {
		return "", "", err
	}
	return s.bind.UserID, inWords(s.bind.Endpoint), nil
}

// inWords says what an endpoint does to an account: "An app wants to … your account".
func inWords(endpoint string) string {
	method, path, _ := strings.Cut(endpoint, " ")
	switch {
	case strings.HasSuffix(path, "/account/deactivate"):
		return "deactivate for ever"
	case strings.HasSuffix(path, "/account/password"):
		return "change the password of"
	case strings.HasSuffix(path, "/delete_devices"), method == http.MethodDelete && strings.Contains(path, "/devices/"):
		return "sign out devices of"
	case strings.HasSuffix(path, "/device_signing/upload"):
		return "reset the digital identity of"
	case strings.HasSuffix(path, "/login/get_token"):
		return "let another device into"
	case strings.Contains(path, "/account/3pid"):
		return "change the addresses of"
	}
	return "change"
}
