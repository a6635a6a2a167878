package local

import (
	"context"
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

// Consul is a development agent: it forgets everything when it ends.
type Consul struct {
	Address string // of its HTTP interface

	program string
	ports   [4]int // http, server, serf LAN, serf WAN
	process *Process
	out     io.Writer
}

// script runs a script of this repository, in which the working directory must be, and which prints a path.
func script(ctx context.Context, name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "scripts", name)
	for {
		if _, err := os.Stat(file); err == nil {
			break
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", fmt.Errorf("there is no scripts/%s: run this within Matrixon's repository", name)
		}
		dir, file = above, filepath.Join(above, "scripts", name)
	}
	command := exec.CommandContext(ctx, file)
	var notes strings.Builder
	command.Stderr = &notes
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("scripts/%s: %w: %s", name, err, notes.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// StartConsul starts an agent. The first time on a machine without one it takes minutes to build it.
func StartConsul(ctx context.Context, out io.Writer) (*Consul, error) {
	program, err := script(ctx, "consul.sh")
	if err != nil {
		return nil, err
	}
	c := &Consul{program: program, out: out}
	for i := range c.ports {
		if c.ports[i], err = FreePort(); err != nil {
			return nil, err
		}
	}
	c.Address = "127.0.0.1:" + strconv.Itoa(c.ports[0])
	return c, c.Start(ctx)
}

// Start starts the agent again, at the same address and with nothing in it.
func (c *Consul) Start(ctx context.Context) error {
	var err error
	c.process, err = start("consul", exec.Command(c.program, "agent", "-dev", "-log-level", "warn", "-bind", "127.0.0.1", "-client", "127.0.0.1",
		"-http-port", strconv.Itoa(c.ports[0]), "-server-port", strconv.Itoa(c.ports[1]), "-serf-lan-port", strconv.Itoa(c.ports[2]),
		"-serf-wan-port", strconv.Itoa(c.ports[3]), "-dns-port", "-1", "-grpc-port", "-1", "-hcl", "disable_update_check = true"), c.out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.process.poll(ctx, func(ctx context.Context) error {
		body, err := get(ctx, "http://"+c.Address+"/v1/status/leader")
		if err == nil && len(body) < 4 {
			err = fmt.Errorf("it has no leader")
		}
		return err
	})
}

// Stop kills the agent.
func (c *Consul) Stop() { c.process.Kill() }

// Pause and Resume stop the agent's clock.
func (c *Consul) Pause() error { return c.process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (c *Consul) Resume() error { return c.process.Signal(syscall.SIGCONT) }

// get asks a local server.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}
