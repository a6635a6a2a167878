package schema

import "github.com/matrixon/matrixon/persistence"

// OldSigningKey is a key with which this server signed before (server-server API, "Publishing Keys"). Written when keys are rotated.
type OldSigningKey struct {
	KeyID     string `col:"key_id,key"`
	Public    []byte `col:"public"`
	ExpiredTS int64  `col:"expired_ts"` // ms; until then nodes that were not started since the rotation sign with it
}

// ServerKey is a key of another server. The public key of an id never changes.
type ServerKey struct {
	Server       string `col:"server,key"`
	KeyID        string `col:"key_id,key"`
	Public       []byte `col:"public"`
	ValidUntilTS int64  `col:"valid_until_ts"` // ms; 7 days after it was fetched at most
	ExpiredTS    int64  `col:"expired_ts"`     // ms; when the server stopped using it, 0 while it does
	FetchedTS    int64  `col:"fetched_ts"`     // ms
}

// ServerKeyDocument is what another server last published about its keys, as it signed it.
type ServerKeyDocument struct {
	Server       string `col:"server,key"`
	JSON         []byte `col:"json,json"`
	ValidUntilTS int64  `col:"valid_until_ts"` // ms
	FetchedTS    int64  `col:"fetched_ts"`     // ms
}

// RemoteDeviceList is the devices and cross-signing keys of a user of another server, as that server's GET /user/devices gives them. Kept
// while the user shares a room with one of this server.
type RemoteDeviceList struct {
	UserID    string `col:"user_id,key"`
	StreamID  int64  `col:"stream_id"`
	Stale     bool   `col:"stale"` // it has changed since, and must be fetched anew
	JSON      []byte `col:"json,json"`
	FetchedTS int64  `col:"fetched_ts"` // ms
}

// The tables of what is known of other servers, and of our own keys.
var (
	OldSigningKeys     = persistence.NewTable[OldSigningKey]("old_signing_keys")
	ServerKeys         = persistence.NewTable[ServerKey]("server_keys")
	ServerKeyDocuments = persistence.NewTable[ServerKeyDocument]("server_key_documents")
	RemoteDeviceLists  = persistence.NewTable[RemoteDeviceList]("remote_device_lists")
)
