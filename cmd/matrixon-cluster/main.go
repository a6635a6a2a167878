// Command matrixon-cluster runs a cluster on this machine for trying out: Consul, Postgres, some nodes and a load balancer,
// all on loopback, until it is interrupted.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/matrixon/matrixon/deploy/local"
)

type options struct {
	Program  string   `help:"The matrixon binary." default:"build/matrixon" type:"path"`
	Dir      string   `help:"Where the data is kept." default:"data/cluster" type:"path"`
	Nodes    int      `help:"How many nodes." default:"3"`
	Address  string   `help:"Of the load balancer." default:"127.0.0.1:8008"`
	Set      []string `help:"A setting of every node, as in --set registration.open=true." placeholder:"KEY=VALUE" sep:"none"`
	Quiet    bool     `help:"Do not show what the parts log."`
	NodePort int      `help:"Port of the first node for clients; the others follow." default:"8011"`
}

func main() {
	var o options
	kong.Parse(&o, kong.Description("A Matrixon cluster on this machine, for trying out."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "matrixon-cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	var log io.Writer = os.Stderr
	if o.Quiet {
		log = nil
	}
	fmt.Println("starting Consul (the first time on a machine without one it is built, which takes minutes)")
	consul, err := local.StartConsul(ctx, log)
	if err != nil {
		return err
	}
	defer consul.Stop()
	fmt.Println("starting Postgres")
	postgres, err := local.StartPostgres(ctx, filepath.Join(o.Dir, "postgres"), log)
	if err != nil {
		return err
	}
	defer postgres.Stop()
	secret := rand.Text()
	var nodes []*local.Node
	for i := range o.Nodes {
		name := "node-" + string(rune('a'+i))
		node, err := local.NewNode(local.NodeOptions{Name: name, Program: o.Program, Dir: filepath.Join(o.Dir, name), Secret: secret, Out: log,
			Postgres: postgres.URL(postgres.Address, "matrixon"), Consul: consul.Address, Port: o.NodePort + i, Settings: o.Set})
		if err != nil {
			return err
		}
		fmt.Println("starting", name)
		if err := node.Start(ctx); err != nil {
			return err
		}
		defer node.Stop()
		nodes = append(nodes, node)
	}
	balancer, err := local.StartBalancer(o.Address, nodes)
	if err != nil {
		return err
	}
	fmt.Println("\nThe cluster serves.")
	fmt.Println("  load balancer  ", balancer.URL)
	for _, n := range nodes {
		fmt.Println("  "+n.Name+"         ", n.URL)
	}
	fmt.Println("  Consul          http://" + consul.Address)
	fmt.Println("  Postgres       ", postgres.URL(postgres.Address, "matrixon"))
	fmt.Printf("Look into it: %s cluster status --set data_dir=%s\n", o.Program, nodes[0].Dir)
	fmt.Println("Ctrl-C stops everything; the data stays in", o.Dir)
	<-ctx.Done()
	fmt.Println("stopping")
	return balancer.Close()
}
