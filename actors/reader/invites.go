package reader

import (
	"context"

	"github.com/matrixon/matrixon/matrix/invites"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// InviteVerdict is what becomes of an invite to a user of this server, by what the user has set. Nobody refuses the invites of the
// account notices, which tells what the operators have to say.
func InviteVerdict(ctx context.Context, r persistence.Reader, notices, userID, inviter string) (invites.Verdict, error) {
	if inviter == notices {
		return invites.Allow, nil
	}
	contents, err := inviteSettings(ctx, r, userID)
	if err != nil {
		return invites.Block, err
	}
	return invites.Judge(inviter, contents...), nil
}

// inviteSettings are what the user has set about invites.
func inviteSettings(ctx context.Context, r persistence.Reader, userID string) (contents [][]byte, _ error) {
	for _, typ := range invites.Types {
		row, ok, err := schema.AccountDatas.Get(ctx, r, schema.AccountData{UserID: userID, Type: typ})
		if err != nil {
			return nil, err
		}
		if ok {
			contents = append(contents, row.Content)
		}
	}
	return contents, nil
}

// InviteFilter says which invites a user is to see. It is for one answer: it reads what the user has set once, with the first invite.
type InviteFilter struct {
	reader   *Reader
	userID   string
	ignored  map[string]bool
	settings [][]byte
	read     bool
}

// InviteFilter makes the filter of a user who ignores these users.
func (r *Reader) InviteFilter(userID string, ignored map[string]bool) *InviteFilter {
	return &InviteFilter{reader: r, userID: userID, ignored: ignored}
}

// Shows reports whether the user is to see an invite by the inviter at all.
func (f *InviteFilter) Shows(ctx context.Context, inviter string) (bool, error) {
	switch {
	case f.ignored[inviter]:
		return false, nil
	case inviter == f.reader.notices:
		return true, nil
	}
	if !f.read {
		var err error
		if f.settings, err = inviteSettings(ctx, f.reader.store, f.userID); err != nil {
			return false, err
		}
		f.read = true
	}
	return invites.Judge(inviter, f.settings...) == invites.Allow, nil
}
