package schema

import "github.com/matrixon/matrixon/persistence"

// RegistrationTokenUse is the Nth use of a registration token since it was made. Written with the account that used
// it; Absent guards that no use is counted twice, because accounts are written by different actors.
type RegistrationTokenUse struct {
	Token  string `col:"token,key"`
	N      int64  `col:"n,key"`
	UserID string `col:"user_id"`
}

// RegistrationTokenUses counts the uses of registration tokens.
var RegistrationTokenUses = persistence.NewTable[RegistrationTokenUse]("registration_token_uses")
