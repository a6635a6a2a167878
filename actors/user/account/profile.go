package account

import (
	"bytes"
	"context"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
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
	logged, err := profileChange(ctx, o, m.Field)
	if err != nil {
		return nil, err
	}
	rooms, err := reader.JoinedRooms(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, append(writes, logged...), nil, user.Notices{Profile: &messages.ProfileNotice{Rooms: rooms}})
	return &messages.Done{}, err
}

// profileChange notes that a field changes, for those who follow profiles (MSC4429).
func profileChange(ctx context.Context, o *user.Op, field string) ([]persistence.Mutation, error) {
	row, known, err := schema.ProfileChanges.Get(ctx, o.Store, schema.ProfileChange{UserID: o.UserID, Field: field})
	if err != nil {
		return nil, err
	}
	writes := []persistence.Mutation{
		schema.ProfileChanges.Put(schema.ProfileChange{UserID: o.UserID, Field: field}),
		schema.ProfileLogs.Put(schema.ProfileLog{UserID: o.UserID, Field: field}),
	}
	if known {
		writes = append(writes, schema.ProfileLogs.Delete(schema.ProfileLog{Pos: row.Pos, UserID: o.UserID, Field: field}))
	}
	return writes, nil
}

// profileChangesOf deletes what is noted of the user's profile.
func profileChangesOf(ctx context.Context, o *user.Op, _ string) ([]persistence.Mutation, error) {
	rows, err := schema.ProfileChanges.All(ctx, o.Store, persistence.Range[schema.ProfileChange]{Prefix: schema.ProfileChange{UserID: o.UserID}, Keys: 1})
	var writes []persistence.Mutation
	for _, row := range rows {
		writes = append(writes, schema.ProfileChanges.Delete(row),
			schema.ProfileLogs.Delete(schema.ProfileLog{Pos: row.Pos, UserID: row.UserID, Field: row.Field}))
	}
	return writes, err
}

// fieldSize is how much of the profile's JSON a field takes: its name in quotes, a colon, the value and a comma.
func fieldSize(name string, value []byte) int { return len(name) + len(value) + 4 }
