package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Node is a matrixon process, and where it is reached.
type Node struct {
	Name    string
	URL     string // for clients
	Cluster string // host:port for the other nodes
	Dir     string // its data_dir

	program  string
	settings []string
	process  *Process
	out      io.Writer
}

// NodeOptions say how a node runs.
type NodeOptions struct {
	Name     string
	Program  string // the matrixon binary
	Dir      string
	Postgres string // URL of the database
	Consul   string // host:port
	Secret   string
	Port     int      // for clients; 0: any
	Settings []string // further key=value
	// Through, if not nil, gives the address at which the other nodes reach the one at which this node listens.
	Through func(listen string) (address string, err error)
	Out     io.Writer
}

// NewNode prepares a node; Start runs it.
func NewNode(o NodeOptions) (*Node, error) {
	var err error
	port := o.Port
	if port == 0 {
		if port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	peers, err := FreePort()
	if err != nil {
		return nil, err
	}
	listen := "127.0.0.1:" + strconv.Itoa(peers)
	address := listen
	if o.Through != nil {
		if address, err = o.Through(listen); err != nil {
			return nil, err
		}
	}
	client := "127.0.0.1:" + strconv.Itoa(port)
	n := &Node{Name: o.Name, URL: "http://" + client, Cluster: address, Dir: o.Dir, program: o.Program, out: o.Out}
	n.settings = append([]string{
		"data_dir=" + o.Dir, "storage=" + o.Postgres, "cluster.consul=" + o.Consul, "cluster.node=" + o.Name, "cluster.address=" + address,
		"cluster.listen=" + listen, "cluster.secret=" + o.Secret,
		"listeners=[{address: '" + client + "', serves: [client, media, admin, metrics]}]",
	}, o.Settings...)
	return n, nil
}

// Start runs the node (again, at the same addresses) and waits until it serves.
func (n *Node) Start(ctx context.Context) error {
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	args := []string{"serve"}
	for _, kv := range n.settings {
		args = append(args, "--set", kv)
	}
	command := exec.Command(n.program, args...)
	command.Dir = filepath.Dir(n.Dir)
	var err error
	if n.process, err = start(n.Name, command, n.out); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return n.process.poll(ctx, n.Ready)
}

// Ready asks the node whether it serves.
func (n *Node) Ready(ctx context.Context) error {
	if _, err := get(ctx, n.URL+"/_matrixon/ready"); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

// Kill ends the node as a power failure does.
func (n *Node) Kill() { n.process.Kill() }

// Stop ends the node as an operator does: it gives away what it has first.
func (n *Node) Stop() { n.process.Stop(syscall.SIGTERM, time.Minute) }

// Pause stops the node's clock.
func (n *Node) Pause() error { return n.process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (n *Node) Resume() error { return n.process.Signal(syscall.SIGCONT) }

// Process is what runs.
func (n *Node) Process() *Process { return n.process }

// Run carries out a command of matrixon for this node, such as: actors list.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, n.program, append(args, "--set", "data_dir="+n.Dir)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("matrixon %v: %w: %s", args, err, out)
	}
	return string(out), err
}
