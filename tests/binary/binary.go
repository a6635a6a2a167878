// Package binary starts the real server for tests: it builds the program once, runs it with a folder of its own on a free
// port, and kills it as roughly as a test wants.
package binary

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var build = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "matrixon-binary-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(folder, "matrixon")
	out, err := exec.Command("go", "build", "-o", program, "github.com/matrixon/matrixon/cmd/matrixon").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// Program builds the server and gives its path.
func Program(t testing.TB) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// Server is a server that runs, or has been killed and can be started again with what it had stored.
type Server struct {
	URL string

	t       testing.TB
	dir     string
	set     []string
	address string
	command *exec.Cmd
	mu      sync.Mutex
	log     []string
}

// Start runs a server with open registration and without rate limits; set gives further settings (key=value). It is
// stopped with the test.
func Start(t testing.TB, set ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), set: set, address: "127.0.0.1:0"}
	t.Cleanup(func() {
		if s.command != nil {
			s.Stop()
		}
	})
	s.Run()
	return s
}

// DataDir is where the server keeps its data.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// Run starts the server (again, at the same address) and waits until it listens.
func (s *Server) Run() {
	s.t.Helper()
	args := []string{"serve", "--set", "data_dir=" + s.DataDir(), "--set", "limits.enabled=false", "--set", "registration.open=true",
		"--set", "password_hash.memory_kib=64", "--set", "password_hash.iterations=1", "--set", "logging.format=json",
		"--set", "listeners=[{address: '" + s.address + "', serves: [client, metrics]}]"}
	for _, kv := range s.set {
		args = append(args, "--set", kv)
	}
	c := exec.Command(Program(s.t), args...) //nolint:gosec // the program that was just built
	c.Dir = s.dir
	stderr, err := c.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.command = c
	listening := make(chan string, 1)
	go func() {
		defer close(listening)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.note(lines.Text())
			var entry struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "listening" {
				listening <- entry.Address
			}
		}
	}()
	select {
	case url, ok := <-listening:
		if !ok {
			_ = c.Wait()
			s.t.Fatalf("the server did not start:\n%s", s.Log())
		}
		s.URL = url
		s.address = strings.TrimPrefix(url, "http://")
	case <-time.After(time.Minute):
		s.t.Fatalf("the server does not listen after a minute:\n%s", s.Log())
	}
}

func (s *Server) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, line)
}

// Log is what the server has logged.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.command.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.command.Wait() // it says that it was killed
	s.command = nil
}

// Stop asks the server to shut down and waits for it.
func (s *Server) Stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	process := s.command.Process
	context.AfterFunc(ctx, func() { _ = process.Kill() })
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	if err := s.command.Wait(); err != nil {
		s.t.Errorf("the server ended with %v:\n%s", err, s.Log())
	}
	s.command = nil
}

// PID is the server's process id.
func (s *Server) PID() int { return s.command.Process.Pid }
