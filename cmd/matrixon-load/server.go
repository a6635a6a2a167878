package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a running server with its own data folder.
type server struct {
	url     string
	command *exec.Cmd
	folder  string
	http    *http.Client
}

// start runs the server and waits until it listens.
func start(ctx context.Context, o *options) (*server, error) {
	folder, err := os.MkdirTemp("", "matrixon-load-")
	if err != nil {
		return nil, err
	}
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, binary, "serve", //nolint:gosec // the program that the caller names
		"--set", "data_dir="+filepath.Join(folder, "data"), "--set", "limits.enabled=false", "--set", "registration.open=true",
		"--set", "logging.format=json", "--set", "password_hash.memory_kib=64", "--set", "password_hash.iterations=1",
		"--set", "listeners=[{address: '127.0.0.1:0', serves: [client, metrics]}]")
	c.Dir = folder
	stderr, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	s := &server{command: c, folder: folder, http: &http.Client{Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 20_000, DisableCompression: true}}}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), `"address":"`); ok {
			s.url, _, _ = strings.Cut(rest, `"`)
			go io.Copy(io.Discard, stderr) //nolint:errcheck // until the server ends
			return s, nil
		}
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	s.stop()
	return nil, errors.New("the server did not start")
}

func (s *server) stop() {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	_ = s.command.Wait()
	_ = os.RemoveAll(s.folder)
}

// usage is what the server has used since it started.
type usage struct {
	cpu     time.Duration
	mallocs float64
	bytes   float64
}

// usage reads the server's own metrics.
func (s *server) usage() (usage, error) {
	resp, err := s.http.Get(s.url + "/metrics")
	if err != nil {
		return usage{}, err
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			values[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return usage{
		cpu:     time.Duration(values["process_cpu_seconds_total"] * float64(time.Second)),
		mallocs: values["go_memstats_mallocs_total"],
		bytes:   values["go_memstats_alloc_bytes_total"],
	}, lines.Err()
}

// rss is the server's resident memory, in bytes.
func (s *server) rss() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	var kb int64
	_, err = fmt.Sscanf(rest, "%d", &kb)
	return kb << 10, err
}
