package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/api"
)

// load loads a file with this text; its name in problems is matrixon.yaml.
func load(t *testing.T, text string, environ, set []string) (*config.Config, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "matrixon.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{File: file, Environ: environ, Set: set})
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range problems {
		p.Where = strings.Replace(p.Where, file, "matrixon.yaml", 1)
		lines = append(lines, p.String())
	}
	return c, lines
}

func mustLoad(t *testing.T, text string, environ, set []string) *config.Config {
	t.Helper()
	c, problems := load(t, text, environ, set)
	if problems != nil {
		t.Fatalf("problems:\n%s", strings.Join(problems, "\n"))
	}
	return c
}

var values = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := &config.Config{
		ServerName: "localhost",
		DataDir:    "./data",
		Storage:    config.Pebble,
		Pebble:     config.PebbleTuning{Cache: 32 << 20, Memtable: 16 << 20},
		Listeners: []config.Listener{{
			Address: "127.0.0.1:8008",
			Serves:  []string{"client", "federation", "media", "admin", "metrics"},
		}},
		ShutdownTimeout: config.Duration(10 * time.Second),
		PasswordHash:    config.PasswordHash{MemoryKiB: 65536, Iterations: 3, Parallelism: 2},
		Session:         config.Session{AccessTokenLifetime: config.Duration(time.Hour)},
		OAuth:           config.OAuth{Enabled: true, Rendezvous: "everybody"},
		Presence:        config.Presence{Enabled: true},
		Events:          config.Events{MaxBody: api.DefaultMaxBody},
		DelayedEvents:   config.DelayedEvents{MaxDelay: config.Duration(24 * time.Hour), MaxScheduled: 100},
		UserDirectory:   config.UserDirectory{Enabled: true},
		ServerNotices:   config.ServerNotices{User: "_server", Name: "Server notices"},
		Email:           config.Email{Port: 587, TLS: "starttls"},
		TURN:            config.TURN{Lifetime: config.Duration(24 * time.Hour)},
		Federation:      config.Federation{Enabled: true, Timeout: config.Duration(2 * time.Minute), RetryLongest: config.Duration(time.Hour)},
		PolicyServer:    config.PolicyServer{Enabled: true, ExemptPower: 50, Newcomers: config.Newcomers{BlockedTypes: []string{"m.image", "m.video", "m.audio", "m.file", "m.sticker"}}},
		Media: config.Media{
			Store: "auto", MaxUpload: 50 << 20, MaxRemote: 100 << 20,
			Pending:    config.MediaPending{Most: 20, Lifetime: config.Duration(24 * time.Hour)},
			Thumbnails: config.Thumbnails{MaxPixels: 50_000_000, Memory: 256 << 20},
			Retention:  config.MediaRetention{RemoteSize: 50 << 30},
			Previews:   config.PreviewsOfPages{Enabled: true, Lifetime: config.Duration(24 * time.Hour), AllowNetworks: []netip.Prefix{}},
		},
		Cluster: config.Cluster{Address: "127.0.0.1:7400", Weight: 1,
			Rebalance: config.Rebalance{Interval: config.Duration(time.Minute), Moves: 3, Tolerance: 0.25}},
		Logging: config.Logging{Level: "info", Format: "text"},
		Metrics: config.Metrics{Enabled: true},
	}
	got := config.Default()
	if !got.Limits.Enabled {
		t.Error("limits are off")
	}
	if diff := cmp.Diff(want, got, values, cmpopts.IgnoreFields(config.Config{}, "Limits")); diff != "" {
		t.Error(diff)
	}
}

// The limits of the file are those that the API knows, with the rates it was made for.
func TestLimitsAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	want := map[string]config.Rate{}
	for kind, rate := range api.DefaultRates() {
		want[string(kind)] = config.Rate(rate)
	}
	if diff := cmp.Diff(want, config.Default().Limits.Rates()); diff != "" {
		t.Error(diff)
	}
}

func TestCommentedFileIsTheDefaults(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(config.Default(), mustLoad(t, config.Commented, nil, nil), values); diff != "" {
		t.Error(diff)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	got := mustLoad(t, `
server_name: example.org:8448
storage: "postgres://matrix:pw@db/matrixon?sslmode=require"
listeners:
  - address: "[::1]:8448"
    serves: [federation]
    tls: {certificate: tls.crt, key: tls.key}
registration: {open: true, shared_secret: 0042, tokens: [abc, 17]}
limits:
  message: {per_second: 2.5}
federation: {allow_networks: [127.0.0.0/8]}
media: {max_upload: 1GiB}
session: {access_token_lifetime: 1h30m, refresh_token_lifetime: 2w}
presence: # everything below it is commented out
`, nil, nil)
	want := config.Default()
	want.ServerName = "example.org:8448"
	want.Storage = "postgres://matrix:pw@db/matrixon?sslmode=require"
	want.Listeners = []config.Listener{{
		Address: "[::1]:8448", Serves: []string{"federation"},
		TLS: config.TLSPair{Certificate: "tls.crt", Key: "tls.key"},
	}}
	want.Registration = config.Registration{Open: true, SharedSecret: "0042", Tokens: []config.Secret{"abc", "17"}}
	want.Limits.Message.PerSecond = 2.5
	want.Federation.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	want.Media.MaxUpload = 1 << 30
	want.Session = config.Session{
		AccessTokenLifetime:  config.Duration(90 * time.Minute),
		RefreshTokenLifetime: config.Duration(14 * 24 * time.Hour),
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Error(diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		file         string
		environ, set []string
		want         []string
	}{
		"syntax":       {file: "a: [1,\nb", want: []string{`matrixon.yaml:1:4: sequence end token ']' not found`}},
		"duplicate":    {file: "data_dir: a\ndata_dir: b", want: []string{`matrixon.yaml:2:1: mapping key "data_dir" already defined at [1:1]`}},
		"not keys":     {file: "- 1", want: []string{`matrixon.yaml:1:1: keys with values are expected, not a list`}},
		"unknown key":  {file: "\nservername: x", want: []string{`matrixon.yaml:2:1: servername: unknown key; did you mean "server_name"?`}},
		"unknown deep": {file: "logging:\n  colour: red", want: []string{`matrixon.yaml:2:3: logging.colour: unknown key; known are: level, format`}},
		"in a list":    {file: "listeners:\n- adddress: 1.2.3.4:1\n  address: 127.0.0.1:1\n  serves: [client]", want: []string{`matrixon.yaml:2:3: listeners.0.adddress: unknown key; did you mean "address"?`}},
		"all at once": {file: "server_name: a b\nfederation:\n  enabled: yes\npassword_hash: {parallelism: 300}\nmedia: {max_upload: 50 apples}", want: []string{
			`matrixon.yaml:3:12: federation.enabled: "yes" is neither true nor false`,
			`matrixon.yaml:4:30: password_hash.parallelism: "300" is not a whole number from 0 to 255`,
			`matrixon.yaml:5:21: media.max_upload: "50 apples" is not a size; write for example 50MiB, 512KiB, 1GB or a number of bytes`,
			`matrixon.yaml:1:14: server_name: "a b" is not a server name: a host name or IP address, with a port if need be, as in example.org or matrix.example.org:8448`,
		}},
		"wrong shapes": {file: "server_name: [a]\nlisteners: a\nlogging: info", want: []string{
			`matrixon.yaml:1:14: server_name: a single value is expected, not a list`,
			`matrixon.yaml:2:12: listeners: a list is expected, not a single value`,
			`matrixon.yaml:3:10: logging: keys with values are expected, not a single value`,
		}},
		"missing value":   {file: "presence:\n  enabled:", want: []string{`matrixon.yaml:2:12: presence.enabled: a value is missing`}},
		"anchor":          {file: "server_name: &a x\n", want: []string{`matrixon.yaml:1:14: server_name: a single value is expected, not an anchor or alias, which this file cannot have`}},
		"capitals":        {file: "server_name: Example.org", want: []string{`matrixon.yaml:1:14: server_name: "Example.org" has capitals, which other servers tell apart from small letters; write "example.org"`}},
		"network":         {file: "trusted_proxies: [10.0.0.1]", want: []string{`matrixon.yaml:1:19: trusted_proxies.0: "10.0.0.1" is not a network such as 10.0.0.0/8 or fd00::/8`}},
		"half a TLS pair": {file: "listeners: [{address: 127.0.0.1:1, serves: [client], tls: {key: k}}]", want: []string{`matrixon.yaml:1:59: listeners.0.tls: key is given, so certificate is needed too`}},
		"listener": {file: "listeners: [{address: localhost}, {address: 127.0.0.1:1, serves: [clients]}, {address: 127.0.0.1:1, serves: [client]}]", want: []string{
			`matrixon.yaml:1:23: listeners.0.address: "localhost" is not an address such as 127.0.0.1:8008 or [::1]:8008`,
			`matrixon.yaml:1:13: listeners.0.serves: at least one of "client", "federation", "media", "admin", "metrics" is needed`,
			`matrixon.yaml:1:67: listeners.1.serves.0: "clients" is none of "client", "federation", "media", "admin", "metrics"`,
			`matrixon.yaml:1:88: listeners.2.address: 127.0.0.1:1 is the address of listeners.1 already`,
		}},
		"no listener":        {file: "listeners: []", want: []string{`matrixon.yaml:1:12: listeners: at least one is needed, such as [{address: 127.0.0.1:8008, serves: [client]}]`}},
		"cluster on Pebble":  {file: "cluster: {consul: 127.0.0.1:8500}", want: []string{`storage: pebble belongs to a single node, and cluster.consul turns the cluster on: the nodes share one Postgres, as in postgres://user@host/database`}},
		"storage":            {file: "storage: mysql://x/y", want: []string{`matrixon.yaml:1:10: storage: it is neither pebble nor a URL such as postgres://user@host/database`}},
		"storage, no secret": {file: "storage: 'postgres://u:hunter2@%zz/db'", want: []string{`matrixon.yaml:1:10: storage: it is neither pebble nor a URL such as postgres://user@host/database`}},
		"media of a cluster": {file: "media: {store: file}\nstorage: postgres://a@b/c\ncluster: {consul: '127.0.0.1:8500'}", want: []string{
			`matrixon.yaml:1:16: media.store: the nodes of a cluster share their files: give the folder that all of them see as media.path, or use database or s3`,
		}},
		"media": {file: "media: {store: tape, max_upload: 0, quota: {files: -1}, pending: {most: 0}, thumbnails: {workers: -1, memory: 1}, previews: {lifetime: 1s}}", want: []string{
			`matrixon.yaml:1:16: media.store: "tape" is none of "auto", "file", "database", "s3"`,
			`matrixon.yaml:1:34: media.max_upload: 0 is too small; at least 1 is needed`,
			`matrixon.yaml:1:52: media.quota.files: -1 is negative; 0 is no bound`,
			`matrixon.yaml:1:66: media.pending: at least one id must be allowed, for at least 1m`,
			`matrixon.yaml:1:89: media.thumbnails: max_pixels is from 1 to 1073741824, and workers from 0 to 1024`,
			`matrixon.yaml:1:111: media.thumbnails.memory: 1 is too small; at least 16MiB is needed`,
			`matrixon.yaml:1:136: media.previews.lifetime: 1s is too short; at least 1m is needed`,
		}},
		"s3": {file: "media: {store: s3, s3: {endpoint: s3.example.org, access_key: a}}", want: []string{
			`matrixon.yaml:1:35: media.s3.endpoint: "s3.example.org" is not a URL such as https://matrix.example.org`,
			`matrixon.yaml:1:24: media.s3.bucket: a bucket is needed when media.store is s3`,
			`matrixon.yaml:1:24: media.s3: access_key is given, so secret_key is needed too`,
		}},
		"accounts": {file: "registration: {tokens: [a b]}\npassword_hash: {memory_kib: 8, iterations: 0}\nsession: {access_token_lifetime: 1s}\nevents: {max_body: 1KiB}", want: []string{
			`matrixon.yaml:1:25: registration.tokens.0: a token is 1 to 64 letters, digits and . _ ~ -`,
			`matrixon.yaml:2:29: password_hash.memory_kib: 8 is not from 16 to 4194304`,
			`matrixon.yaml:2:44: password_hash.iterations: 0 is not from 1 to 100`,
			`matrixon.yaml:3:34: session.access_token_lifetime: 1s is too short; at least 1m is needed`,
			`matrixon.yaml:4:20: events.max_body: 1KiB is too small; at least 64KiB is needed`,
		}},
		"limits": {file: "limits: {join: {per_second: -1}, invite: {burst: 0}}", want: []string{
			`matrixon.yaml:1:50: limits.invite.burst: 0 lets nothing happen; at least 1 is needed`,
			`matrixon.yaml:1:29: limits.join.per_second: -1 is negative; 0 means no limit`,
		}},
		"turn": {file: "turn: {uris: ['turn:a.example', 'stun:b.example', 'turn://c.example'], lifetime: 1s}", want: []string{
			`matrixon.yaml:1:33: turn.uris.1: "stun:b.example" is no TURN server; write for example turn:turn.example.org:3478?transport=udp`,
			`matrixon.yaml:1:51: turn.uris.2: "turn://c.example" is no TURN server; write for example turn:turn.example.org:3478?transport=udp`,
			`matrixon.yaml:1:7: turn.shared_secret: it is needed with turn.uris`,
			`matrixon.yaml:1:82: turn.lifetime: 1s is too short; at least 1m is needed`,
		}},
		"policy key": {file: "well_known: {policy_key: abc}", want: []string{
			`matrixon.yaml:1:26: well_known.policy_key: "abc" is no ed25519 public key in base64`,
		}},
		"policy server": {file: "policy_server: {blocked_users: [''], blocked_text: ['(', 'x*', ok], max_mentions: -1, rate: {per_second: 1}, newcomers: {time: 400d}}", want: []string{
			`matrixon.yaml:1:33: policy_server.blocked_users.0: "" is not between 1 and 255 bytes`,
			"matrixon.yaml:1:53: policy_server.blocked_text.0: error parsing regexp: missing closing ): `(`",
			`matrixon.yaml:1:58: policy_server.blocked_text.1: the pattern matches every text`,
			`matrixon.yaml:1:83: policy_server.max_mentions: -1 is not from 0 to 1000`,
			`matrixon.yaml:1:93: policy_server.rate.burst: 0 lets nothing happen; at least 1 is needed`,
			`matrixon.yaml:1:128: policy_server.newcomers.time: 400d is not between 0 and 365d`,
		}},
		"contacts": {file: "well_known: {support: {contacts: [{role: m.role.admin}, {matrix_id: admin, email_address: a}]}}", want: []string{
			`matrixon.yaml:1:35: well_known.support.contacts.0: matrix_id or email_address is needed`,
			`matrixon.yaml:1:57: well_known.support.contacts.1.role: a role is needed, such as m.role.admin or m.role.security`,
			`matrixon.yaml:1:69: well_known.support.contacts.1.matrix_id: "admin" is not a user id such as @admin:example.org`,
			`matrixon.yaml:1:91: well_known.support.contacts.1.email_address: "a" is not a mail address`,
		}},
		"variable": {environ: []string{"MATRIXON_CLUSTER__NOD=x", "MATRIXON_PRESENCE__ENABLED=1", "MATRIXON_LISTENERS={"}, want: []string{
			`MATRIXON_CLUSTER__NOD: cluster.nod: unknown key; did you mean "node"?`,
			`MATRIXON_LISTENERS: listeners: could not find flow mapping end token '}'`,
			`MATRIXON_PRESENCE__ENABLED: presence.enabled: "1" is neither true nor false`,
		}},
		"flag": {set: []string{"listeners.2.address=x", "listeners.0=", "server_name", "server_name.x=1", "logging.level=loud"}, want: []string{
			`--set listeners.2.address: listeners.2.address: the list has 1 entries, counted from 0; "2" is none of them, nor the next`,
			`--set listeners.0: listeners.0: a value is missing`,
			`--set server_name: write --set key=value`,
			`--set server_name.x: server_name.x: a single value has no key "x"`,
			`--set logging.level: logging.level: "loud" is none of "debug", "info", "warn", "error"`,
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := load(t, test.file, test.environ, test.set)
			if diff := cmp.Diff(test.want, problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	got := mustLoad(t, "server_name: from.file\ndata_dir: from.file\nlogging: {level: debug}",
		[]string{
			"MATRIXON_SERVER_NAME=from.environ", "MATRIXON_CLUSTER__NODE=a", "MATRIXON_CLUSTER__SECRET=p=w, #1",
			"MATRIXON_LISTENERS__0__SERVES=client, media",
			"MATRIXON_LISTENERS__1={address: '127.0.0.1:1', serves: [admin]}",
			"MATRIXON_TRUSTED_PROXIES=[10.0.0.0/8, 'fd00::/8']",
			"MATRIXON_APPSERVICES=",
			"MATRIXON_CONFIG=elsewhere", "MATRIXON_PORT=tcp://10.0.0.1:80", "MATRIXON_SERVICE_PORT_HTTP=80", "OTHER=1",
		},
		[]string{"server_name=from.flag", "listeners.1.address=127.0.0.1:2", "limits.join.burst=7"})
	want := config.Default()
	want.ServerName, want.DataDir, want.Logging.Level = "from.flag", "from.file", "debug"
	want.Cluster.Node, want.Cluster.Secret = "a", "p=w, #1"
	want.Listeners[0].Serves = []string{"client", "media"}
	want.Listeners = append(want.Listeners, config.Listener{Address: "127.0.0.1:2", Serves: []string{"admin"}})
	want.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	want.Limits.Join.Burst = 7
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Error(diff)
	}
}

func TestShowMasksSecrets(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "", nil, []string{
		"storage=postgres://u:hunter2@db/x?sslpassword=hunter2", "registration.shared_secret=hunter2",
		"registration.tokens=hunter2", "cluster.secret=hunter2", "cluster.consul_token=hunter2",
		"media.s3.access_key=a", "media.s3.secret_key=hunter2",
	})
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(shown), fmt.Sprintf("%v %+v %#v", c, *c, *c)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown in %s", text)
		}
	}
	if n := strings.Count(string(shown), "********"); n != 5 {
		t.Errorf("%d masks in %s", n, shown)
	}
	if line := "\nstorage: postgres://u:xxxxx@db/x?sslpassword=xxxxx\n"; !strings.Contains(string(shown), line) {
		t.Errorf("no%sin %s", line, shown)
	}
	if c.Cluster.Secret.Reveal() != "hunter2" || !strings.Contains(c.Storage.Reveal(), "hunter2") {
		t.Error("secrets are lost")
	}
}

func TestShownFileLoads(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "", []string{"MATRIXON_MEDIA__MAX_UPLOAD=1500kB", "MATRIXON_SESSION__ACCESS_TOKEN_LIFETIME=90m"}, []string{
		"trusted_proxies=10.0.0.0/8", "cluster.node=0x1", "data_dir=a: #b", "session.refresh_token_lifetime=26h",
	})
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, mustLoad(t, string(shown), nil, nil), values); diff != "" {
		t.Error(diff)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	find := func(want, named string, environ ...string) {
		t.Helper()
		if got, err := config.Find(named, environ); got != want || err != nil {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
	find("", "")
	if err := os.WriteFile(config.DefaultFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	find("matrixon.yaml", "")
	find("environ.yaml", "", "MATRIXON_CONFIG=environ.yaml")
	find("named.yaml", "named.yaml", "MATRIXON_CONFIG=environ.yaml")
}

// FuzzFile checks that no file makes Load panic, and that a problem always names its place.
func FuzzFile(f *testing.F) {
	f.Add(config.Commented)
	f.Add("listeners: [{tls: {}}]\nlimits: {join: }\n--- !!str x")
	f.Add("cluster: &a {<<: *a}")
	f.Fuzz(func(t *testing.T, text string) {
		_, problems := load(t, text, nil, nil)
		for _, line := range problems {
			if line == "" || strings.HasPrefix(line, ":") {
				t.Errorf("problem %q", line)
			}
		}
	})
}
