package schema

import "github.com/matrixon/matrixon/persistence"

// ThirdPartyID is an email address that belongs to an account (client-server API, "Adding Account Administrative Contact
// Information"). Written by the user's actor; Absent guards that it belongs to one account only.
type ThirdPartyID struct {
	Medium  string `col:"medium,key"`  // email
	Address string `col:"address,key"` // in its canonical form
	UserID  string `col:"user_id"`
}

// ThirdPartyIDByUser lists those of an account. Written with ThirdPartyID.
type ThirdPartyIDByUser struct {
	UserID      string `col:"user_id,key"`
	Medium      string `col:"medium,key"`
	Address     string `col:"address,key"`
	ValidatedTS int64  `col:"validated_ts"` // ms
	AddedTS     int64  `col:"added_ts"`     // ms
}

// ThirdPartySession is the validation of an address: whoever has it is sent a token, and shows that it came. Written by any node;
// its id follows from what it is for, so that two requests for the same are one session.
type ThirdPartySession struct {
	ID          string `col:"id,key"`
	Purpose     string `col:"purpose"` // register, add or password
	SecretHash  []byte `col:"secret_hash"`
	Medium      string `col:"medium"`
	Address     string `col:"address"`
	UserID      string `col:"user_id"` // whose password is to be reset, else empty
	Token       string `col:"token"`
	NextLink    string `col:"next_link"`
	SendAttempt int64  `col:"send_attempt"` // the highest for which a message was sent
	CreatedTS   int64  `col:"created_ts"`   // ms
}

// ThirdPartyValidation says that a session's token came back. Written once by any node.
type ThirdPartyValidation struct {
	ID          string `col:"id,key"`
	ValidatedTS int64  `col:"validated_ts"` // ms
}

// The tables of third-party identifiers.
var (
	ThirdPartyIDs         = persistence.NewTable[ThirdPartyID]("threepids")
	ThirdPartyIDsByUser   = persistence.NewTable[ThirdPartyIDByUser]("user_threepids")
	ThirdPartySessions    = persistence.NewTable[ThirdPartySession]("threepid_sessions")
	ThirdPartyValidations = persistence.NewTable[ThirdPartyValidation]("threepid_validations")
)
