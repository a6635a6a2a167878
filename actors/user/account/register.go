package account

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// UserInUse is 400 M_USER_IN_USE.
func UserInUse() *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_USER_IN_USE", "this user name is already taken")
}

func (ops *operations) register(ctx context.Context, o *user.Op, m *messages.RegisterAccount) (*messages.Done, error) {
	return &messages.Done{}, Register(ctx, o, m, With{})
}

// With are further rows that are written with an account, and must not be there before.
type With struct {
	Rows []persistence.Mutation
	// Taken tells why the rows cannot be written, when they are there already.
	Taken func() error
}

// Register makes the account, with its first session if wanted (client-server API, "Account registration"). A
// deactivated account keeps its name.
func Register(ctx context.Context, o *user.Op, m *messages.RegisterAccount, with With) error {
	account := schema.Account{UserID: o.UserID, PasswordHash: m.PasswordHash, CreatedTS: o.Now.UnixMilli(), Admin: m.Admin}
	rules, err := pushrules.Default(o.UserID).JSON()
	if err != nil {
		return err
	}
	writes := []persistence.Mutation{
		schema.Accounts.Put(account),
		schema.AccountDatas.Put(schema.AccountData{UserID: o.UserID, Type: pushRulesType, Content: rules}), // so that the first sync has it
	}
	writes = append(writes, with.Rows...)
	absent := append(slices.Clip(with.Rows), schema.Accounts.Put(account))
	if m.DisplayName != "" {
		value, err := json.Marshal(m.DisplayName)
		if err != nil {
			return mxerr.BadJSON("the display name is not valid text")
		}
		writes = append(writes, schema.ProfileFields.Put(schema.ProfileField{UserID: o.UserID, Field: displayNameField, Value: value}))
		changed, err := profileChange(ctx, o, displayNameField)
		if err != nil {
			return err
		}
		writes = append(writes, changed...)
	}
	writes = append(writes, listed(o.UserID, nil, Terms(o.UserID, m.DisplayName))...)
	if t := m.ThirdPartyId; t != nil {
		rows, free := thirdPartyID(o, t.Medium, t.Address, t.ValidatedTs)
		writes, absent = append(writes, rows...), append(absent, free...)
	}
	if m.Session != nil {
		session, err := OpenSession(ctx, o, m.Session)
		if err != nil {
			return err
		}
		writes = append(writes, session...)
	}
	for {
		use, err := countUse(ctx, o, m.RegistrationToken)
		if err != nil {
			return err
		}
		_, err = o.Commit(ctx, append(writes[:len(writes):len(writes)], use...), append(slices.Clip(absent), use...), user.Notices{})
		if !errors.Is(err, persistence.ErrExists) {
			return err
		}
		_, taken, err := schema.Accounts.Get(ctx, o.Store, schema.Account{UserID: o.UserID})
		if err != nil {
			return err
		}
		if taken {
			return UserInUse()
		}
		if t := m.ThirdPartyId; t != nil {
			_, taken, err := schema.ThirdPartyIDs.Get(ctx, o.Store, schema.ThirdPartyID{Medium: t.Medium, Address: t.Address})
			if err != nil {
				return err
			}
			if taken {
				return ThirdPartyIDInUse()
			}
		}
		if with.Taken != nil {
			if err := with.Taken(); err != nil {
				return err
			}
		}
		// Somebody else used the registration token in the meantime: count again.
	}
}

// countUse gives the row that counts the next use of a registration token, both to write and to be absent.
func countUse(ctx context.Context, o *user.Op, token string) ([]persistence.Mutation, error) {
	if token == "" {
		return nil, nil
	}
	uses, err := RegistrationTokenUses(ctx, o.Store, token)
	if err != nil {
		return nil, err
	}
	valid, err := RegistrationTokenValid(ctx, o.Store, token, o.Now.UnixMilli())
	if err != nil {
		return nil, err
	}
	if !valid {
		return nil, mxerr.Forbidden("the registration token is not valid, or no longer")
	}
	return []persistence.Mutation{
		schema.RegistrationTokenUses.Put(schema.RegistrationTokenUse{Token: token, N: uses + 1, UserID: o.UserID}),
	}, nil
}

// RegistrationTokenUses is how many accounts were registered with a token on this server.
func RegistrationTokenUses(ctx context.Context, r persistence.Reader, token string) (int64, error) {
	last, err := schema.RegistrationTokenUses.All(ctx, r, persistence.Range[schema.RegistrationTokenUse]{
		Prefix: schema.RegistrationTokenUse{Token: token}, Keys: 1, Reverse: true, Limit: 1,
	})
	if err != nil || len(last) == 0 {
		return 0, err
	}
	return last[0].N, nil
}

// RegistrationTokenValid reports whether a registration token exists, has uses left and has not expired.
func RegistrationTokenValid(ctx context.Context, r persistence.Reader, token string, nowMS int64) (bool, error) {
	row, ok, err := schema.RegistrationTokens.Get(ctx, r, schema.RegistrationToken{Token: token})
	if err != nil || !ok || row.ExpiresTS > 0 && nowMS >= row.ExpiresTS {
		return false, err
	}
	uses, err := RegistrationTokenUses(ctx, r, token)
	return err == nil && (row.UsesAllowed < 0 || row.Completed+uses < row.UsesAllowed), err
}

// setPassword replaces the password and ends the sessions that are not to be kept (client-server API, "Password management").
func (ops *operations) setPassword(ctx context.Context, o *user.Op, m *messages.SetPassword) (*messages.Done, error) {
	a, err := existing(ctx, o)
	if err != nil {
		return nil, err
	}
	if a.Deactivated {
		return nil, mxerr.New(http.StatusForbidden, "M_USER_DEACTIVATED", "this account has been deactivated")
	}
	a.PasswordHash = m.PasswordHash
	writes := []persistence.Mutation{schema.Accounts.Put(a)}
	browsers, err := browserSessionsOf(ctx, o, "")
	if err != nil {
		return nil, err
	}
	writes = append(writes, browsers...)
	if !m.RemoveDevices {
		_, err := o.Commit(ctx, writes, nil, user.Notices{})
		return &messages.Done{}, err
	}
	others, err := devicesBut(ctx, o, m.KeepDevice)
	if err != nil {
		return nil, err
	}
	return &messages.Done{}, ops.remove(ctx, o, others, writes)
}

// setFlags changes what administrators decide about an account.
func (ops *operations) setFlags(ctx context.Context, o *user.Op, m *messages.SetAccountFlags) (*messages.Done, error) {
	a, err := existing(ctx, o)
	if err != nil {
		return nil, err
	}
	for flag, value := range map[*bool]*bool{&a.Admin: m.Admin, &a.Locked: m.Locked, &a.Suspended: m.Suspended} {
		if value != nil {
			*flag = *value
		}
	}
	_, err = o.Commit(ctx, []persistence.Mutation{schema.Accounts.Put(a)}, nil, user.Notices{})
	return &messages.Done{}, err
}
