package server

import (
	"context"
	"sync"
	"time"

	"github.com/matrixon/matrixon/actors/destination"
	"github.com/matrixon/matrixon/cluster"
)

// How the actors of other servers are kept.
const (
	destinationBound, destinationIdle = 256, 5 * time.Minute
	// destinationNotices is high because each event in a shared room is one.
	destinationNotices = 16_384
)

// destinationKeeper is a name for the work on what waits for other servers, which one node of the cluster does.
var destinationKeeper = cluster.Identity{Kind: "job", ID: "destinations"}

// startDestinations makes the kind of the actors of other servers; without federation there are none.
func (s *Server) startDestinations() error {
	if s.federation == nil {
		return nil
	}
	return s.node.Register(cluster.Kind{Name: cluster.KindDestination, Bound: destinationBound, Notices: destinationNotices, IdleAfter: destinationIdle,
		New: destination.New(destination.Deps{Store: s.store, Caller: s.federation, ServerName: s.config.ServerName, Now: time.Now, Log: s.log,
			LastRetry: time.Duration(s.config.Federation.RetryLongest)})})
}

// tendDestinations has other servers told of what waits for them, until the context ends.
func (s *Server) tendDestinations(ctx context.Context) {
	if s.dispatcher == nil {
		return
	}
	keeper := &destination.Keeper{Store: s.store, Caller: s.node, ServerName: s.config.ServerName, Now: time.Now, Log: s.log}
	var running sync.WaitGroup
	running.Go(func() { s.dispatcher.Run(ctx) })
	keeper.Run(ctx, func() bool { return s.mine(destinationKeeper) })
	running.Wait()
}

// mine reports whether the actor should live on this node.
func (s *Server) mine(id cluster.Identity) bool { return s.node.Owner(id) == s.node.Name() }
