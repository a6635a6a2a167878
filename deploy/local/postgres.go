package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Postgres is a private server with a folder of its own.
type Postgres struct {
	Address string // host:port on loopback

	programs string
	dir      string
	as       *syscall.Credential // whom it runs as; nil: as we do
	process  *Process
	out      io.Writer
}

// URL is how to reach a database by way of an address, which is the server's or that of something before it.
func (p *Postgres) URL(address, database string) string {
	return "postgres://matrixon@" + address + "/" + database + "?sslmode=disable"
}

// StartPostgres makes and starts a server whose data lies below dir, with a database matrixon. What lies there already is used.
func StartPostgres(ctx context.Context, dir string, out io.Writer) (*Postgres, error) {
	programs, err := script(ctx, "postgres.sh")
	if err != nil {
		return nil, err
	}
	p := &Postgres{programs: programs, dir: dir, out: out}
	if os.Getuid() == 0 { // Postgres refuses to run as root
		if p.as, err = unprivileged(); err != nil {
			return nil, err
		}
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err != nil {
		if err := p.initialise(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	create := p.command(ctx, "createdb", "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "matrixon", "-l", "C", "-T", "template0", "-E", "UTF8", "matrixon")
	if text, err := create.CombinedOutput(); err != nil && !exists(text) {
		return nil, fmt.Errorf("createdb: %w: %s", err, text)
	}
	return p, nil
}

func exists(text []byte) bool { return bytes.Contains(text, []byte("already exists")) }

func (p *Postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(p.programs, program), args...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	return c
}

// makeFolder makes the folder of the data, for whom the server runs as.
func (p *Postgres) makeFolder() error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if p.as != nil {
		if err := os.Chown(p.dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return err
		}
		// The folders above must let the other user through.
		for dir := filepath.Dir(p.dir); dir != "/"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
				if err := os.Chmod(dir, info.Mode().Perm()|0o011); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *Postgres) initialise(ctx context.Context) error {
	if err := p.makeFolder(); err != nil {
		return err
	}
	out, err := p.command(ctx, "initdb", "-D", p.dir, "-U", "matrixon", "-A", "trust", "--locale", "C", "-E", "UTF8", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// unprivileged is a user that Postgres can run as.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("postgres does not run as root, and there is neither a user postgres nor nobody")
}

// Start starts the server (again), at the same address.
func (p *Postgres) Start(ctx context.Context) error {
	_, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		return err
	}
	command := exec.Command(filepath.Join(p.programs, "postgres"), "-D", p.dir, "-h", "127.0.0.1", "-p", port, "-k", "",
		"-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "max_wal_size=2GB")
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	if p.process, err = start("postgres", command, p.out); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	return p.process.poll(ctx, func(ctx context.Context) error {
		out, err := p.command(ctx, "pg_isready", "-h", "127.0.0.1", "-p", port, "-U", "matrixon").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// Stop ends the server in order.
func (p *Postgres) Stop() { p.process.Stop(syscall.SIGINT, 10*time.Second) }

// Kill ends the server at once, with everything it was doing: what it has acknowledged is in its log.
func (p *Postgres) Kill() { p.process.Stop(syscall.SIGQUIT, 10*time.Second) }

// StartStandby makes a streaming copy of the server in another folder and starts it.
func (p *Postgres) StartStandby(ctx context.Context, dir string) (*Postgres, error) {
	s := &Postgres{programs: p.programs, dir: dir, as: p.as, out: p.out}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := s.makeFolder(); err != nil {
		return nil, err
	}
	_, primary, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, err
	}
	out, err := s.command(ctx, "pg_basebackup", "-h", "127.0.0.1", "-p", primary, "-U", "matrixon", "-D", dir, "-R", "-X", "stream", "--no-sync", "-c", "fast").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return s, s.Start(ctx)
}
