package schema

import "github.com/matrixon/matrixon/persistence"

// ExternalID says which account belongs to somebody whom an identity provider knows. Written by the user's actor; Absent
// guards that it belongs to one account only.
type ExternalID struct {
	Provider string `col:"provider,key"` // its id in the configuration
	Subject  string `col:"subject,key"`  // whom the provider means by it, for ever
	UserID   string `col:"user_id"`
}

// ExternalIDByUser lists those of an account. Written with ExternalID.
type ExternalIDByUser struct {
	UserID   string `col:"user_id,key"`
	Provider string `col:"provider,key"`
	Subject  string `col:"subject,key"`
	AddedTS  int64  `col:"added_ts"` // ms
}

// BrowserSession is a browser in which a user has signed in to the server's own pages. Written by the user's actor.
type BrowserSession struct {
	UserID    string `col:"user_id,key"`
	Hash      []byte `col:"hash,key"` // SHA-256 of the secret in the cookie
	AuthTS    int64  `col:"auth_ts"`  // ms: when the user last proved to be there
	ExpiresTS int64  `col:"expires_ts"`
	UserAgent string `col:"user_agent"`
}

// OAuthClient is a registered client (client-server API, "Client registration"). Its id follows from its metadata, so that
// the same client registers once. Written by any node.
type OAuthClient struct {
	ClientID  string `col:"client_id,key"`
	Metadata  []byte `col:"metadata,json"`
	CreatedTS int64  `col:"created_ts"` // ms: when it registered last
	Used      bool   `col:"used"`       // somebody has let it in
}

// OAuthGrant is what a user has decided about a client that wants to be let in: it is found by what the client shows then, an
// authorization code or a device code. Written by the user's actor, and kept when it is spent, so that a second use is seen.
type OAuthGrant struct {
	Hash        []byte `col:"hash,key"` // SHA-256 of the code
	UserID      string `col:"user_id"`
	ClientID    string `col:"client_id"`
	DeviceID    string `col:"device_id"`
	Scope       string `col:"scope"`
	RedirectURI string `col:"redirect_uri"` // empty for a device code
	Challenge   string `col:"challenge"`    // of PKCE, S256; empty for a device code
	ExpiresTS   int64  `col:"expires_ts"`
	Denied      bool   `col:"denied"`
	Spent       bool   `col:"spent"`
	Nonce       string `col:"nonce"` // of OpenID Connect; empty for none
}

// OAuthDeviceCode is a device that waits for a user to let it in (RFC 8628). Written once, by any node.
type OAuthDeviceCode struct {
	UserCode  string `col:"user_code,key"` // what people type, without its dash
	Hash      []byte `col:"hash"`          // SHA-256 of the device code
	ClientID  string `col:"client_id"`
	DeviceID  string `col:"device_id"`
	Scope     string `col:"scope"`
	ExpiresTS int64  `col:"expires_ts"`
}

// OAuthDeviceWait finds the OAuthDeviceCode of a device code. Written with it.
type OAuthDeviceWait struct {
	Hash      []byte `col:"hash,key"`
	UserCode  string `col:"user_code"`
	ExpiresTS int64  `col:"expires_ts"`
}

// OAuthSession says that a device was let in through the OAuth 2.0 API. Written by the user's actor, and gone with the device.
type OAuthSession struct {
	UserID    string `col:"user_id,key"`
	DeviceID  string `col:"device_id,key"`
	SessionID string `col:"session_id"` // another one for each time that the device was let in
	ClientID  string `col:"client_id"`
	Scope     string `col:"scope"`
	CreatedTS int64  `col:"created_ts"`
}

// CrossSigningReset lets a user replace the cross-signing keys, who has confirmed it in the browser. Written by the user's actor.
type CrossSigningReset struct {
	UserID    string `col:"user_id,key"`
	ExpiresTS int64  `col:"expires_ts"`
}

// Rendezvous is the payload of a rendezvous session (MSC4388). Each write is a row of its own, one number higher, which must be
// absent; so of two at once only one succeeds, on whichever nodes. Written by any node.
type Rendezvous struct {
	ID        string `col:"id,key"`
	Revision  uint64 `col:"revision,key"`
	Data      []byte `col:"data"` // nil: the session was ended
	MediaType string `col:"media_type"`
	WrittenTS int64  `col:"written_ts"`
	ExpiresTS int64  `col:"expires_ts"`
}

// The tables of signing in through a browser.
var (
	ExternalIDs        = persistence.NewTable[ExternalID]("external_ids")
	ExternalIDsByUser  = persistence.NewTable[ExternalIDByUser]("user_external_ids")
	BrowserSessions    = persistence.NewTable[BrowserSession]("browser_sessions")
	OAuthClients       = persistence.NewTable[OAuthClient]("oauth_clients")
	OAuthGrants        = persistence.NewTable[OAuthGrant]("oauth_grants")
	OAuthDeviceCodes   = persistence.NewTable[OAuthDeviceCode]("oauth_device_codes")
	OAuthDeviceWaits   = persistence.NewTable[OAuthDeviceWait]("oauth_device_waits")
	OAuthSessions      = persistence.NewTable[OAuthSession]("oauth_sessions")
	CrossSigningResets = persistence.NewTable[CrossSigningReset]("cross_signing_resets")
	RendezvousRows     = persistence.NewTable[Rendezvous]("rendezvous")
)
