// Package cluster tests a real cluster: three processes, a real Consul and a real Postgres, broken in every way that we can
// think of while people use it.
package cluster

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/line"
)

// fleet is a cluster of which every line between two parts can be cut.
type fleet struct {
	t        *testing.T
	dir      string
	program  string
	consul   *local.Consul
	postgres *local.Postgres
	members  []*member
	web      *web
	settings []string
	rng      *rand.Rand
	added    int // nodes so far
}

// member is a node with the lines that lead to it and from it.
type member struct {
	*local.Node
	toConsul, toPostgres, fromPeers *line.Line
}

// newFleet starts a cluster of this many nodes, with these settings besides those that make tests quick.
func newFleet(t *testing.T, nodes int, settings ...string) *fleet {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CLUSTER_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CLUSTER_TEST_SEED=%d", seed)
	f := &fleet{t: t, dir: t.TempDir(), program: binary.Program(t), web: newWeb(), settings: settings, rng: rand.New(rand.NewPCG(seed, 0))}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // the first time Consul is built
	defer cancel()
	var err error
	if f.consul, err = local.StartConsul(ctx, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.consul.Stop)
	if f.postgres, err = local.StartPostgres(ctx, filepath.Join(f.dir, "postgres"), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.postgres.Stop)
	for range nodes {
		f.add(ctx)
	}
	return f
}

// add starts one more node.
func (f *fleet) add(ctx context.Context) *member {
	f.t.Helper()
	name := "node-" + string(rune('a'+f.added%26)) + strings.Repeat("x", f.added/26)
	f.added++
	m := &member{toConsul: line.New(f.t, f.consul.Address), toPostgres: line.New(f.t, f.postgres.Address)}
	var err error
	m.Node, err = local.NewNode(local.NodeOptions{Name: name, Program: f.program, Dir: filepath.Join(f.dir, name), Secret: clusterSecret,
		Postgres: strings.Replace(f.postgres.URL(m.toPostgres.Address, "matrixon"), "@", ":"+databasePassword+"@", 1), Consul: m.toConsul.Address, Out: f.log(name),
		Through: func(listen string) (string, error) {
			m.fromPeers = line.New(f.t, listen)
			return m.fromPeers.Address, nil
		},
		Settings: append([]string{"limits.enabled=false", "registration.open=true", "password_hash.memory_kib=64", "password_hash.iterations=1", "logging.format=json"}, f.settings...)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.members = append(f.members, m)
	f.start(ctx, m)
	return m
}

// log is a file in the folder CLUSTER_TEST_LOGS, for whoever looks for a cause; without one nothing is kept.
func (f *fleet) log(name string) io.Writer {
	dir := os.Getenv("CLUSTER_TEST_LOGS")
	if dir == "" {
		return nil
	}
	file, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { file.Close() })
	return file
}

func (f *fleet) start(ctx context.Context, m *member) {
	f.t.Helper()
	if err := m.Start(ctx); err != nil {
		f.t.Fatal(err)
	}
	process := m.Process()
	f.t.Cleanup(func() {
		if process != m.Process() {
			return // it was started again
		}
		m.Stop()
		if f.t.Failed() {
			f.t.Logf("the log of %s:\n%s", m.Name, tail(m.Process().Log(), 4000))
		}
	})
	f.serveFrom()
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// serveFrom has clients speak to all running nodes but these.
func (f *fleet) serveFrom(but ...*member) {
	var urls []string
next:
	for _, m := range f.members {
		for _, b := range but {
			if m == b {
				continue next
			}
		}
		if m.Process() != nil && m.Process().Running() {
			urls = append(urls, m.URL)
		}
	}
	f.web.use(urls...)
}

// owner is the node on which some room of the people lives.
func (f *fleet) owner(ctx context.Context, l *workload) *member {
	f.t.Helper()
	for _, i := range f.rng.Perm(len(l.rooms)) {
		for _, m := range f.members {
			out, err := f.members[0].Run(ctx, "actors", "list", "--kind", "room", "--node", m.Name, "--match", l.rooms[i])
			if err != nil {
				f.t.Fatal(err)
			}
			if strings.Contains(out, l.rooms[i]) {
				f.t.Logf("it is %s, the owner of room %d", m.Name, i)
				return m
			}
		}
	}
	f.t.Fatal("no room lives anywhere")
	return nil
}

// ready waits until every node serves again.
func (f *fleet) ready(ctx context.Context) {
	f.t.Helper()
	for _, m := range f.members {
		for m.Ready(ctx) != nil {
			if ctx.Err() != nil {
				f.t.Fatalf("%s never becomes ready again", m.Name)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// pause lets the load go on for a random while.
func (f *fleet) pause() { time.Sleep(time.Duration(500+f.rng.IntN(1500)) * time.Millisecond) }

// served measures how long it takes until every room takes a message again, by way of the nodes that clients use.
func (f *fleet) served(l *workload, since time.Time) time.Duration {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i, roomID := range l.rooms {
		// Typing passes through the room's actor and the user's, and leaves nothing behind.
		u := l.users[i%people]
		if _, err := u.do(ctx, "PUT", fmt.Sprintf("/rooms/%s/typing/%s", roomID, u.id), map[string]any{"typing": true, "timeout": 1000}); err != nil {
			f.t.Errorf("room %d is not served: %v", i, err)
		}
	}
	return time.Since(since)
}
