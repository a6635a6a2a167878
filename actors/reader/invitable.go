package reader

import (
	"context"
	"net/http"

	"github.com/matrixon/matrixon/matrix/invites"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Invitable refuses to have a user of this server invited who does not exist (404 M_NOT_FOUND) or takes no invites (403
// M_INVITE_BLOCKED; client-server API, "Invite permission"), whoever invites.
func (r *Reader) Invitable(ctx context.Context, userID, inviter string) error {
	a, ok, err := schema.Accounts.Get(ctx, r.store, schema.Account{UserID: userID})
	if err != nil {
		return err
	}
	if !ok || a.Deactivated {
		return mxerr.NotFound("there is no user %s", userID)
	}
	verdict, err := InviteVerdict(ctx, r.store, r.notices, userID, inviter)
	if err == nil && verdict == invites.Block && userID != inviter {
		err = mxerr.New(http.StatusForbidden, "M_INVITE_BLOCKED", "%s takes no invites by %s", userID, inviter)
	}
	return err
}
