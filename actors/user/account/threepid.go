package account

import (
	"context"
	"errors"
	"net/http"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Email is the medium of email addresses (appendices, "3PID Types").
const Email = "email"

// maxThirdPartyIDs is how many addresses an account can have.
const maxThirdPartyIDs = 20

// ThirdPartyIDs lists the addresses of an account.
func ThirdPartyIDs(ctx context.Context, r persistence.Reader, userID string) ([]schema.ThirdPartyIDByUser, error) {
	return schema.ThirdPartyIDsByUser.All(ctx, r, persistence.Range[schema.ThirdPartyIDByUser]{Prefix: schema.ThirdPartyIDByUser{UserID: userID}, Keys: 1})
}

// ThirdPartyIDInUse is 400 M_THREEPID_IN_USE.
func ThirdPartyIDInUse() *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_THREEPID_IN_USE", "the address belongs to an account already")
}

// thirdPartyID gives the rows of an address of the user, and those that must be absent for it.
func thirdPartyID(o *user.Op, medium, address string, validatedTS int64) (writes, absent []persistence.Mutation) {
	row := schema.ThirdPartyIDs.Put(schema.ThirdPartyID{Medium: medium, Address: address, UserID: o.UserID})
	return []persistence.Mutation{row, schema.ThirdPartyIDsByUser.Put(schema.ThirdPartyIDByUser{
		UserID: o.UserID, Medium: medium, Address: address, ValidatedTS: validatedTS, AddedTS: o.Now.UnixMilli(),
	})}, []persistence.Mutation{row}
}

func (ops *operations) addThirdPartyID(ctx context.Context, o *user.Op, m *messages.AddThirdPartyID) (*messages.Done, error) {
	if _, err := existing(ctx, o); err != nil {
		return nil, err
	}
	own, err := ThirdPartyIDs(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	for _, row := range own {
		if row.Medium == m.Medium && row.Address == m.Address {
			return &messages.Done{}, nil
		}
	}
	if len(own) >= maxThirdPartyIDs {
		return nil, mxerr.New(http.StatusForbidden, "M_THREEPID_DENIED", "an account can have %d addresses at most", maxThirdPartyIDs)
	}
	writes, absent := thirdPartyID(o, m.Medium, m.Address, m.ValidatedTs)
	_, err = o.Commit(ctx, writes, absent, user.Notices{})
	if errors.Is(err, persistence.ErrExists) {
		return nil, ThirdPartyIDInUse()
	}
	return &messages.Done{}, err
}

func (ops *operations) removeThirdPartyID(ctx context.Context, o *user.Op, m *messages.RemoveThirdPartyID) (*messages.Done, error) {
	row, ok, err := schema.ThirdPartyIDsByUser.Get(ctx, o.Store, schema.ThirdPartyIDByUser{UserID: o.UserID, Medium: m.Medium, Address: m.Address})
	if err != nil || !ok {
		return &messages.Done{}, err
	}
	writes, err := withoutPushers(ctx, o, func(p schema.Pusher) bool { return p.Kind == EmailPusher && p.Pushkey == row.Address })
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, append(writes, withoutThirdPartyID(row)...), nil, user.Notices{})
	return &messages.Done{}, err
}

func withoutThirdPartyID(row schema.ThirdPartyIDByUser) []persistence.Mutation {
	return []persistence.Mutation{
		schema.ThirdPartyIDsByUser.Delete(row),
		schema.ThirdPartyIDs.Delete(schema.ThirdPartyID{Medium: row.Medium, Address: row.Address}),
	}
}

// thirdPartyIDsOf is the Removal of an account's addresses, which others can then have.
func thirdPartyIDsOf(ctx context.Context, o *user.Op, _ string) ([]persistence.Mutation, error) {
	own, err := ThirdPartyIDs(ctx, o.Store, o.UserID)
	var writes []persistence.Mutation
	for _, row := range own {
		writes = append(writes, withoutThirdPartyID(row)...)
	}
	return writes, err
}
