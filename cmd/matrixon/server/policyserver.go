package server

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/actors/federation/policy"
)

// startPolicyServer makes this server the policy server of rooms that choose it, unless another program is that by its name.
func (s *Server) startPolicyServer() error {
	if !s.config.PolicyServer.Enabled || s.config.WellKnown.PolicyKey != "" {
		return nil
	}
	key, err := s.keptKey(context.Background(), policyKey)
	if err != nil {
		return err
	}
	rules, err := s.config.PolicyServer.Rules()
	if err != nil {
		return err
	}
	s.policyRules.Store(rules)
	s.vouching, err = policy.NewOwn(policy.OwnOptions{ServerName: s.config.ServerName, Key: key, Reader: s.reader, Rules: s.policyRules.Load,
		Count: func(ctx context.Context, roomID, userID string) error {
			return s.limits.Take(ctx, policyRate, roomID+" "+userID, 1)
		}, Now: time.Now, Log: s.log, Metrics: s.metrics})
	return err
}
