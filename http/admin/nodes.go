package admin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// Status is how a node is.
type Status struct {
	Node      string           `json:"node"`
	Version   string           `json:"version"`
	Address   string           `json:"address,omitempty"` // for other nodes
	StartedTS int64            `json:"started_ts"`
	Position  uint64           `json:"position"` // how far it has been told of commits
	Actors    map[string]int64 `json:"actors"`   // active ones, by kind
	Load      float64          `json:"load"`     // processors that its actors keep busy
	Draining  bool             `json:"draining"`
	Trouble   string           `json:"trouble,omitempty"` // why it does not serve
}

// Cluster is how all nodes are, by their name.
type Cluster struct {
	Nodes []Status `json:"nodes"`
}

// Move is an actor that was moved, or would be.
type Move struct {
	Kind string  `json:"kind"`
	ID   string  `json:"id"`
	From string  `json:"from"`
	To   string  `json:"to"`
	Load float64 `json:"load"` // share of a processor
	Why  string  `json:"why"`
}

// Moves are what evening out the load did, or would do.
type Moves struct {
	Moves []Move `json:"moves"`
}

// Cluster tells how every node is.
func (o Operator) Cluster(ctx context.Context) Cluster {
	found, errs := everyNode[*messages.NodeStatus](ctx, o, o.Node.Members(), &messages.DescribeNode{})
	answer := Cluster{Nodes: []Status{}}
	for _, s := range found {
		answer.Nodes = append(answer.Nodes, Status{Node: s.Name, Version: s.Version, Address: s.Address, StartedTS: s.StartedTs, Position: s.Position,
			Actors: s.Actors, Load: s.Load, Draining: s.Draining, Trouble: s.Trouble})
	}
	for name, err := range errs {
		answer.Nodes = append(answer.Nodes, Status{Node: name, Trouble: "it does not answer: " + err.Error()})
	}
	slices.SortFunc(answer.Nodes, func(a, b Status) int { return cmp.Compare(a.Node, b.Node) })
	return answer
}

func errAlone() error { return mxerr.InvalidParam("this node is alone: there is nowhere to move to") }

// Drain has a node give away what lives on it, or take actors again. It does not wait until the node is empty.
func (o Operator) Drain(ctx context.Context, by By, node string, draining bool) error {
	m := o.Node.Membership()
	if m == nil {
		return errAlone()
	}
	if _, ok := m.View().Member(node); !ok {
		return mxerr.NotFound("there is no node %.300q", node)
	}
	err := m.Drain(ctx, node, draining)
	o.note(ctx, by, "a node gives away its actors, or takes them again", err, slog.String("node", node), slog.Bool("draining", draining))
	return err
}

// EvenOut moves a few busy actors; a dry run only says which.
func (o Operator) EvenOut(ctx context.Context, by By, dryRun bool) (Moves, error) {
	if o.Node.Membership() == nil {
		return Moves{}, errAlone()
	}
	planned, err := o.Rebalance(ctx, dryRun)
	if !dryRun {
		o.note(ctx, by, "the load is evened out", err, slog.Int("moves", len(planned)))
	}
	var refused *mxerr.Error
	switch {
	case errors.As(err, &refused):
		return Moves{}, err
	case err != nil: // the operator should know which node or actor it was
		return Moves{}, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "%v", err)
	}
	answer := Moves{Moves: []Move{}}
	for _, m := range planned {
		answer.Moves = append(answer.Moves, Move{Kind: m.ID.Kind, ID: m.ID.ID, From: m.From, To: m.To, Load: m.Load, Why: m.Why})
	}
	return answer, nil
}

func (h handler) status(r *api.Request) (any, error) { return h.Cluster(r.Ctx), nil }

// drainNode takes ?draining=, which is true when nothing is said.
func (h handler) drainNode(r *api.Request) (any, error) {
	draining, err := r.Bool("draining", true)
	if err != nil {
		return nil, err
	}
	return nil, h.Drain(r.Ctx, By(r.User()), r.Vars["node"], draining)
}

// rebalance takes ?dry_run=.
func (h handler) rebalance(r *api.Request) (any, error) {
	dryRun, err := r.Bool("dry_run", false)
	if err != nil {
		return nil, err
	}
	return h.EvenOut(r.Ctx, By(r.User()), dryRun)
}
