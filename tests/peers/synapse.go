package peers

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// Synapse is a real Synapse, the reference homeserver, in its chroot. scripts/synapse.sh installs it; `make interop` runs the tests with it.
type Synapse struct {
	Name string // of the server
	URL  string // for clients

	t       testing.TB
	root    string // of the chroot
	home    string // below it
	command *exec.Cmd
}

// Synapse installs Synapse if need be, and runs one that trusts the authority. It keeps its data in SQLite.
func (a *Authority) Synapse(t testing.TB) *Synapse {
	t.Helper()
	out, err := exec.Command("../../scripts/synapse.sh").Output()
	if err != nil {
		t.Fatalf("Synapse could not be installed: %v", err)
	}
	s := &Synapse{t: t, root: strings.TrimSpace(string(out))}
	s.home, err = os.MkdirTemp(filepath.Join(s.root, "srv"), "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.home) }) // below the cache of the chroot: what stays takes little
	client, federation := freePort(t), freePort(t)
	s.Name, s.URL = fmt.Sprintf("localhost:%d", federation), fmt.Sprintf("http://127.0.0.1:%d", client)
	inside := strings.TrimPrefix(s.home, s.root)
	certificate, key := a.Files("localhost")
	s.copy(certificate, "server.crt")
	s.copy(key, "server.key")
	s.copy(a.File, "ca.pem")
	s.write("log.yaml", "version: 1\ndisable_existing_loggers: false\nroot: {level: INFO, handlers: [file]}\n"+
		"formatters: {line: {format: '%(asctime)s %(name)s %(levelname)s %(request)s %(message)s'}}\n"+
		"handlers: {file: {class: logging.FileHandler, formatter: line, filename: "+inside+"/homeserver.log}}\n")
	s.write("homeserver.yaml", strings.NewReplacer("NAME", s.Name, "CLIENT", fmt.Sprint(client), "FEDERATION", fmt.Sprint(federation), "HOME", inside).Replace(`
server_name: "NAME"
listeners:
  - {type: http, port: CLIENT, bind_addresses: ["127.0.0.1"], tls: false, resources: [{names: [client]}]}
  - {type: http, port: FEDERATION, bind_addresses: ["127.0.0.1"], tls: true, resources: [{names: [federation]}]}
database: {name: sqlite3, args: {database: HOME/homeserver.db}}
signing_key_path: HOME/signing.key
media_store_path: HOME/media
log_config: HOME/log.yaml
tls_certificate_path: HOME/server.crt
tls_private_key_path: HOME/server.key
federation_custom_ca_list: [HOME/ca.pem]
ip_range_blacklist: []
trusted_key_servers: []
federation: {client_timeout: 20s, destination_min_retry_interval: 1s, destination_max_retry_interval: 5s}
report_stats: false
enable_registration: true
enable_registration_without_verification: true
macaroon_secret_key: macaroon
form_secret: form
bcrypt_rounds: 4
allow_public_rooms_over_federation: true
room_list_publication_rules: [{action: allow}]
presence: {enabled: true}
rc_login: {address: &free {per_second: 100000, burst_count: 100000}, account: *free, failed_attempts: *free}
rc_registration: *free
rc_message: *free
rc_room_creation: *free
rc_joins: {local: *free, remote: *free}
rc_joins_per_room: *free
rc_invites: {per_room: *free, per_user: *free, per_issuer: *free}
rc_federation: {window_size: 1, sleep_limit: 100000, sleep_delay: 0, reject_limit: 100000, concurrent: 100}
`))
	if out, err := exec.Command("chroot", s.root, "chown", "-R", "matrix-synapse", inside).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := s.python("--generate-keys").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.Run()
	t.Cleanup(s.Stop)
	return s
}

func (s *Synapse) python(arguments ...string) *exec.Cmd {
	inside := strings.TrimPrefix(s.home, s.root)
	return exec.Command("chroot", append([]string{"--userspec=matrix-synapse", s.root, "python3", "-m", "synapse.app.homeserver", "-c", inside + "/homeserver.yaml"}, arguments...)...)
}

// Run starts it, and waits until it serves.
func (s *Synapse) Run() {
	s.t.Helper()
	s.command = s.python()
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/_matrix/client/versions", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("Synapse does not start: %.3000s", s.Log())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends it, in order; Run starts it again.
func (s *Synapse) Stop() {
	if s.command == nil {
		return
	}
	_ = s.command.Process.Signal(syscall.SIGTERM)
	_ = s.command.Wait()
	s.command = nil
	if s.t.Failed() {
		s.t.Log("synapse: " + s.Log())
	}
}

// Log is what it has warned of.
func (s *Synapse) Log() string {
	log, err := os.ReadFile(filepath.Join(s.home, "homeserver.log"))
	if err != nil {
		return err.Error()
	}
	var warnings strings.Builder
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, " WARNING ") || strings.Contains(line, " ERROR ") {
			fmt.Fprintf(&warnings, "%.600s\n", strings.TrimSpace(line))
		}
	}
	return warnings.String()
}

func (s *Synapse) copy(from, name string) {
	s.t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(name, string(raw))
}

func (s *Synapse) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.home, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// User registers a user.
func (s *Synapse) User(name string) *matrixclient.Client {
	s.t.Helper()
	nobody := &matrixclient.Client{URL: s.URL, HTTP: &http.Client{Timeout: time.Minute}}
	c, err := nobody.Register(s.t.Context(), name, "a password of "+name)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}
