package binary

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/matrixon/matrixon/deploy/local"
)

// Cluster runs three nodes with a Consul and a Postgres of their own, and a load balancer before them, with open registration and without
// rate limits; set gives further settings (key=value). All ends with the test.
func Cluster(ctx context.Context, t testing.TB, set ...string) ([]*local.Node, *local.Balancer) {
	t.Helper()
	dir := t.TempDir()
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
	var nodes []*local.Node
	for _, name := range []string{"node-a", "node-b", "node-c"} {
		n, err := local.NewNode(local.NodeOptions{Name: name, Program: Program(t), Dir: filepath.Join(dir, name), Secret: "the secret of the test",
			Postgres: postgres.URL(postgres.Address, "matrixon"), Consul: consul.Address, Settings: append([]string{"limits.enabled=false",
				"registration.open=true", "password_hash.memory_kib=64", "password_hash.iterations=1", "logging.format=json"}, set...)})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatalf("%v: %s", err, n.Process().Log())
		}
		t.Cleanup(func() {
			n.Stop()
			if log := n.Process().Log(); t.Failed() {
				t.Logf("the log of %s:\n%s", n.Name, log[max(0, len(log)-4000):])
			}
		})
		nodes = append(nodes, n)
	}
	balancer, err := local.StartBalancer("127.0.0.1:0", nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := balancer.Close(); err != nil {
			t.Error(err)
		}
	})
	return nodes, balancer
}
