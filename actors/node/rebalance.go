package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
)

// hottest is how many of the busiest actors of each node a plan looks at.
const hottest = 100

// answerWithin is how long a node may take to say how busy it is, and movedWithin how long one move may take.
const (
	answerWithin = 5 * time.Second
	movedWithin  = 15 * time.Second
)

// Rebalancer evens out the measured load of the nodes by moving a few busy actors.
type Rebalancer struct {
	node  *cluster.Node
	log   *slog.Logger
	moves *prometheus.CounterVec
}

// NewRebalancer makes the rebalancer of a node. It registers its metric.
func NewRebalancer(n *cluster.Node, log *slog.Logger, metrics prometheus.Registerer) (*Rebalancer, error) {
	r := &Rebalancer{node: n, log: log, moves: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "matrixon", Subsystem: "cluster",
		Name: "rebalancing_moves_total", Help: "Actors that the rebalancer of this node moved, by what became of it."}, []string{"result"})}
	return r, metrics.Register(r.moves)
}

// Plan says what would be moved now.
func (r *Rebalancer) Plan(ctx context.Context, b cluster.Balance) ([]cluster.PlannedMove, error) {
	m := r.node.Membership()
	if m == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var nodes []cluster.NodeLoad
	var actors []cluster.ActorLoad
	view := m.View()
	for _, member := range view.Members() {
		if member.Draining {
			continue
		}
		to := cluster.Identity{Kind: cluster.KindNode, ID: member.Name}
		status, err := cluster.Ask[*messages.NodeStatus](ctx, r.node, to, &messages.DescribeNode{})
		if err != nil {
			return nil, fmt.Errorf("node %s does not say how busy it is: %w", member.Name, err)
		}
		list, err := cluster.Ask[*messages.ActorList](ctx, r.node, to, &messages.ListActors{Sort: "load", Limit: hottest})
		if err != nil {
			return nil, fmt.Errorf("node %s does not list its actors: %w", member.Name, err)
		}
		nodes = append(nodes, cluster.NodeLoad{Name: member.Name, Weight: member.Weight, Load: status.Load})
		for _, a := range list.Actors {
			id := cluster.Identity{Kind: a.Kind, ID: a.Id}
			actors = append(actors, cluster.ActorLoad{ID: id, Node: member.Name, Load: a.Load, Pinned: view.Pinned(id)})
		}
	}
	return b.Plan(nodes, actors), nil
}

// Rebalance carries out a plan, one move after the other, and says why in the log.
func (r *Rebalancer) Rebalance(ctx context.Context, b cluster.Balance) ([]cluster.PlannedMove, error) {
	moves, err := r.Plan(ctx, b)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, move := range moves {
		if err := r.move(ctx, move); err != nil {
			r.moves.WithLabelValues("failed").Inc()
			errs = append(errs, fmt.Errorf("%s %s could not be moved from %s to %s: %w", move.ID.Kind, move.ID.ID, move.From, move.To, err))
			return moves[:i], errors.Join(errs...)
		}
		r.moves.WithLabelValues("moved").Inc()
		r.log.Info("an actor was moved to even out the load", "kind", move.ID.Kind, "id", move.ID.ID, "from", move.From, "to", move.To, "why", move.Why)
	}
	return moves, nil
}

func (r *Rebalancer) move(ctx context.Context, move cluster.PlannedMove) error {
	ctx, cancel := context.WithTimeout(ctx, movedWithin)
	defer cancel()
	_, err := cluster.Ask[*messages.Done](ctx, r.node, cluster.Identity{Kind: cluster.KindNode, ID: move.From},
		&messages.MoveActor{Kind: move.ID.Kind, Id: move.ID.ID, To: move.To, Unpinned: true})
	return err
}

// balancer is a name for the work that one node of the cluster does for all.
var balancer = cluster.Identity{Kind: "job", ID: "rebalance"}

// Run rebalances every so often until the context ends, on that node of the cluster whose turn it is.
func (r *Rebalancer) Run(ctx context.Context, every time.Duration, b cluster.Balance) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if r.node.Owner(balancer) != r.node.Name() {
			continue
		}
		if _, err := r.Rebalance(ctx, b); err != nil && ctx.Err() == nil {
			r.log.Warn("the load could not be evened out", "error", err)
		}
	}
}
