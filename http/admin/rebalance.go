package admin

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Rebalance evens out the load of the nodes, or only says how it would.
type Rebalance func(ctx context.Context, dryRun bool) ([]cluster.PlannedMove, error)

// Move is an actor that was moved, or would be.
type Move struct {
	Kind string  `json:"kind"`
	ID   string  `json:"id"`
	From string  `json:"from"`
	To   string  `json:"to"`
	Load float64 `json:"load"` // share of a processor
	Why  string  `json:"why"`
}

// rebalance moves a few busy actors (?dry_run=true: only says which).
func (h handler) rebalance(r *http.Request) (any, error) {
	if h.Node.Membership() == nil {
		return nil, mxerr.InvalidParam("this node is alone: there is nowhere to move to")
	}
	dryRun, err := strconv.ParseBool(cmp.Or(r.URL.Query().Get("dry_run"), "false"))
	if err != nil {
		return nil, mxerr.InvalidParam("dry_run is true or false")
	}
	planned, err := h.Rebalance(r.Context(), dryRun)
	moves := []Move{}
	for _, m := range planned {
		moves = append(moves, Move{Kind: m.ID.Kind, ID: m.ID.ID, From: m.From, To: m.To, Load: m.Load, Why: m.Why})
	}
	return map[string]any{"moves": moves}, err
}
