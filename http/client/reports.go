package client

import (
	"context"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// maxReport bounds the body of a report, in bytes.
const maxReport = 16 << 10

func (h *rooms) reports() []api.Endpoint {
	report := func(path string, f api.Handler) api.Endpoint {
		return api.Endpoint{Methods: post, Path: path, R0: true, Auth: api.User, Limit: api.LimitReport, MaxBody: maxReport, Handler: f}
	}
	return []api.Endpoint{
		report(aRoom+"/report", h.reportRoom),
		report(aRoom+"/report/{eventId}", h.reportEvent),
		report(v3+"/users/{userId}/report", h.reportUser),
	}
}

func (h *rooms) reportRoom(r *api.Request) (any, error) {
	roomID, err := roomID(r)
	if err != nil {
		return nil, err
	}
	reason, err := neededReason(r)
	if err != nil {
		return nil, err
	}
	if err := h.known(r.Ctx, roomID); err != nil {
		return nil, err
	}
	return h.report(r, &messages.ReportContent{RoomId: roomID, Reason: reason})
}

// neededReason reads a body that must say why, be it with no words.
func neededReason(r *api.Request) (string, error) {
	var body struct {
		Reason *string `json:"reason"`
	}
	if err := r.Decode(&body); err != nil {
		return "", err
	}
	if body.Reason == nil {
		return "", mxerr.MissingParam("reason is required")
	}
	return *body.Reason, nil
}

func (h *rooms) reportEvent(r *api.Request) (any, error) {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	if !a.Joined() {
		return nil, mxerr.NotFound("the event is not known, or you are not in the room")
	}
	row, err := a.Event(r.Ctx, r.Vars["eventId"])
	if err != nil {
		return nil, err
	}
	return h.report(r, &messages.ReportContent{RoomId: a.RoomID, EventId: row.EventID, UserId: row.Sender, Reason: body.Reason})
}

func (h *rooms) reportUser(r *api.Request) (any, error) {
	userID := r.Vars["userId"]
	if _, _, err := id.ParseUser(userID); err != nil {
		return nil, mxerr.InvalidParam("%.255q is no user id: %v", userID, err)
	}
	reason, err := neededReason(r)
	if err != nil {
		return nil, err
	}
	known, err := h.knownUser(r.Ctx, userID)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, mxerr.NotFound("this server does not know the user %s", userID)
	}
	return h.report(r, &messages.ReportContent{UserId: userID, Reason: reason})
}

// knownUser reports whether there is such an account, or for users of other servers, whether they were ever in one of our rooms.
func (h *rooms) knownUser(ctx context.Context, userID string) (bool, error) {
	if id.ServerOf(userID) == h.ServerName {
		_, ok, err := schema.Accounts.Get(ctx, h.Store, schema.Account{UserID: userID})
		return ok, err
	}
	memberships, err := schema.Memberships.All(ctx, h.Store, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: userID}, Keys: 1, Limit: 1})
	return len(memberships) > 0, err
}

func (h *rooms) report(r *api.Request, m *messages.ReportContent) (any, error) {
	_, err := AskUser[*messages.Done](r.Ctx, h.Deps, r.User(), m)
	return nil, err
}
