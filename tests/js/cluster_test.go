package js

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
)

// several is a homeserver of several nodes.
type several struct {
	ctx   context.Context
	nodes []*local.Node
	done  int // times that something was done
}

// do does it with one node after the other; a room moves to the next one.
func (s *several) do(ask string) error {
	n := s.nodes[s.done%len(s.nodes)]
	s.done++
	if roomID, ok := strings.CutPrefix(ask, "move "); ok {
		_, err := s.nodes[0].Run(s.ctx, "actors", "move", roomID, "--to", n.Name)
		return err
	}
	if ask == "kill" {
		n.Kill()
	} else {
		n.Stop()
	}
	return n.Start(s.ctx)
}

func (s *several) Log() string {
	var all strings.Builder
	for _, n := range s.nodes {
		all.WriteString(n.Process().Log())
	}
	return all.String()
}

// The same people do the same in a cluster, each session at another node, while rooms move and nodes go and come.
func TestMatrixJSSDKInACluster(t *testing.T) {
	t.Parallel()
	install(t)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	nodes, _ := binary.Cluster(ctx, t)
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		urls[i] = n.URL
	}
	run(t, &several{ctx: ctx, nodes: nodes}, "run.mjs", strings.Join(urls, ","))
}
