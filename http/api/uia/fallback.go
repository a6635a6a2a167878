package uia

import (
	"slices"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// InBrowser are the stages that a page of the server can complete for apps that do not know them (client-server API, "Fallback").
var InBrowser = []string{Password, Dummy, Terms, RegistrationToken}

// Given is what somebody has filled in on such a page.
type Given struct{ Password, Token string }

// Pending reports whether a session waits for a stage that a page can complete, and of whom it is; empty while there is no account. 404
// M_NOT_FOUND when there is no such session or stage.
func (e *Engine) Pending(r *api.Request, sessionID, name string) (userID string, err error) {
	s, err := e.find(r.Ctx, r.Now, sessionID)
	if err == nil && (s == nil || !slices.Contains(InBrowser, name)) {
		err = mxerr.NotFound("there is nothing to do here, or no longer; go back to your app and begin anew")
	}
	if err != nil {
		return "", err
	}
	return s.bind.UserID, nil
}

// CompleteInBrowser completes a stage with what somebody has filled in. Whether the stage is the next of a flow is seen when the app comes
// back: one that is not counts for nothing.
func (e *Engine) CompleteInBrowser(r *api.Request, sessionID, name string, given Given) error {
	userID, err := e.Pending(r, sessionID, name)
	if err != nil {
		return err
	}
	done := stage{Stage: name}
	switch name {
	case Password:
		if userID == "" {
			return mxerr.Forbidden("your app must ask for the password itself")
		}
		done.UserID = userID
		_, err = CheckPassword(r, e.Store, e.Passwords, userID, given.Password)
	case RegistrationToken:
		done.RegistrationToken = given.Token
		err = e.checkRegistrationToken(r, given.Token)
	}
	if err != nil {
		return err
	}
	s, err := e.find(r.Ctx, r.Now, sessionID)
	if err != nil || s == nil {
		return err
	}
	return e.complete(r.Ctx, r.Now, s, done)
}
