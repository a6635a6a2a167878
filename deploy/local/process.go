// Package local runs a whole cluster on one machine, on loopback addresses only: Consul, Postgres, nodes and a load balancer.
// It is what `make cluster` shows and what the tests of the cluster break.
package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that was started here. It ends with this process, however that ends.
type Process struct {
	Name string

	command *exec.Cmd
	done    chan struct{}
	mu      sync.Mutex
	log     []string
}

// logKept is how many of the last lines of its output a process remembers.
const logKept = 5000

// start runs the command and reads what it prints; out gets every line, with the name before it, unless it is nil.
func start(name string, command *exec.Cmd, out io.Writer) (*Process, error) {
	p := &Process{Name: name, command: command, done: make(chan struct{})}
	read, write := io.Pipe()
	command.Stdout, command.Stderr = write, write
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true
	endWithParent(command.SysProcAttr)
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(read)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.keep(lines.Text())
			if out != nil {
				fmt.Fprintf(out, "%-8s %s\n", name, lines.Text())
			}
		}
		_, _ = io.Copy(io.Discard, read) // a line longer than any that matters
	})
	go func() {
		_ = command.Wait() // how it ended is told by its log
		write.Close()      //nolint:errcheck // a pipe's never fails
		reading.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *Process) keep(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.log) >= logKept {
		p.log = append(p.log[:0], p.log[logKept/2:]...)
	}
	p.log = append(p.log, line)
}

// PID is its process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Log is what it printed, the last lines of it.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// Signal sends a signal to it and its children.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(-p.command.Process.Pid, s) }

// Kill ends it at once, as a power failure does, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // it may have ended
	<-p.done
}

// Stop asks it to end, and kills it when it has not in time.
func (p *Process) Stop(s syscall.Signal, within time.Duration) {
	_ = p.Signal(s) // it may have ended
	select {
	case <-p.done:
	case <-time.After(within):
		p.Kill()
	}
}

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// FreePort is a port of 127.0.0.1 that nobody uses now. It is not one of those that systems give to outgoing connections
// (32768 and more, as a rule), since such a connection could take it before whoever is to listen there does, or between two runs.
func FreePort() (int, error) {
	const first, last, tries = 10_000, 32_000, 100
	var err error
	for range tries {
		port := first + rand.IntN(last-first) //nolint:gosec // nobody need not guess it
		var ln net.Listener
		if ln, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, ln.Close()
		}
	}
	return 0, err
}

// poll tries f until it succeeds, the process ends, or the context does.
func (p *Process) poll(ctx context.Context, f func(context.Context) error) error {
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended:\n%s", p.Name, p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready in time: %w\n%s", p.Name, err, p.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
