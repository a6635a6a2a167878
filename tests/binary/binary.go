// Package binary starts the real server for tests: it builds the program once, runs it with a folder of its own on a free
// port, and kills it as roughly as a test wants.
package binary

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Shared is the variable of the environment that names a program which is built already. scripts/test.sh sets it, so that the packages
// of tests need not each build it.
const Shared = "TEST_MATRIXON_PROGRAM"

// folder is where the program is built for the tests of one package.
var folder string

var build = sync.OnceValues(func() (string, error) {
	if program := os.Getenv(Shared); program != "" {
		return program, nil
	}
	if folder == "" {
		return "", errors.New("this package of tests needs a TestMain that calls binary.Main, which removes what was built")
	}
	program := filepath.Join(folder, "matrixon")
	out, err := exec.Command("go", "build", "-o", program, "github.com/matrixon/matrixon/cmd/matrixon").CombinedOutput() //nolint:gosec // a folder of our own
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// Main is the TestMain of packages that use the program. It removes what was built for them.
func Main(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "matrixon-binary-"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(folder); err != nil {
		panic(err)
	}
	os.Exit(code)
}

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
	process *process
	mu      sync.Mutex
	log     []string
}

// process is one run of the program.
type process struct {
	command   *exec.Cmd
	listening chan string   // gets the URL
	silent    chan struct{} // closed when nothing more is logged
}

// Start runs a server with open registration and without rate limits; set gives further settings (key=value). It is
// stopped with the test.
func Start(t testing.TB, set ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), set: set, address: "127.0.0.1:0"}
	t.Cleanup(func() {
		if s.process != nil {
			s.Stop()
		}
	})
	s.Run()
	return s
}

// Copy is another server, not started, with a copy of the data of this one, which should not run.
func (s *Server) Copy() *Server {
	s.t.Helper()
	c := &Server{t: s.t, dir: s.t.TempDir(), set: s.set, address: "127.0.0.1:0"}
	s.t.Cleanup(func() {
		if c.process != nil {
			c.Stop()
		}
	})
	err := filepath.WalkDir(s.DataDir(), func(from string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.DataDir(), from)
		if err != nil {
			return err
		}
		to := filepath.Join(c.DataDir(), name)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case !d.Type().IsRegular(): // the socket of the administration
			return nil
		}
		content, err := os.ReadFile(from) //nolint:gosec // below the folder of the test
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// DataDir is where the server keeps its data.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// Run starts the server (again, at the same address) and waits until it listens. flags are further flags of serve.
func (s *Server) Run(flags ...string) {
	s.t.Helper()
	s.launch(flags)
	select {
	case url := <-s.process.listening:
		s.URL = url
		s.address = strings.TrimPrefix(url, "http://")
	case <-s.process.silent:
		_ = s.wait()
		s.t.Fatalf("the server did not start:\n%s", s.Log())
	case <-time.After(time.Minute):
		s.t.Fatalf("the server does not listen after a minute:\n%s", s.Log())
	}
}

// RunBriefly starts the server and kills it after a while, however far its start has come.
func (s *Server) RunBriefly(d time.Duration) {
	s.t.Helper()
	s.launch(nil)
	<-time.After(d)
	s.Kill()
}

// RunRefused starts a server that must refuse to start, and gives what it says.
func (s *Server) RunRefused() string {
	s.t.Helper()
	before := len(s.Log())
	s.launch(nil)
	select {
	case <-s.process.listening:
		s.t.Fatalf("the server started:\n%s", s.Log())
	case <-s.process.silent:
	case <-time.After(time.Minute):
		s.t.Fatalf("the server neither starts nor ends:\n%s", s.Log())
	}
	if err := s.wait(); err == nil {
		s.t.Fatalf("the server ended as if all were well:\n%s", s.Log())
	}
	return s.Log()[before:]
}

func (s *Server) launch(flags []string) {
	s.t.Helper()
	args := []string{"serve", "--set", "data_dir=" + s.DataDir(), "--set", "limits.enabled=false", "--set", "registration.open=true",
		"--set", "password_hash.memory_kib=64", "--set", "password_hash.iterations=1", "--set", "logging.format=json",
		"--set", "listeners=[{address: '" + s.address + "', serves: [client, media, metrics]}]"}
	for _, kv := range s.set {
		args = append(args, "--set", kv)
	}
	c := exec.Command(Program(s.t), append(args, flags...)...) //nolint:gosec // the program that was just built
	c.Dir = s.dir
	c.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "MATRIXON_") }) // settings of whoever runs the test
	stderr, err := c.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := &process{command: c, listening: make(chan string, 1), silent: make(chan struct{})}
	s.process = p
	go func() {
		defer close(p.silent)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.note(lines.Text())
			var entry struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "listening" {
				select {
				case p.listening <- entry.Address:
				default: // a further address
				}
			}
		}
	}()
}

// wait waits for the end of the process and of what it says.
func (s *Server) wait() error {
	<-s.process.silent
	err := s.process.command.Wait()
	s.process = nil
	return err
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
	if err := s.process.command.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.wait() // it says that it was killed
}

// Stop asks the server to shut down and waits for it.
func (s *Server) Stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	process := s.process.command.Process
	context.AfterFunc(ctx, func() { _ = process.Kill() })
	if err := process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	if err := s.wait(); err != nil {
		s.t.Errorf("the server ended with %v:\n%s", err, s.Log())
	}
}

// PID is the server's process id.
func (s *Server) PID() int { return s.process.command.Process.Pid }
