package schema

import "github.com/matrixon/matrixon/persistence"

// UserTerm finds the local users whose name or display name has a token (matrix/words). Written with the account and with the
// display name of its profile; gone with the account's deactivation.
type UserTerm struct {
	Term   string `col:"term,key"`
	UserID string `col:"user_id,key"`
}

// UserTerms are the user directory.
var UserTerms = persistence.NewTable[UserTerm]("user_terms")
