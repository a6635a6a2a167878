package admin

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Notice is what was told a user in the name of the server.
type Notice struct {
	EventID string `json:"event_id"`
}

// SendNotice tells a user of this server something, in the room of the user's server notices (client-server API, "Server Notices").
func (o Operator) SendNotice(ctx context.Context, by By, name, text string) (Notice, error) {
	if o.Notify == nil {
		return Notice{}, mxerr.New(http.StatusBadRequest, "M_INVALID_PARAM", "this server sends no notices: server_notices.user is empty in the configuration")
	}
	if text == "" {
		return Notice{}, mxerr.MissingParam("text is required")
	}
	userID, err := o.userID(name)
	if err != nil {
		return Notice{}, err
	}
	eventID, err := o.Notify(ctx, userID, text)
	o.note(ctx, by, "a server notice is sent", err, slog.String("user", userID))
	return Notice{eventID}, err
}

func (h handler) sendNotice(r *api.Request) (any, error) {
	var body struct {
		Text string `json:"text"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	return h.SendNotice(r.Ctx, By(r.User()), r.Vars["user"], body.Text)
}
