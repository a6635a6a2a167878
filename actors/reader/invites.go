package reader

import (
	"context"

	"github.com/matrixon/matrixon/matrix/invites"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// InviteVerdict is what becomes of an invite to a user of this server, by what the user has set.
func InviteVerdict(ctx context.Context, r persistence.Reader, userID, inviter string) (invites.Verdict, error) {
	var contents [][]byte
	for _, typ := range invites.Types {
		row, ok, err := schema.AccountDatas.Get(ctx, r, schema.AccountData{UserID: userID, Type: typ})
		if err != nil {
			return invites.Block, err
		}
		if ok {
			contents = append(contents, row.Content)
		}
	}
	return invites.Judge(inviter, contents...), nil
}

// ShowsInvite reports whether the user is to see an invite at all.
func (r *Reader) ShowsInvite(ctx context.Context, userID, inviter string) (bool, error) {
	verdict, err := InviteVerdict(ctx, r.store, userID, inviter)
	return verdict == invites.Allow, err
}
