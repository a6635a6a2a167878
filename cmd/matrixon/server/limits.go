package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// limits counts the actions of everybody on the node that the hash gives them, so that a rate holds for the whole cluster.
type limits struct {
	local atomic.Pointer[api.Limits]
	node  *cluster.Node
}

// limitTimeout is how long another node may take to count. A limit is not worth more: after it the action is counted here.
const limitTimeout = time.Second

// Take implements api.Limiter.
func (l *limits) Take(ctx context.Context, kind api.Limit, key string, n int) error {
	if !l.local.Load().Limited(kind) {
		return nil
	}
	home := l.node.Owner(cluster.Identity{Kind: "limit", ID: key})
	if home == l.node.Name() || home == "" {
		return l.local.Load().Take(ctx, kind, key, n)
	}
	ask, cancel := context.WithTimeout(ctx, limitTimeout)
	defer cancel()
	_, err := l.node.Ask(ask, cluster.Identity{Kind: cluster.KindNode, ID: home}, &messages.TakeLimit{Limit: string(kind), Key: key, N: int64(n)})
	var told *mxerr.Error
	if err == nil || errors.As(err, &told) && told.Status == 429 {
		return err
	}
	return l.local.Load().Take(ctx, kind, key, n)
}

// counted is what other nodes have this one count.
func (l *limits) counted(kind, key string, n int) error {
	return l.local.Load().Take(context.Background(), api.Limit(kind), key, n)
}

// policyRate is what the rooms count whose policy server this server is. It is a rule of theirs, and no limit of limits.
const policyRate api.Limit = "policy_server"

// set makes these limits those that hold, with nothing counted yet.
func (l *limits) set(c *config.Config) {
	rates := map[api.Limit]api.Rate{}
	if c.Limits.Enabled {
		for kind, r := range c.Limits.Rates() {
			rates[api.Limit(kind)] = api.Rate(r)
		}
	}
	if r := c.PolicyServer.Rate; r.PerSecond > 0 {
		rates[policyRate] = api.Rate(r)
	}
	var local *api.Limits
	if len(rates) > 0 {
		local = api.NewLimits(rates, time.Now)
	}
	l.local.Swap(local).Close()
}
