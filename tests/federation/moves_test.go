package federation

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestMovedDestinationsLoseNothing: in a cluster the queue of another server goes on wherever its actor is moved to while it sends, and
// when the node that has it dies.
func TestMovedDestinationsLoseNothing(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	v, _ := roomversion.Get(roomversion.Default)
	record := newRecorder(t, authority.Stranger(t), v)
	nodes, name := startCluster(t, authority, 2)
	nobody := &matrixclient.Client{URL: nodes[0].URL, HTTP: &http.Client{Timeout: time.Minute}}
	client, err := nobody.Register(t.Context(), "alice", "a password of alice")
	if err != nil {
		t.Fatal(err)
	}
	alice := &person{Client: client, t: t}
	roomID := alice.create(J{"preset": "public_chat"})
	record.Handshake(&peers.Server{Name: name}, roomID, "@clerk:"+record.Name, v)

	acknowledged := map[string]bool{}
	say := func(n int) {
		t.Helper()
		for range n {
			acknowledged[alice.say(roomID, fmt.Sprint(len(acknowledged)))] = true
		}
	}
	say(10)
	record.wait(acknowledged)
	for move := range 6 {
		say(20)
		if out, err := nodes[0].Run(t.Context(), "actors", "move", "destination/"+record.Name, "--to", nodes[move%2].Name); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		say(20)
	}
	record.wait(acknowledged)

	// It is moved to the other node than clients speak to, which is killed.
	if out, err := nodes[0].Run(t.Context(), "actors", "move", "destination/"+record.Name, "--to", nodes[1].Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	say(60)
	nodes[1].Kill()
	alice.eventually("the room is served", func() bool {
		id, err := alice.Send(t.Context(), roomID, "m.room.message", "after", J{"msgtype": "m.text", "body": "after"})
		if err == nil {
			acknowledged[id] = true
		}
		return err == nil
	})
	say(20)
	record.wait(acknowledged)
	record.checkOrder()
}

// startCluster runs nodes of one homeserver, the first of which takes what other servers send, and gives its name; set gives further settings.
func startCluster(t *testing.T, authority *peers.Authority, n int, set ...string) (nodes []*local.Node, name string) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first time Consul is built
	defer cancel()
	consul, err := local.StartConsul(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consul.Stop)
	postgres, err := local.StartPostgres(ctx, filepath.Join(dir, "postgres"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(postgres.Stop)
	certificate, key := authority.Files("127.0.0.1")
	port := func() int {
		p, err := local.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	name = fmt.Sprint("127.0.0.1:", port())
	for i := range n {
		clients := port()
		listeners := []string{fmt.Sprintf("{address: '127.0.0.1:%d', serves: [client, media, admin, metrics]}", clients)}
		if i == 0 {
			listeners = append(listeners, fmt.Sprintf("{address: '%s', serves: [federation], tls: {certificate: '%s', key: '%s'}}", name, certificate, key))
		}
		node := fmt.Sprint("node-", i+1)
		m, err := local.NewNode(local.NodeOptions{Name: node, Program: binary.Program(t), Dir: filepath.Join(dir, node), Secret: "a secret of the nodes",
			Postgres: postgres.URL(postgres.Address, "matrixon"), Consul: consul.Address, Port: clients,
			Settings: append([]string{"server_name=" + name, "federation.ca_file=" + authority.File, "federation.allow_networks=[127.0.0.0/8]",
				"federation.retry_longest=1s", "limits.enabled=false", "registration.open=true", "password_hash.memory_kib=64",
				"password_hash.iterations=1", "logging.format=json", "listeners=[" + strings.Join(listeners, ", ") + "]"}, set...)})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if m.Process() != nil && m.Process().Running() {
				m.Stop()
			}
		})
		nodes = append(nodes, m)
	}
	return nodes, name
}
