// Package js has libraries that clients and bridges are made with use a real server: run.mjs and appservice.mjs, and what they import.
package js

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
)

// line is what the program says: a step begins or ends, it wants something done with the server, or it is finished.
type line struct {
	Begin, End, Error, Ask string
	Finished               bool
}

// installing is for one test at a time.
var installing sync.Mutex

// install fetches the packages of package-lock.json unless they are there.
func install(t *testing.T) {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	lock, err := os.Stat("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	installed, err := os.Stat(filepath.Join("node_modules", ".package-lock.json"))
	if err == nil && !installed.ModTime().Before(lock.ModTime()) {
		return
	}
	if out, err := exec.Command("npm", "ci", "--no-audit", "--no-fund").CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v: %s", err, out)
	}
}

func TestMatrixJSSDK(t *testing.T) {
	t.Parallel()
	install(t)
	server := binary.Start(t)
	run(t, single{server}, "run.mjs", server.URL)
}

// The way of Element Web into an account: OAuth 2.0, with the pages of the server.
func TestMatrixJSSDKWithOAuth(t *testing.T) {
	t.Parallel()
	install(t)
	server := binary.Start(t, "registration.open=true")
	run(t, single{server}, "oauth.mjs", server.URL)
}

// matrix-bot-sdk is what many bots and bridges are made with.
func TestMatrixBotSDK(t *testing.T) {
	t.Parallel()
	server, port := withBridge(t)
	run(t, single{server}, "appservice.mjs", server.URL, port)
}

// The same library, whose bot chats encrypted.
func TestMatrixBotSDKEncrypted(t *testing.T) {
	t.Parallel()
	server, port := withBridge(t)
	run(t, single{server}, "encryptedbridge.mjs", server.URL, port, t.TempDir())
}

// withBridge starts a server with an application service, and gives the port at which that is to listen.
func withBridge(t *testing.T) (server *binary.Server, port string) {
	t.Helper()
	install(t)
	free, err := local.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port = strconv.Itoa(free)
	registration := filepath.Join(t.TempDir(), "bots.yaml")
	text := "{id: bots, url: 'http://127.0.0.1:" + port + "', as_token: as_bots_secret, hs_token: hs_bots_secret, sender_localpart: _bots_bot, rate_limited: false, " +
		"receive_ephemeral: true, org.matrix.msc3202: true, protocols: [bots], namespaces: {users: [{exclusive: true, regex: '@_bots_.*'}], aliases: [{exclusive: true, regex: '#_bots_.*'}]}}"
	if err := os.WriteFile(registration, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return binary.Start(t, "appservices="+registration), port
}

// homeserver is what a program uses.
type homeserver interface {
	// do does what the program asks for: kill or stop, and in a cluster move.
	do(ask string) error
	Log() string
}

// single is a homeserver of one node.
type single struct{ *binary.Server }

func (s single) do(ask string) error {
	switch ask {
	case "kill":
		s.Kill()
	case "stop":
		s.Stop()
	default:
		return fmt.Errorf("a single node cannot %s", ask)
	}
	s.Run()
	return nil
}

// run has a program of this folder use the server.
func run(t *testing.T, server homeserver, args ...string) {
	t.Helper()
	program := exec.Command("node", args...) //nolint:gosec // of this folder
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	program.Stderr = &complaints
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(5*time.Minute, func() { _ = program.Process.Kill() })
	defer late.Stop()
	s := &session{server: server, in: in, lines: bufio.NewScanner(out)}
	s.lines.Buffer(nil, 1<<20)
	for s.next() {
		if s.line.Begin != "" {
			name := s.line.Begin
			t.Run(name, func(t *testing.T) { s.step(t, name) })
		}
	}
	err = program.Wait()
	if !s.line.Finished || err != nil {
		t.Errorf("the program did not come to its end: %v\n%s", err, tail(complaints.String()))
	}
	if t.Failed() {
		t.Logf("the server said:\n%s", tail(server.Log()))
	}
	for _, entry := range strings.Split(server.Log(), "\n") {
		if strings.Contains(entry, `"level":"ERROR"`) {
			t.Errorf("the server logged an error: %s", entry)
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-8000):] }

type session struct {
	server homeserver
	in     io.Writer
	lines  *bufio.Scanner
	line   line
}

// next reads what the program says next. What is not for us, a library has printed.
func (s *session) next() bool {
	for s.lines.Scan() {
		s.line = line{}
		if json.Unmarshal(s.lines.Bytes(), &s.line) == nil {
			return true
		}
	}
	return false
}

// step does what the program asks until its step ends.
func (s *session) step(t *testing.T, name string) {
	for s.next() {
		switch {
		case s.line.End == name:
			if s.line.Error != "" {
				t.Error(s.line.Error)
			}
			return
		case s.line.Ask != "":
			if err := s.server.do(s.line.Ask); err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(s.in, "done\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Error("the program ended within this step")
}
