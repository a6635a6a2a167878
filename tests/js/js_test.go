// Package js has the library that Element is made with use a real server: run.mjs and what it imports.
package js

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/binary"
)

// line is what the program says: a step begins or ends, it wants something done with the server, or it is finished.
type line struct {
	Begin, End, Error, Ask string
	Finished               bool
}

// install fetches the packages of package-lock.json unless they are there.
func install(t *testing.T) {
	t.Helper()
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
	program := exec.Command("node", "run.mjs", server.URL)
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errors strings.Builder
	program.Stderr = &errors
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
		t.Errorf("the program did not come to its end: %v\n%s", err, tail(errors.String()))
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
	server *binary.Server
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
			if s.line.Ask == "kill" {
				s.server.Kill()
			} else {
				s.server.Stop()
			}
			s.server.Run()
			if _, err := io.WriteString(s.in, "done\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Error("the program ended within this step")
}
