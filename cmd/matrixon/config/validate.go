package config

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/signing"
)

// largestEvent is the bound of the specification on an event (client-server API, size limits).
const largestEvent Size = 64 << 10

// validate checks what a type cannot say, with the place of each key in the problem.
func (b *binder) validate() {
	c := b.config
	b.check("server_name", serverName(c.ServerName))
	if c.ServerName != strings.ToLower(c.ServerName) {
		b.reject("server_name", "%q has capitals, which other servers tell apart from small letters; write %q",
			c.ServerName, strings.ToLower(c.ServerName))
	}
	if c.DataDir == "" {
		b.reject("data_dir", "a folder is needed, such as ./data")
	}
	b.check("storage", storage(c.Storage))
	for i, url := range c.Replicas {
		key := fmt.Sprintf("replicas.%d", i)
		b.check(key, storage(url))
		if url == Pebble || c.Storage == Pebble {
			b.reject(key, "only a Postgres database has replicas; storage and replicas are their URLs")
		}
	}
	b.sizeAtLeast("pebble.cache", c.Pebble.Cache, 1<<20)
	b.sizeAtLeast("pebble.memtable", c.Pebble.Memtable, 1<<20)
	b.listeners()
	b.accounts()
	b.wellKnown()
	b.limits()
	b.policyServer()
	b.email()
	b.signingIn()
	b.turn()
	b.rtc()
	b.atLeast("delayed_events.max_delay", c.DelayedEvents.MaxDelay, time.Second)
	b.between("delayed_events.max_scheduled", int64(c.DelayedEvents.MaxScheduled), 0, 10_000)
	if user := c.ServerNotices.User; user != "" && !id.ValidNewLocalpart(user) {
		b.reject("server_notices.user", "%q is no user name: it may hold only a-z, 0-9 and . _ = - / +", user)
	}
	for i, name := range c.Federation.TrustedKeyServers {
		b.check(fmt.Sprintf("federation.trusted_key_servers.%d", i), serverName(name))
	}
	if c.Federation.Resolver != "" {
		b.check("federation.resolver", hostPort(c.Federation.Resolver, 1))
	}
	b.atLeast("federation.retry_longest", c.Federation.RetryLongest, time.Second)
	b.atLeast("federation.timeout", c.Federation.Timeout, time.Second)
	for i, path := range c.Appservices {
		if path == "" {
			b.reject(fmt.Sprintf("appservices.%d", i), "the path of a registration file or a folder of them is needed")
		}
	}
	b.media()
	b.cluster()
	b.oneOf("logging.level", c.Logging.Level, "debug", "info", "warn", "error")
	b.oneOf("logging.format", c.Logging.Format, "text", "json")
	if c.Tracing.OTLPEndpoint != "" {
		b.check("tracing.otlp_endpoint", webURL(c.Tracing.OTLPEndpoint))
	}
}

func (b *binder) reject(path, format string, args ...any) {
	b.fail(b.whereIs(path), path, format, args...)
}

func (b *binder) check(path string, err error) {
	if err != nil {
		b.reject(path, "%s", err)
	}
}

func (b *binder) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		b.reject(path, "%q is none of %s", value, quotedList(allowed))
	}
}

func (b *binder) listeners() {
	if len(b.config.Listeners) == 0 {
		b.reject("listeners", "at least one is needed, such as [{address: 127.0.0.1:8008, serves: [client]}]")
	}
	used := map[string]int{}
	for i, l := range b.config.Listeners {
		path := fmt.Sprintf("listeners.%d", i)
		b.check(path+".address", hostPort(l.Address, 0))
		if before, ok := used[l.Address]; ok && !strings.HasSuffix(l.Address, ":0") {
			b.reject(path+".address", "%s is the address of listeners.%d already", l.Address, before)
		}
		used[l.Address] = i
		if len(l.Serves) == 0 {
			b.reject(path+".serves", "at least one of %s is needed", quotedList(Parts))
		}
		for j, part := range l.Serves {
			b.oneOf(fmt.Sprintf("%s.serves.%d", path, j), part, Parts...)
		}
		b.allOrNone(path+".tls", map[string]string{"certificate": l.TLS.Certificate, "key": l.TLS.Key})
	}
}

// allOrNone rejects a group of keys of which only some are given.
func (b *binder) allOrNone(path string, values map[string]string) {
	var given, missing []string
	for key, value := range values {
		if value == "" {
			missing = append(missing, key)
		} else {
			given = append(given, key)
		}
	}
	if len(given) > 0 && len(missing) > 0 {
		slices.Sort(given)
		slices.Sort(missing)
		b.reject(path, "%s is given, so %s is needed too", strings.Join(given, " and "), strings.Join(missing, " and "))
	}
}

func (b *binder) accounts() {
	c := b.config
	for i, token := range c.Registration.Tokens {
		if !validToken(token.Reveal()) {
			b.reject(fmt.Sprintf("registration.tokens.%d", i), "a token is 1 to 64 letters, digits and . _ ~ -")
		}
	}
	// The bounds keep a mistyped number from making every login take minutes, or a stolen hash cost nothing.
	hash := c.PasswordHash
	b.between("password_hash.memory_kib", int64(hash.MemoryKiB), 8*int64(max(hash.Parallelism, 1)), 4<<20)
	b.between("password_hash.iterations", int64(hash.Iterations), 1, 100)
	b.between("password_hash.parallelism", int64(hash.Parallelism), 1, 255)
	b.atLeast("session.access_token_lifetime", c.Session.AccessTokenLifetime, time.Minute)
	if c.Session.RefreshTokenLifetime != 0 {
		b.atLeast("session.refresh_token_lifetime", c.Session.RefreshTokenLifetime, time.Duration(c.Session.AccessTokenLifetime))
	}
	b.sizeAtLeast("events.max_body", c.Events.MaxBody, largestEvent)
}

func (b *binder) email() {
	e := b.config.Email
	for i, p := range b.config.Registration.Terms {
		key := fmt.Sprintf("registration.terms.%d", i)
		if p.ID == "" || p.Version == "" || p.Language == "" || p.Name == "" {
			b.reject(key, "id, version, language, name and url are needed")
		}
		b.check(key+".url", webURL(p.URL))
	}
	if b.config.Registration.EmailRequired && e.Host == "" {
		b.reject("registration.email_required", "it needs email.host, to send the messages with which addresses are confirmed")
	}
	b.oneOf("email.tls", e.TLS, "starttls", "tls", "none")
	if e.Host == "" {
		return
	}
	b.between("email.port", int64(e.Port), 1, 65535)
	if _, err := mail.ParseAddress(e.From); err != nil {
		b.reject("email.from", "%q is no sender; write for example \"Example <noreply@example.org>\"", e.From)
	}
	if b.config.WellKnown.ClientBaseURL == "" {
		b.reject("well_known.client_base_url", "it is needed with email.host: the links in messages lead there")
	}
}

func (b *binder) turn() {
	t := b.config.TURN
	for i, uri := range t.URIs {
		scheme, host, _ := strings.Cut(uri, ":")
		if scheme != "turn" && scheme != "turns" || host == "" || strings.HasPrefix(host, "//") {
			b.reject(fmt.Sprintf("turn.uris.%d", i), "%q is no TURN server; write for example turn:turn.example.org:3478?transport=udp", uri)
		}
	}
	if len(t.URIs) > 0 && t.SharedSecret == "" {
		b.reject("turn.shared_secret", "it is needed with turn.uris")
	}
	b.atLeast("turn.lifetime", t.Lifetime, time.Minute)
}

func (b *binder) rtc() {
	for i, given := range b.config.RTC.LiveKit {
		if u, err := url.Parse(given); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			b.reject(fmt.Sprintf("rtc.livekit.%d", i), "%q is no URL; write for example https://rtc.example.org/livekit/jwt", given)
		}
	}
}

func (b *binder) between(path string, value, low, high int64) {
	if value < low || value > high {
		b.reject(path, "%d is not from %d to %d", value, low, high)
	}
}

func (b *binder) atLeast(path string, value Duration, least time.Duration) {
	if time.Duration(value) < least {
		b.reject(path, "%s is too short; at least %s is needed", value, Duration(least))
	}
}

func (b *binder) sizeAtLeast(path string, value, least Size) {
	if value < least {
		b.reject(path, "%s is too small; at least %s is needed", value, least)
	}
}

func (b *binder) wellKnown() {
	w := b.config.WellKnown
	if w.ClientBaseURL != "" {
		b.check("well_known.client_base_url", webURL(w.ClientBaseURL))
	}
	if w.Server != "" {
		b.check("well_known.server", serverName(w.Server))
	}
	if raw, err := signing.DecodeBase64(w.PolicyKey); w.PolicyKey != "" && (err != nil || len(raw) != ed25519.PublicKeySize) {
		b.reject("well_known.policy_key", "%q is no ed25519 public key in base64", w.PolicyKey)
	}
	if w.Support.Page != "" {
		b.check("well_known.support.page", webURL(w.Support.Page))
	}
	for i, contact := range w.Support.Contacts {
		path := fmt.Sprintf("well_known.support.contacts.%d", i)
		if contact.Role == "" {
			b.reject(path+".role", "a role is needed, such as m.role.admin or m.role.security")
		}
		if contact.MatrixID == "" && contact.EmailAddress == "" {
			b.reject(path, "matrix_id or email_address is needed")
		}
		if contact.MatrixID != "" && !id.ValidUser(contact.MatrixID) {
			b.reject(path+".matrix_id", "%q is not a user id such as @admin:example.org", contact.MatrixID)
		}
		if address, err := mail.ParseAddress(contact.EmailAddress); contact.EmailAddress != "" &&
			(err != nil || address.Address != contact.EmailAddress) {
			b.reject(path+".email_address", "%q is not a mail address", contact.EmailAddress)
		}
	}
}

func (b *binder) limits() {
	rates := b.config.Limits.Rates()
	for _, kind := range slices.Sorted(maps.Keys(rates)) {
		b.rate("limits."+kind, rates[kind])
	}
}

func (b *binder) rate(path string, rate Rate) {
	if rate.PerSecond < 0 {
		b.reject(path+".per_second", "%v is negative; 0 means no limit", rate.PerSecond)
	}
	if rate.PerSecond > 0 && rate.Burst < 1 {
		b.reject(path+".burst", "%d lets nothing happen; at least 1 is needed", rate.Burst)
	}
}

func (b *binder) media() {
	m := b.config.Media
	b.oneOf("media.store", m.Store, MediaAuto, MediaFile, MediaDatabase, MediaS3)
	b.sizeAtLeast("media.max_upload", m.MaxUpload, 1)
	b.sizeAtLeast("media.max_remote", m.MaxRemote, 1)
	b.sizeAtLeast("media.retention.remote_size", m.Retention.RemoteSize, 0)
	if m.Quota.Files < 0 {
		b.reject("media.quota.files", "%d is negative; 0 is no bound", m.Quota.Files)
	}
	if m.Pending.Most < 1 || m.Pending.Lifetime < Duration(time.Minute) {
		b.reject("media.pending", "at least one id must be allowed, for at least 1m")
	}
	const most = 1 << 30 // pixels
	if t := m.Thumbnails; t.MaxPixels < 1 || t.MaxPixels > most || t.Workers < 0 || t.Workers > 1024 {
		b.reject("media.thumbnails", "max_pixels is from 1 to %d, and workers from 0 to 1024", most)
	}
	b.sizeAtLeast("media.thumbnails.memory", m.Thumbnails.Memory, 16<<20)
	if m.Previews.Lifetime < Duration(time.Minute) {
		b.reject("media.previews.lifetime", "%s is too short; at least 1m is needed", m.Previews.Lifetime)
	}
	switch b.config.MediaStore() {
	case MediaFile:
		if m.Store == MediaFile && b.config.Cluster.Consul != "" && m.Path == "" { // beside Pebble there is no cluster
			b.reject("media.store", "the nodes of a cluster share their files: give the folder that all of them see as media.path, "+
				"or use database or s3")
		}
	case MediaS3:
		b.check("media.s3.endpoint", webURL(m.S3.Endpoint))
		if m.S3.Bucket == "" {
			b.reject("media.s3.bucket", "a bucket is needed when media.store is s3")
		}
		b.allOrNone("media.s3", map[string]string{"access_key": m.S3.AccessKey, "secret_key": m.S3.SecretKey.Reveal()})
	}
}

func (b *binder) cluster() {
	c := b.config.Cluster
	b.check("cluster.address", hostPort(c.Address, 1))
	if c.Listen != "" {
		b.check("cluster.listen", hostPort(c.Listen, 1))
	}
	if c.Weight < 0 || c.Weight > 1000 {
		b.reject("cluster.weight", "%v is not from 0 to 1000", c.Weight)
	}
	if strings.ContainsAny(c.Node, "/ \t\n") {
		b.reject("cluster.node", "%q has a slash or space in it", c.Node)
	}
	if r := c.Rebalance; r.Interval < Duration(time.Second) || r.Moves < 1 || r.Moves > 100 || r.Tolerance < 0 {
		b.reject("cluster.rebalance", "the interval is at least 1s, moves are from 1 to 100, and the tolerance is not negative")
	}
	b.allOrNone("cluster.tls", map[string]string{"ca": c.TLS.CA, "certificate": c.TLS.Certificate, "key": c.TLS.Key})
	if c.Consul == "" {
		return
	}
	b.check("cluster.consul", hostPort(c.Consul, 1))
	if host, _, err := net.SplitHostPort(c.Address); err == nil && c.Secret.Reveal() == "" && c.TLS == (ClusterTLS{}) && !isLoopback(host) {
		b.reject("cluster.secret", "nodes that speak over a network need a secret that all of them share, or cluster.tls")
	}
	if b.config.Storage == Pebble {
		b.reject("storage", "pebble belongs to a single node, and cluster.consul turns the cluster on: "+
			"the nodes share one Postgres, as in postgres://user@host/database")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

func serverName(name string) error {
	if !id.ValidServerName(name) {
		return fmt.Errorf("%q is not a server name: a host name or IP address, with a port if need be, "+
			"as in example.org or matrix.example.org:8448", name)
	}
	return nil
}

func storage(s Storage) error {
	if s == Pebble {
		return nil
	}
	u, err := url.Parse(string(s))
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || strings.Trim(u.Path, "/") == "" {
		return errors.New("it is neither pebble nor a URL such as postgres://user@host/database")
	}
	return nil
}

// hostPort checks an address to listen on (leastPort 0) or to connect to (1).
func hostPort(address string, leastPort int) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		if n, e := strconv.Atoi(port); e != nil || n < leastPort || n > 65535 {
			err = fmt.Errorf("%q is not a port", port)
		}
	}
	if err != nil {
		return fmt.Errorf("%q is not an address such as 127.0.0.1:8008 or [::1]:8008", address)
	}
	return nil
}

func webURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return fmt.Errorf("%q is not a URL such as https://matrix.example.org", text)
	}
	return nil
}

// validToken is the grammar of registration tokens (client-server API, token-authenticated registration).
func validToken(token string) bool {
	return token != "" && len(token) <= 64 && strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-") == ""
}
