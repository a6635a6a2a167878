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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
)

// server is a running server, or a cluster, with data of its own.
type server struct {
	urls    []string  // of its nodes
	name    string    // its server name, when others can reach it
	command *exec.Cmd // of a single node
	data    []string  // data_dir of each node
	folder  string    // of everything
	ends    []func()  // how it is stopped, the last first
	http    *http.Client
}

// settings are those of every node that is measured.
var settings = []string{"limits.enabled=false", "registration.open=true", "logging.format=json", "password_hash.memory_kib=64", "password_hash.iterations=1",
	"media.max_upload=8GiB"}

func newServer(folder string) *server {
	return &server{folder: folder, http: &http.Client{Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 20_000, DisableCompression: true}}}
}

// start runs the server and waits until it listens. reachable: other servers can reach it.
func start(ctx context.Context, o *options, reachable bool) (*server, error) {
	folder, err := os.MkdirTemp("", "matrixon-load-")
	if err != nil {
		return nil, err
	}
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, err
	}
	s := newServer(folder)
	if o.Nodes > 0 {
		return s, s.startCluster(ctx, binary, o.Nodes)
	}
	s.data = []string{filepath.Join(folder, "data")}
	args := []string{"serve", "--set", "data_dir=" + s.data[0], "--set", "listeners=[{address: '127.0.0.1:0', serves: [client, media, metrics]}]"}
	more := settings
	if reachable {
		name, set, err := federated(folder)
		if err != nil {
			return nil, err
		}
		s.name, more = name, slices.Concat(settings, set)
	}
	for _, kv := range more {
		args = append(args, "--set", kv)
	}
	c := exec.CommandContext(ctx, binary, args...) //nolint:gosec // the program that the caller names
	c.Dir = folder
	stderr, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	s.command = c
	s.ends = append(s.ends, func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	lines := bufio.NewScanner(stderr)
	listening := 0
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), `"address":"`); ok {
			if url, _, _ := strings.Cut(rest, `"`); strings.HasPrefix(url, "http:") {
				s.urls = []string{url}
			}
			if listening++; reachable && listening < 2 {
				continue
			}
			go io.Copy(io.Discard, stderr) //nolint:errcheck // until the server ends
			return s, nil
		}
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	s.stop()
	return nil, errors.New("the server did not start")
}

func (s *server) stop() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
	_ = os.RemoveAll(s.folder)
}

// startCluster starts Consul, Postgres and nodes.
func (s *server) startCluster(ctx context.Context, binary string, nodes int) error {
	consul, err := local.StartConsul(ctx, nil)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, consul.Stop)
	db, err := local.StartPostgres(ctx, filepath.Join(s.folder, "postgres"), nil)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, db.Stop)
	for i := range nodes {
		name := "node-" + strconv.Itoa(i+1)
		n, err := local.NewNode(local.NodeOptions{Name: name, Program: binary, Dir: filepath.Join(s.folder, name), Secret: "measured",
			Postgres: db.URL(db.Address, "matrixon"), Consul: consul.Address, Settings: settings})
		if err != nil {
			return err
		}
		if err := n.Start(ctx); err != nil {
			return err
		}
		s.ends = append(s.ends, n.Stop)
		s.urls = append(s.urls, n.URL)
		s.data = append(s.data, n.Dir)
	}
	return nil
}

// usage is what the server has used since it started.
type usage struct {
	cpu     time.Duration
	mallocs float64
	bytes   float64
}

// since is what was used after an earlier reading.
func (u usage) since(before usage) usage {
	return usage{u.cpu - before.cpu, u.mallocs - before.mallocs, u.bytes - before.bytes}
}

// usage reads the nodes' own metrics, and adds them.
func (s *server) usage() (usage, error) {
	var all usage
	for _, url := range s.urls {
		u, err := s.usageOf(url)
		if err != nil {
			return usage{}, err
		}
		all.cpu += u.cpu
		all.mallocs += u.mallocs
		all.bytes += u.bytes
	}
	return all, nil
}

func (s *server) usageOf(url string) (usage, error) {
	values, err := s.metrics(url)
	return usage{
		cpu:     time.Duration(values["process_cpu_seconds_total"] * float64(time.Second)),
		mallocs: values["go_memstats_mallocs_total"],
		bytes:   values["go_memstats_alloc_bytes_total"],
	}, err
}

// metrics reads what a node tells Prometheus, by name and labels.
func (s *server) metrics(url string) (map[string]float64, error) {
	resp, err := s.http.Get(url + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			values[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return values, lines.Err()
}

// peak is the most resident memory that the server has had, in bytes, since it was forgotten.
func (s *server) peak() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	var n int64
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	_, err = fmt.Sscanf(rest, "%d", &n)
	return n << 10, err
}

// forgetPeak has the peak be what the server uses now.
func (s *server) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.command.Process.Pid), []byte("5"), 0)
}

// rss is the server's resident memory, in bytes; own is what of it is no part of the program's file, which the system shares and
// can drop.
func (s *server) rss() (all, own int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for name, to := range map[string]*int64{"VmRSS:": &all, "RssAnon:": &own} {
		_, rest, _ := strings.Cut(string(raw), name)
		if _, err := fmt.Sscanf(rest, "%d", to); err != nil {
			return 0, 0, err
		}
		*to <<= 10
	}
	return all, own, nil
}
