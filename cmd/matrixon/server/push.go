package server

import (
	"fmt"
	"time"

	"github.com/matrixon/matrixon/actors/push"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/outbound"
)

// How the actors that push are kept. What they are told is to look, so little can wait.
const pushBound, pushIdle = 256, 2 * time.Minute

// gatewayTimeout is how long a push gateway may take.
const gatewayTimeout = 30 * time.Second

// startPush makes what tells phones of notifications: the dispatcher of this node, and the kind of the actors that deliver.
func (s *Server) startPush() (cluster.Kind, error) {
	c := s.config.Push
	policy := outbound.Policy{AllowNetworks: c.AllowNetworks, UserAgent: "Matrixon/" + s.version, Timeout: gatewayTimeout}
	var err error
	if policy.Roots, err = trusted(c.CAFile); err != nil {
		return cluster.Kind{}, fmt.Errorf("push.ca_file: %w", err)
	}
	metrics, err := push.NewMetrics(s.metrics)
	if err != nil {
		return cluster.Kind{}, err
	}
	deps := push.Deps{Store: s.store, Reader: s.reader, Unread: s.unread, Caller: s.node, Gateways: outbound.NewPushGateways(policy),
		ServerName: s.config.ServerName, Now: time.Now, Log: s.log, Metrics: metrics}
	if s.mailer != nil {
		deps.Mail = s.mailer.Digest
	}
	s.pushes = push.NewDispatcher(deps, func(id cluster.Identity) bool { return s.node.Owner(id) == s.node.Name() })
	return cluster.Kind{Name: cluster.KindPush, Bound: pushBound, IdleAfter: pushIdle, New: push.New(deps)}, nil
}

// pushOptions say which pushers users may have.
func (s *Server) pushOptions() client.PushOptions {
	return client.PushOptions{Networks: s.config.Push.AllowNetworks, Email: s.mailer != nil}
}
