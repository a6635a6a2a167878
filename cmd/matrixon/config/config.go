// Package config is the configuration of a node: a YAML file, environment variables and --set on the command line,
// each taking precedence over the one before it, on top of the defaults. The file matrixon.yaml beside this one is
// the commented configuration with all defaults; `matrixon config init` writes it, and Default reads it.
//
// A key is named by its path with dots, as in cluster.node or listeners.0.address. Its environment variable is
// MATRIXON_ and the path in capitals, with __ for the dots: MATRIXON_CLUSTER__NODE, MATRIXON_LISTENERS__0__ADDRESS.
package config

import (
	"net/netip"
	"path/filepath"
)

// Config is everything that can be configured. Load returns it validated.
type Config struct {
	ServerName      string         `yaml:"server_name"` // the server name in user ids and room aliases
	DataDir         string         `yaml:"data_dir"`
	Storage         Storage        `yaml:"storage"`
	Replicas        []Storage      `yaml:"replicas"` // URLs of copies of the Postgres database, for reading
	Pebble          PebbleTuning   `yaml:"pebble"`
	Listeners       []Listener     `yaml:"listeners"`
	TrustedProxies  []netip.Prefix `yaml:"trusted_proxies"`
	ShutdownTimeout Duration       `yaml:"shutdown_timeout"`
	WellKnown       WellKnown      `yaml:"well_known"`
	Registration    Registration   `yaml:"registration"`
	PasswordHash    PasswordHash   `yaml:"password_hash"`
	Session         Session        `yaml:"session"`
	OAuth           OAuth          `yaml:"oauth"`
	SSO             SSO            `yaml:"sso"`
	Presence        Presence       `yaml:"presence"`
	Events          Events         `yaml:"events"`
	DelayedEvents   DelayedEvents  `yaml:"delayed_events"`
	UserDirectory   UserDirectory  `yaml:"user_directory"`
	ServerNotices   ServerNotices  `yaml:"server_notices"`
	Push            Push           `yaml:"push"`
	Email           Email          `yaml:"email"`
	TURN            TURN           `yaml:"turn"`
	RTC             RTC            `yaml:"rtc"`
	Limits          Limits         `yaml:"limits"`
	Federation      Federation     `yaml:"federation"`
	PolicyServer    PolicyServer   `yaml:"policy_server"`
	Appservices     []string       `yaml:"appservices"` // registration files, or folders of them
	Media           Media          `yaml:"media"`
	Cluster         Cluster        `yaml:"cluster"`
	Logging         Logging        `yaml:"logging"`
	Metrics         Metrics        `yaml:"metrics"`
	Tracing         Tracing        `yaml:"tracing"`
}

// PebbleTuning is how much memory the embedded storage takes.
type PebbleTuning struct {
	Cache    Size `yaml:"cache"`    // of what was read
	Memtable Size `yaml:"memtable"` // of what was written last
}

// Listener is an address and what is served there.
type Listener struct {
	Address string   `yaml:"address"` // host:port; port 0 takes a free one
	Serves  []string `yaml:"serves"`  // of Parts
	TLS     TLSPair  `yaml:"tls"`     // without it the listener speaks plain HTTP
}

// Parts are what a listener can serve.
var Parts = []string{"client", "federation", "media", "admin", "metrics"}

// TLSPair names the PEM files of a certificate chain and its private key; both or neither are given.
type TLSPair struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// WellKnown is what the server publishes about itself under /.well-known/matrix.
type WellKnown struct {
	ClientBaseURL string  `yaml:"client_base_url"` // empty: not published
	Server        string  `yaml:"server"`          // host[:port] of federation; empty: not published
	PolicyKey     string  `yaml:"policy_key"`      // ed25519, in base64; empty: not published
	Support       Support `yaml:"support"`
}

// Support tells people whom to ask.
type Support struct {
	Page     string    `yaml:"page"`
	Contacts []Contact `yaml:"contacts"`
}

// Contact is someone who answers for the server; it has a Matrix id, a mail address, or both.
type Contact struct {
	Role         string `yaml:"role"` // m.role.admin, m.role.security, or a name of one's own
	MatrixID     string `yaml:"matrix_id"`
	EmailAddress string `yaml:"email_address"`
}

// Registration says who may make an account.
type Registration struct {
	Open           bool     `yaml:"open"`
	SharedSecret   Secret   `yaml:"shared_secret"` // of POST /_synapse/admin/v1/register; empty: not served
	TokensRequired bool     `yaml:"tokens_required"`
	Tokens         []Secret `yaml:"tokens"` // registration tokens that never expire
	EmailRequired  bool     `yaml:"email_required"`
	Terms          []Policy `yaml:"terms"` // to which those who register agree
}

// Policy is a document that those who register agree to, in one language.
type Policy struct {
	ID       string `yaml:"id"`       // the same in all languages
	Version  string `yaml:"version"`  // the same in all languages
	Language string `yaml:"language"` // such as en
	Name     string `yaml:"name"`
	URL      string `yaml:"url"`
}

// Email is how messages leave the server.
type Email struct {
	Host     string `yaml:"host"` // of the SMTP server; empty: no email is sent
	Port     uint16 `yaml:"port"`
	TLS      string `yaml:"tls"` // starttls, tls or none
	CAFile   string `yaml:"ca_file"`
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	From     string `yaml:"from"`
}

// PasswordHash are the costs of argon2id (RFC 9106).
type PasswordHash struct {
	MemoryKiB   uint32 `yaml:"memory_kib"`
	Iterations  uint32 `yaml:"iterations"`
	Parallelism uint8  `yaml:"parallelism"`
}

// Session says how long the tokens of a login are good. Clients that do not use refresh tokens have one that stays.
type Session struct {
	AccessTokenLifetime  Duration `yaml:"access_token_lifetime"`
	RefreshTokenLifetime Duration `yaml:"refresh_token_lifetime"` // 0: as long as the device
}

// OAuth is how apps are let in through the server's own pages.
type OAuth struct {
	Enabled    bool   `yaml:"enabled"`
	Rendezvous string `yaml:"rendezvous"` // one of Rendezvous
}

// Rendezvous are those who may begin a rendezvous session, with which a device lets another in by a QR code.
const (
	RendezvousNobody    = "nobody"
	RendezvousUsers     = "users"
	RendezvousEverybody = "everybody"
)

// SSO is how people sign in with identity providers.
type SSO struct {
	Providers   []SSOProvider `yaml:"providers"`
	Only        bool          `yaml:"only"`         // nobody signs in with a password
	TrustedApps []string      `yaml:"trusted_apps"` // beginnings of addresses to which users go on without being asked
	CAFile      string        `yaml:"ca_file"`      // PEM; trusted besides the system's
}

// SSOProvider is an identity provider that speaks OpenID Connect.
type SSOProvider struct {
	ID               string    `yaml:"id"`
	Name             string    `yaml:"name"`
	Brand            string    `yaml:"brand"`
	Icon             string    `yaml:"icon"` // an mxc:// URI
	Issuer           string    `yaml:"issuer"`
	ClientID         string    `yaml:"client_id"`
	ClientSecret     Secret    `yaml:"client_secret"`
	ClientSecretFile string    `yaml:"client_secret_file"`
	Scopes           []string  `yaml:"scopes"` // besides openid
	Claims           SSOClaims `yaml:"claims"`
	AllowExisting    bool      `yaml:"allow_existing"` // who has the user name of an account that is there gets it
	NoNewAccounts    bool      `yaml:"no_new_accounts"`
	BackChannel      bool      `yaml:"back_channel_logout"`
}

// SSOClaims names the claims from which an account is made; empty: none.
type SSOClaims struct {
	Localpart   string `yaml:"localpart"` // empty: the user chooses
	DisplayName string `yaml:"display_name"`
	Email       string `yaml:"email"`
}

// Presence says whether users see each other come and go.
type Presence struct {
	Enabled bool `yaml:"enabled"`
}

// Events bounds what clients send.
type Events struct {
	MaxBody Size `yaml:"max_body"` // of a JSON request's body
}

// Push is how notifications reach phones.
type Push struct {
	AllowNetworks []netip.Prefix `yaml:"allow_networks"` // private ones in which push gateways may be
	CAFile        string         `yaml:"ca_file"`        // PEM; trusted besides the system's
}

// DelayedEvents bounds the events that clients schedule to be sent later.
type DelayedEvents struct {
	MaxDelay     Duration `yaml:"max_delay"`
	MaxScheduled int      `yaml:"max_scheduled"` // of one user; 0: none may be
}

// UserDirectory says whom users find when they search for each other.
type UserDirectory struct {
	Enabled  bool `yaml:"enabled"`
	AllUsers bool `yaml:"all_users"` // of this server, whether or not they share a room
}

// ServerNotices is the account that tells users what the operators have to say.
type ServerNotices struct {
	User string `yaml:"user"` // its name, without @ and server; empty: none
	Name string `yaml:"name"` // of the account and of the rooms
}

// TURN are the servers through which calls go when two clients do not reach each other.
type TURN struct {
	URIs         []string `yaml:"uris"` // turn: or turns:; empty: none
	SharedSecret Secret   `yaml:"shared_secret"`
	Lifetime     Duration `yaml:"lifetime"` // of the credentials that a client gets
}

// RTC is what calls of many people go through.
type RTC struct {
	LiveKit []string `yaml:"livekit"` // URLs of services that let users into LiveKit
}

// Rate is how often something may happen: Burst times at once, and PerSecond in the long run.
type Rate struct {
	PerSecond float64 `yaml:"per_second"` // 0: no limit
	Burst     int     `yaml:"burst"`
}

// Limits are the request rates. Each counts for one user, or, where nobody is logged in, for one address.
type Limits struct {
	Enabled     bool `yaml:"enabled"`
	Login       Rate `yaml:"login"`
	LoginFailed Rate `yaml:"login_failed"`
	Register    Rate `yaml:"register"`
	Message     Rate `yaml:"message"`
	Join        Rate `yaml:"join"`
	Invite      Rate `yaml:"invite"`
	CreateRoom  Rate `yaml:"create_room"`
	Search      Rate `yaml:"search"`
	Media       Rate `yaml:"media"`
	MediaRemote Rate `yaml:"media_remote"`
	Keys        Rate `yaml:"keys"`
	Account     Rate `yaml:"account"`
	Read        Rate `yaml:"read"`
	Report      Rate `yaml:"report"`
	Email       Rate `yaml:"email"`
	Federation  Rate `yaml:"federation"`
}

// Federation is how the server deals with others.
type Federation struct {
	Enabled           bool           `yaml:"enabled"`
	CAFile            string         `yaml:"ca_file"`        // PEM; trusted besides the system's
	AllowNetworks     []netip.Prefix `yaml:"allow_networks"` // exceptions to the blocked private ranges
	TrustedKeyServers []string       `yaml:"trusted_key_servers"`
	Resolver          string         `yaml:"resolver"`      // host:port of a DNS server; empty: the system's
	Timeout           Duration       `yaml:"timeout"`       // the longest that any request waits for an answer, or for more of it
	RetryLongest      Duration       `yaml:"retry_longest"` // the longest pause before a server that does not answer is sent its transaction again
}

// PolicyServer is what this server vouches for in rooms that choose it as their policy server.
type PolicyServer struct {
	Enabled        bool      `yaml:"enabled"`
	ExemptPower    int       `yaml:"exempt_power"`    // from which power level on nothing is refused
	BlockedUsers   []string  `yaml:"blocked_users"`   // globs of user ids
	BlockedServers []string  `yaml:"blocked_servers"` // globs of server names
	BlockedTypes   []string  `yaml:"blocked_types"`   // of events, and of messages
	BlockedText    []string  `yaml:"blocked_text"`    // regular expressions (RE2)
	MaxText        Size      `yaml:"max_text"`        // of a message; 0: no bound
	MaxMentions    int       `yaml:"max_mentions"`    // 0: no bound
	Rate           Rate      `yaml:"rate"`            // of one user in one room
	Newcomers      Newcomers `yaml:"newcomers"`
}

// Newcomers are those who have just joined a room.
type Newcomers struct {
	Time         Duration `yaml:"time"` // how long; 0: nobody is one
	BlockedTypes []string `yaml:"blocked_types"`
}

// Media is the content repository: where files lie, and how much and how long.
type Media struct {
	Store           string          `yaml:"store"` // auto, file, database or s3; see MediaStore
	Path            string          `yaml:"path"`  // of file; empty: media in data_dir
	S3              S3              `yaml:"s3"`
	MaxUpload       Size            `yaml:"max_upload"`
	MaxRemote       Size            `yaml:"max_remote"` // of a file of another server
	Quota           MediaQuota      `yaml:"quota"`
	Pending         MediaPending    `yaml:"pending"`
	Unauthenticated bool            `yaml:"unauthenticated"` // what comes in while it is true can be fetched without a token for ever
	Thumbnails      Thumbnails      `yaml:"thumbnails"`
	Retention       MediaRetention  `yaml:"retention"`
	Previews        PreviewsOfPages `yaml:"previews"`
}

// The stores of media.
const (
	MediaAuto     = "auto" // MediaFile beside Pebble, MediaDatabase in Postgres
	MediaFile     = "file"
	MediaDatabase = "database"
	MediaS3       = "s3"
)

// MediaStore is where files are kept: MediaFile, MediaDatabase or MediaS3.
func (c *Config) MediaStore() string {
	switch {
	case c.Media.Store != MediaAuto:
		return c.Media.Store
	case c.Storage == Pebble:
		return MediaFile
	}
	return MediaDatabase
}

// MediaFolder is where the files of MediaFile are kept.
func (c *Config) MediaFolder() string {
	if c.Media.Path != "" {
		return c.Media.Path
	}
	return filepath.Join(c.DataDir, "media")
}

// S3 is a bucket of an S3-compatible storage.
type S3 struct {
	Endpoint  string `yaml:"endpoint"` // a URL; http:// only for a storage on the same machine or network
	Region    string `yaml:"region"`
	Bucket    string `yaml:"bucket"`
	Prefix    string `yaml:"prefix"`
	AccessKey string `yaml:"access_key"`
	SecretKey Secret `yaml:"secret_key"`
	Redirect  bool   `yaml:"redirect"` // send clients there for downloads
}

// MediaQuota bounds what one user may have uploaded; 0 is no bound.
type MediaQuota struct {
	Files int  `yaml:"files"`
	Size  Size `yaml:"size"`
}

// MediaPending bounds ids that a user makes before the files come.
type MediaPending struct {
	Most     int      `yaml:"most"`
	Lifetime Duration `yaml:"lifetime"`
}

// Thumbnails bounds what making them may cost a node.
type Thumbnails struct {
	MaxPixels int  `yaml:"max_pixels"` // of a picture
	Memory    Size `yaml:"memory"`     // of all that are made at once
	Workers   int  `yaml:"workers"`    // 0: one for each processor
}

// MediaRetention is how long files are kept that nobody fetches; 0 is for ever.
type MediaRetention struct {
	Local      Duration `yaml:"local"`
	Remote     Duration `yaml:"remote"`
	RemoteSize Size     `yaml:"remote_size"` // of all files of other servers; 0: no bound
}

// PreviewsOfPages is how the server looks at web pages that people mention.
type PreviewsOfPages struct {
	Enabled       bool           `yaml:"enabled"`
	Lifetime      Duration       `yaml:"lifetime"`
	AllowNetworks []netip.Prefix `yaml:"allow_networks"` // exceptions to the blocked private ranges
}

// Cluster is how the nodes find each other and talk.
type Cluster struct {
	Consul      string     `yaml:"consul"` // host:port; empty: a single node
	ConsulToken Secret     `yaml:"consul_token"`
	Node        string     `yaml:"node"` // a stable name; empty: the host's
	Address     string     `yaml:"address"`
	Listen      string     `yaml:"listen"` // empty: the same as address
	Weight      float64    `yaml:"weight"`
	Rebalance   Rebalance  `yaml:"rebalance"`
	Secret      Secret     `yaml:"secret"`
	TLS         ClusterTLS `yaml:"tls"`
}

// Rebalance is how the load of the nodes is evened out.
type Rebalance struct {
	Automatic bool     `yaml:"automatic"`
	Interval  Duration `yaml:"interval"`
	Moves     int      `yaml:"moves"`     // at a time
	Tolerance float64  `yaml:"tolerance"` // how much busier than the average a node may be: 0.25 is a quarter
}

// ClusterTLS names the PEM files with which nodes prove to each other who they are; all three or none are given.
type ClusterTLS struct {
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// Logging is what is logged, on standard error.
type Logging struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Metrics says whether Prometheus can ask for figures, on the listeners that serve metrics.
type Metrics struct {
	Enabled      bool `yaml:"enabled"`
	ServerTiming bool `yaml:"server_timing"` // tell clients how long their requests took
}

// Tracing sends spans to an OpenTelemetry collector.
type Tracing struct {
	OTLPEndpoint string `yaml:"otlp_endpoint"` // a URL; empty: no traces
}
