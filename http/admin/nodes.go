package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
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

// nodeTimeout is how long a node may take to answer for itself.
const nodeTimeout = 3 * time.Second

// everyNode asks every node of the cluster. Those that do not answer are given with what went wrong.
func everyNode[A proto.Message](ctx context.Context, h handler, nodes []string, request proto.Message) (answers map[string]A, errs map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	answers, errs = map[string]A{}, map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range nodes {
		all.Go(func() {
			answer, err := cluster.Ask[A](ctx, h.Node, cluster.Identity{Kind: cluster.KindNode, ID: name}, request)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[name] = err
				return
			}
			answers[name] = answer
		})
	}
	all.Wait()
	return answers, errs
}

func (h handler) status(r *api.Request) (any, error) {
	found, errs := everyNode[*messages.NodeStatus](r.Ctx, h, h.Node.Members(), &messages.DescribeNode{})
	answer := Cluster{Nodes: []Status{}}
	for _, s := range found {
		answer.Nodes = append(answer.Nodes, Status{Node: s.Name, Version: s.Version, Address: s.Address, StartedTS: s.StartedTs, Position: s.Position,
			Actors: s.Actors, Load: s.Load, Draining: s.Draining, Trouble: s.Trouble})
	}
	for name, err := range errs {
		answer.Nodes = append(answer.Nodes, Status{Node: name, Trouble: "it does not answer: " + err.Error()})
	}
	slices.SortFunc(answer.Nodes, func(a, b Status) int { return cmp.Compare(a.Node, b.Node) })
	return answer, nil
}

func errAlone() error { return mxerr.InvalidParam("this node is alone: there is nowhere to move to") }

// drainNode has a node give away what lives on it (?draining=true), or take actors again.
func (h handler) drainNode(r *api.Request) (any, error) {
	m := h.Node.Membership()
	if m == nil {
		return nil, errAlone()
	}
	name := r.Vars["node"]
	if _, ok := m.View().Member(name); !ok {
		return nil, mxerr.NotFound("there is no node %.300q", name)
	}
	draining, err := r.Bool("draining", true)
	if err != nil {
		return nil, err
	}
	return nil, m.Drain(r.Ctx, name, draining)
}

// rebalance moves a few busy actors (?dry_run=true: only says which).
func (h handler) rebalance(r *api.Request) (any, error) {
	if h.Node.Membership() == nil {
		return nil, errAlone()
	}
	dryRun, err := r.Bool("dry_run", false)
	if err != nil {
		return nil, err
	}
	planned, err := h.Rebalance(r.Ctx, dryRun)
	var refused *mxerr.Error
	switch {
	case errors.As(err, &refused):
		return nil, err
	case err != nil: // the operator should know which node or actor it was
		return nil, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "%v", err)
	}
	answer := Moves{Moves: []Move{}}
	for _, m := range planned {
		answer.Moves = append(answer.Moves, Move{Kind: m.ID.Kind, ID: m.ID.ID, From: m.From, To: m.To, Load: m.Load, Why: m.Why})
	}
	return answer, nil
}
