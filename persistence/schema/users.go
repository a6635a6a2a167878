package schema

import "github.com/matrixon/matrixon/persistence"

// Account is a local user. Written, like every table here, by the user's actor.
type Account struct {
	UserID       string `col:"user_id,key"`
	PasswordHash string `col:"password_hash"` // argon2id or bcrypt, PHC string; empty: no password login
	CreatedTS    int64  `col:"created_ts"`
	Admin        bool   `col:"admin"`
	Deactivated  bool   `col:"deactivated"`
	Erased       bool   `col:"erased"`
	Locked       bool   `col:"locked"`
	Suspended    bool   `col:"suspended"`
}

// Device is a device of a user, with its identity keys once uploaded.
type Device struct {
	UserID      string `col:"user_id,key"`
	DeviceID    string `col:"device_id,key"`
	DisplayName string `col:"display_name"`
	CreatedTS   int64  `col:"created_ts"`
	LastSeenTS  int64  `col:"last_seen_ts"`
	LastSeenIP  string `col:"last_seen_ip"`
	UserAgent   string `col:"user_agent"`
	Keys        []byte `col:"keys,json"` // the device_keys object, nil before the first upload
}

// AccessToken finds who speaks by the SHA-256 of the token.
type AccessToken struct {
	Hash      []byte `col:"hash,key"`
	UserID    string `col:"user_id"`
	DeviceID  string `col:"device_id"`
	ExpiresTS int64  `col:"expires_ts"` // ms; 0 never
}

// TokenByDevice lists a device's tokens, so that a logout finds them. Written with the token.
type TokenByDevice struct {
	UserID   string `col:"user_id,key"`
	DeviceID string `col:"device_id,key"`
	Kind     string `col:"kind,key"` // access or refresh
	Hash     []byte `col:"hash,key"`
}

// RefreshToken buys a new pair of tokens once. It stays valid until the pair that it bought is first used.
type RefreshToken struct {
	Hash       []byte `col:"hash,key"`
	UserID     string `col:"user_id"`
	DeviceID   string `col:"device_id"`
	AccessHash []byte `col:"access_hash"` // of the access token it came with
	NextHash   []byte `col:"next_hash"`   // of the refresh token it bought, nil while unused
	ExpiresTS  int64  `col:"expires_ts"`
}

// ShortToken is a token of short life: a login token, an OpenID token.
type ShortToken struct {
	Kind      string `col:"kind,key"` // login or openid
	Hash      []byte `col:"hash,key"`
	UserID    string `col:"user_id"`
	ExpiresTS int64  `col:"expires_ts"`
}

// RegistrationToken allows registrations (client-server API, "Token-authenticated registration").
type RegistrationToken struct {
	Token       string `col:"token,key"`
	UsesAllowed int64  `col:"uses_allowed"` // -1: any number
	Pending     int64  `col:"pending"`
	Completed   int64  `col:"completed"`
	ExpiresTS   int64  `col:"expires_ts"`
	Configured  bool   `col:"configured"` // it stands in the configuration, and goes when it goes there
}

// AuthSession is a user-interactive authentication in progress.
type AuthSession struct {
	ID        string `col:"id,key"`
	CreatedTS int64  `col:"created_ts"`
	State     []byte `col:"state,json"`
}

// ProfileField is one field of a user's profile; Value is any JSON value.
type ProfileField struct {
	UserID string `col:"user_id,key"`
	Field  string `col:"field,key"`
	Value  []byte `col:"value,json"`
}

// AccountData is a user's account data; RoomID is empty for global data. Push rules are the type m.push_rules,
// tags m.tag, the read marker m.fully_read.
type AccountData struct {
	UserID  string `col:"user_id,key"`
	RoomID  string `col:"room_id,key"`
	Type    string `col:"type,key"`
	Content []byte `col:"content,json"`
	Pos     uint64 `col:"pos,position"`
}

// Filter is a stored sync filter.
type Filter struct {
	UserID   string `col:"user_id,key"`
	FilterID string `col:"filter_id,key"`
	JSON     []byte `col:"json,json"`
}

// OneTimeKey is claimed once, in the order of upload.
type OneTimeKey struct {
	UserID    string `col:"user_id,key"`
	DeviceID  string `col:"device_id,key"`
	Algorithm string `col:"algorithm,key"`
	Pos       uint64 `col:"pos,key,position"`
	KeyID     string `col:"key_id,key"` // without the algorithm
	JSON      []byte `col:"json,json"`
}

// FallbackKey is given when no one-time key is left.
type FallbackKey struct {
	UserID    string `col:"user_id,key"`
	DeviceID  string `col:"device_id,key"`
	Algorithm string `col:"algorithm,key"`
	KeyID     string `col:"key_id"`
	JSON      []byte `col:"json,json"`
	Used      bool   `col:"used"`
}

// CrossSigningKey is one of a user's cross-signing keys as uploaded, without signatures by others.
type CrossSigningKey struct {
	UserID string `col:"user_id,key"`
	Usage  string `col:"usage,key"` // master, self_signing, user_signing
	JSON   []byte `col:"json,json"`
}

// KeySignature is a signature uploaded for a device or cross-signing key.
type KeySignature struct {
	UserID      string `col:"user_id,key"` // whose key was signed
	KeyID       string `col:"key_id,key"`  // device id, or the public cross-signing key
	SignerID    string `col:"signer_id,key"`
	SignerKeyID string `col:"signer_key_id,key"` // ed25519:…
	Signature   string `col:"signature"`
}

// KeyBackup is one version of a user's server-side key backup.
type KeyBackup struct {
	UserID    string `col:"user_id,key"`
	Version   uint64 `col:"version,key"`
	Algorithm string `col:"algorithm"`
	AuthData  []byte `col:"auth_data,json"`
	ETag      uint64 `col:"etag"`
	Count     int64  `col:"count"`
	Deleted   bool   `col:"deleted"`
}

// KeyBackupSession is one backed-up room key.
type KeyBackupSession struct {
	UserID            string `col:"user_id,key"`
	Version           uint64 `col:"version,key"`
	RoomID            string `col:"room_id,key"`
	SessionID         string `col:"session_id,key"`
	FirstMessageIndex int64  `col:"first_message_index"`
	ForwardedCount    int64  `col:"forwarded_count"`
	IsVerified        bool   `col:"is_verified"`
	SessionData       []byte `col:"session_data,json"`
}

// ToDevice is a message in a device's inbox, deleted when the device has acknowledged it. It is appended by the
// sender's actor, in one commit with the sender's transaction id, and deleted by the owner's.
type ToDevice struct {
	UserID   string `col:"user_id,key"`
	DeviceID string `col:"device_id,key"`
	Pos      uint64 `col:"pos,key,position"`
	N        uint64 `col:"n,key"` // order within one commit
	Sender   string `col:"sender"`
	Type     string `col:"type"`
	Content  []byte `col:"content,json"`
}

// DeviceListChange says when a user's devices or cross-signing keys last changed: one row a user.
type DeviceListChange struct {
	UserID string `col:"user_id,key"`
	Pos    uint64 `col:"pos,position"`
}

// DeviceListLog orders the changes, so that those since a position are found. Rows older than the newest of a user stay:
// they are harmless and rare.
type DeviceListLog struct {
	Pos    uint64 `col:"pos,key,position"`
	UserID string `col:"user_id,key"`
}

// Presence is a user's last known presence.
type Presence struct {
	UserID       string `col:"user_id,key"`
	State        string `col:"state"` // online, unavailable, offline
	StatusMsg    string `col:"status_msg"`
	LastActiveTS int64  `col:"last_active_ts"`
	Pos          uint64 `col:"pos,position"`
}

// Transaction remembers the answer to an idempotent request other than sending to a room.
type Transaction struct {
	UserID   string `col:"user_id,key"`
	DeviceID string `col:"device_id,key"`
	Scope    string `col:"scope,key"`
	TxnID    string `col:"txn_id,key"`
	Answer   []byte `col:"answer,json"`
	TS       int64  `col:"ts"`
}

// UnreadCount is a checkpoint of a user's notification counts in a room: up to UptoSeq these many were unread.
type UnreadCount struct {
	UserID    string `col:"user_id,key"`
	RoomID    string `col:"room_id,key"`
	ThreadID  string `col:"thread_id,key"` // "main" or the thread root's event id
	Notify    int64  `col:"notify"`
	Highlight int64  `col:"highlight"`
	UptoSeq   uint64 `col:"upto_seq"`
}

// The tables of users.
var (
	Accounts           = persistence.NewTable[Account]("accounts")
	Devices            = persistence.NewTable[Device]("devices")
	AccessTokens       = persistence.NewTable[AccessToken]("access_tokens")
	TokensByDevice     = persistence.NewTable[TokenByDevice]("device_tokens")
	RefreshTokens      = persistence.NewTable[RefreshToken]("refresh_tokens")
	ShortTokens        = persistence.NewTable[ShortToken]("short_tokens")
	RegistrationTokens = persistence.NewTable[RegistrationToken]("registration_tokens")
	AuthSessions       = persistence.NewTable[AuthSession]("auth_sessions")
	ProfileFields      = persistence.NewTable[ProfileField]("profiles")
	AccountDatas       = persistence.NewTable[AccountData]("account_data")
	Filters            = persistence.NewTable[Filter]("filters")
	OneTimeKeys        = persistence.NewTable[OneTimeKey]("one_time_keys")
	FallbackKeys       = persistence.NewTable[FallbackKey]("fallback_keys")
	CrossSigningKeys   = persistence.NewTable[CrossSigningKey]("cross_signing_keys")
	KeySignatures      = persistence.NewTable[KeySignature]("key_signatures")
	KeyBackups         = persistence.NewTable[KeyBackup]("key_backups")
	KeyBackupSessions  = persistence.NewTable[KeyBackupSession]("key_backup_sessions")
	ToDevices          = persistence.NewTable[ToDevice]("to_device")
	DeviceListChanges  = persistence.NewTable[DeviceListChange]("device_list_changes")
	DeviceListLogs     = persistence.NewTable[DeviceListLog]("device_list_log")
	Presences          = persistence.NewTable[Presence]("presence")
	Transactions       = persistence.NewTable[Transaction]("transactions")
	UnreadCounts       = persistence.NewTable[UnreadCount]("unread_counts")
)
