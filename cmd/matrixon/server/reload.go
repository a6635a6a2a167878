package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
)

// Reload has the server go on with another configuration, as far as its keys can change while it runs (config.Live). The
// others are told in the log; they take effect with the next start. With an error nothing has changed.
func (s *Server) Reload(ctx context.Context, c *config.Config) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	was := s.live.Load()
	changed := config.Changed(was, c)
	var live, later []string
	for _, key := range changed {
		if config.Live(key) {
			live = append(live, key)
		} else {
			later = append(later, key)
		}
	}
	services, err := c.Registrations()
	if err != nil {
		return err
	}
	rules, err := c.PolicyServer.Rules()
	if err != nil {
		return err
	}
	if err := s.setWeight(ctx, c.Cluster.Weight); err != nil {
		return fmt.Errorf("cluster.weight: %w", err)
	}
	if err := s.registrationTokens(ctx, c.Registration); err != nil {
		return errors.Join(fmt.Errorf("registration.tokens: %w", err), s.setWeight(ctx, was.Cluster.Weight))
	}
	s.policyRules.Store(rules)
	s.live.Store(c)
	if s.listener != nil {
		if err := s.listener.Renew(); err != nil {
			s.log.Error("a certificate could not be read again; the one that was read before serves on", "error", err)
		}
	}
	s.reregister(services)
	if was.Limits != c.Limits || was.PolicyServer.Rate != c.PolicyServer.Rate {
		s.limits.set(c)
	}
	if was.Cluster.Rebalance != c.Cluster.Rebalance {
		s.balanceByItself()
	}
	if len(later) > 0 {
		s.log.Warn("some keys of the configuration have changed that take effect with the next start only", "keys", later)
	}
	s.log.Info("the configuration was read again", "changed", live)
	return nil
}

func (s *Server) setWeight(ctx context.Context, weight float64) error {
	if s.membership == nil {
		return nil
	}
	return s.membership.SetWeight(ctx, weight)
}

// balanceByItself starts the automatic rebalancing anew as it is configured now, or ends it.
func (s *Server) balanceByItself() {
	if s.stopBalancing != nil {
		s.stopBalancing()
		s.stopBalancing = nil
	}
	if r := s.live.Load().Cluster.Rebalance; s.membership != nil && r.Automatic {
		ctx, stop := context.WithCancel(context.Background())
		s.stopBalancing = stop
		go s.rebalancer.Run(ctx, time.Duration(r.Interval), s.balance())
	}
}
