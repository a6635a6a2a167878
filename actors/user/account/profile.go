package account

import (
	"bytes"
	"context"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// maxProfile bounds a profile, in bytes of its JSON (client-server API, "Profiles").
const maxProfile = 64 << 10

// setProfileField sets or deletes one field.
func (ops *operations) setProfileField(ctx context.Context, o *user.Op, m *messages.SetProfileField) (*messages.Done, error) {
	if _, err := existing(ctx, o); err != nil {
		return nil, err
	}
	fields, err := Profile(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	size := 2 + fieldSize(m.Field, m.Value)
	var old []byte
	for _, f := range fields {
		if f.Field == m.Field {
			old = f.Value
		} else {
			size += fieldSize(f.Field, f.Value)
		}
	}
	if bytes.Equal(old, m.Value) {
		return &messages.Done{}, nil
	}
	row := schema.ProfileField{UserID: o.UserID, Field: m.Field, Value: m.Value}
	write := schema.ProfileFields.Put(row)
	if len(m.Value) == 0 {
		write = schema.ProfileFields.Delete(row)
	} else if size > maxProfile {
		return nil, mxerr.New(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "the profile would be larger than %d bytes", maxProfile)
	}
	writes := []persistence.Mutation{write}
	if m.Field == displayNameField {
		name := func(value []byte) []string { return Terms(o.UserID, gjson.ParseBytes(value).String()) }
		writes = append(writes, listed(o.UserID, name(old), name(m.Value))...)
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{})
	return &messages.Done{}, err
}

// fieldSize is how much of the profile's JSON a field takes: its name in quotes, a colon, the value and a comma.
func fieldSize(name string, value []byte) int { return len(name) + len(value) + 4 }
