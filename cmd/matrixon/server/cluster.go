package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matrixon/matrixon/actors/node"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/cluster/consul"
	"github.com/matrixon/matrixon/messages"
)

// joinTimeout is how long a node tries to become a member before it gives up.
const joinTimeout = 30 * time.Second

// alone reports whether this node is no part of a cluster.
func (s *Server) alone() bool { return s.config.Cluster.Consul == "" }

// nodeName is the stable name of this node.
func (s *Server) nodeName() (string, error) {
	if s.config.Cluster.Node != "" {
		return s.config.Cluster.Node, nil
	}
	if s.alone() {
		return "local", nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("cluster.node: the host's name is not known, so it must be configured: %w", err)
	}
	return name, nil
}

// nodeKind is the actor that speaks for the node.
func (s *Server) nodeKind() cluster.Kind {
	return cluster.Kind{Name: cluster.KindNode, Bound: roomBound, New: node.New(node.Deps{Node: s.node, Typing: s.typing, Limit: s.limits.counted,
		Position: s.store.Position, Version: s.version, Address: s.config.Cluster.Address, Started: s.started})}
}

// tellTyping tells the users of all nodes who is typing.
func (s *Server) tellTyping(n *messages.RoomNotice) {
	s.typing(n)
	if m := s.node.Membership(); m != nil {
		m.Broadcast(n)
	}
}

// join makes the node a member of the configured cluster.
func (s *Server) join(ctx context.Context) error {
	c := s.config.Cluster
	if c.Consul == "" {
		return nil
	}
	security, err := s.clusterTLS()
	if err != nil {
		return err
	}
	directory, err := consul.New(consul.Options{Address: c.Consul, Token: c.ConsulToken.Reveal(), ServerName: s.config.ServerName, Logger: s.log})
	if err != nil {
		return fmt.Errorf("cluster.consul: %w", err)
	}
	listen := c.Listen
	if listen == "" {
		listen = c.Address
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("cluster.address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	s.membership, err = s.node.Join(ctx, cluster.Joining{
		Directory: directory, Listener: ln, Address: c.Address, TLS: security, Version: s.version, Weight: c.Weight,
		CatchUp: func(ctx context.Context) error { _, err := s.store.CatchUp(ctx); return err },
		Lost:    s.fail,
	})
	if err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	s.log.Info("this node is a member of the cluster", "node", s.node.Name(), "address", c.Address, "members", s.node.Members())
	return nil
}

func (s *Server) clusterTLS() (*tls.Config, error) {
	c := s.config.Cluster
	switch {
	case c.TLS.CA != "":
		return cluster.FileTLS(c.TLS.CA, c.TLS.Certificate, c.TLS.Key)
	case c.Secret.Reveal() != "":
		return cluster.SecretTLS(c.Secret.Reveal())
	default:
		s.log.Warn("nodes speak to each other without encryption: cluster.secret is empty")
		return nil, nil
	}
}

// clusterMetrics show how this node sees the cluster.
func (s *Server) clusterMetrics() {
	gauge := func(name, help string, f func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "matrixon", Subsystem: "cluster", Name: name, Help: help}, f)
	}
	s.metrics.MustRegister(
		gauge("members", "Nodes of the cluster that this one sees, itself included.", func() float64 { return float64(len(s.node.Members())) }),
		gauge("serving", "Whether actors live on this node now.", func() float64 {
			if s.ready(context.Background()) != nil {
				return 0
			}
			return 1
		}),
		gauge("position", "How far this node has been told of commits.", func() float64 { return float64(s.store.Position()) }),
	)
}

// balance is how much the rebalancer evens out.
func (s *Server) balance() cluster.Balance {
	r := s.live.Load().Cluster.Rebalance
	return cluster.Balance{Tolerance: r.Tolerance, Least: leastLoad, Moves: r.Moves}
}

// leastLoad is the load of a node, in processors, below which moving is not worth the pause.
const leastLoad = 0.05

func (s *Server) rebalance(ctx context.Context, dryRun bool) ([]cluster.PlannedMove, error) {
	if dryRun {
		return s.rebalancer.Plan(ctx, s.balance())
	}
	return s.rebalancer.Rebalance(ctx, s.balance())
}

// leave gives the node's actors to the others and takes it out of the cluster. Requests that are being answered go on.
func (s *Server) leave(ctx context.Context) error {
	if s.membership == nil {
		return nil
	}
	var errs []error
	if len(s.node.Members()) > 1 {
		errs = append(errs, s.membership.Drain(ctx, s.node.Name(), true), s.membership.Empty(ctx))
	}
	return errors.Join(errs...)
}

// ready says why requests should not be sent here.
func (s *Server) ready(context.Context) error {
	if s.membership == nil {
		return nil
	}
	return s.membership.Serving()
}

// fail ends the server with an error.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}
