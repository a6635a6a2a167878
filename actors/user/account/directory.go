package account

import (
	"context"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// displayNameField is the field of a profile by which users are found.
const displayNameField = "displayname"

// Terms are the tokens by which a user is found in the user directory.
func Terms(userID, displayName string) []string {
	localpart, _, err := id.ParseUser(userID)
	if err != nil {
		return nil
	}
	return words.Index(localpart + " " + displayName)
}

// listed puts a user into the directory, in place of what the old display name put there; without terms nothing stays.
func listed(userID string, old, terms []string) []persistence.Mutation {
	var writes []persistence.Mutation
	for _, term := range old {
		if !slices.Contains(terms, term) {
			writes = append(writes, schema.UserTerms.Delete(schema.UserTerm{Term: term, UserID: userID}))
		}
	}
	for _, term := range terms {
		writes = append(writes, schema.UserTerms.Put(schema.UserTerm{Term: term, UserID: userID}))
	}
	return writes
}

// displayName is the user's, empty when there is none.
func displayName(ctx context.Context, o *user.Op) (string, error) {
	row, _, err := schema.ProfileFields.Get(ctx, o.Store, schema.ProfileField{UserID: o.UserID, Field: displayNameField})
	return gjson.ParseBytes(row.Value).String(), err
}

// listUser puts the user into the directory, for one that was lost or is of an older kind.
func (ops *operations) listUser(ctx context.Context, o *user.Op, _ *messages.ListUser) (*messages.Done, error) {
	a, err := existing(ctx, o)
	if err != nil || a.Deactivated {
		return &messages.Done{}, err
	}
	name, err := displayName(ctx, o)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, listed(o.UserID, nil, Terms(o.UserID, name)), nil, user.Notices{})
	return &messages.Done{}, err
}
