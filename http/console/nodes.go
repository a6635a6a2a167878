package console

import (
	"net/http"
	"strconv"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// nodesShown is the page of nodes.
type nodesShown struct {
	Nodes        []nodeShown
	Load         float64
	Actors       int64
	Rooms, Users int64
	Alone        bool // there is nowhere to move to
}

// nodeShown is a node beside the others.
type nodeShown struct {
	admin.Status
	Here        bool    // this node made the page
	Busiest     float64 // the load of the busiest node, but at least a tenth of a processor
	Own         int64   // actors of this node
	Share       float64 // of the actors of all nodes
	Behind      uint64  // commits that another node has been told of and this one has not
	Unreachable bool
}

// leastBusiest keeps the bars of idle nodes short, in processors.
const leastBusiest = 0.1

func (c *console) nodes(v *view) (string, any, error) {
	page := nodesShown{Alone: c.Operator.Node.Membership() == nil}
	busiest, newest := leastBusiest, uint64(0)
	for _, n := range c.Operator.Cluster(v.Ctx).Nodes {
		own := int64(0)
		for _, count := range n.Actors {
			own += count
		}
		page.Nodes = append(page.Nodes, nodeShown{Status: n, Here: n.Node == c.Operator.Node.Name(), Own: own, Unreachable: n.StartedTS == 0})
		page.Load += n.Load
		page.Actors += own
		page.Rooms += n.Actors[cluster.KindRoom]
		page.Users += n.Actors[cluster.KindUser]
		busiest, newest = max(busiest, n.Load), max(newest, n.Position)
	}
	for i := range page.Nodes {
		n := &page.Nodes[i]
		n.Busiest, n.Share, n.Behind = busiest, float64(n.Own)/float64(max(page.Actors, 1)), newest-n.Position
	}
	return "Nodes", page, nil
}

// drain has a node give away its actors, or take them again.
func (c *console) drain(v *view) (outcome, error) {
	draining, err := strconv.ParseBool(v.form.Get("draining"))
	if err != nil {
		return outcome{}, mxerr.InvalidParam("draining must be true or false")
	}
	node := v.Vars["node"]
	if err := c.Operator.Drain(v.Ctx, v.by(), node, draining); err != nil {
		return outcome{}, err
	}
	if draining {
		return outcome{notice: node + " gives away its actors"}, nil
	}
	return outcome{notice: node + " takes actors again"}, nil
}

// planShown is a plan of moves, carried out one after the other: before each, the browser says which is the next. So
// what was confirmed is what is done, on whichever node the requests come in, and leaving the page stops it.
type planShown struct {
	Moves   []plannedMove
	Begun   bool
	Done    int
	Running bool // there are moves to make
	Failed  string
}

type plannedMove struct {
	admin.Move
	State string // waiting, moving, moved, failed or left
}

// mostMoves bounds a plan.
const mostMoves = 200

func (c *console) plan(v *view) (string, any, error) {
	moves, err := c.Operator.EvenOut(v.Ctx, v.by(), true)
	if err != nil {
		return "", nil, err
	}
	page := planShown{}
	for _, m := range moves.Moves {
		page.Moves = append(page.Moves, plannedMove{Move: m, State: "waiting"})
	}
	return "Even out the load", page, nil
}

// carryOut makes the next move of a plan.
func (c *console) carryOut(v *view) (outcome, error) {
	page, err := readPlan(v)
	if err != nil {
		return outcome{}, err
	}
	next := page.Moves[page.Done]
	id := cluster.Identity{Kind: next.Kind, ID: next.ID}
	if err := c.Operator.Move(v.Ctx, v.by(), id, next.To, false); err != nil {
		page.Failed = c.explain(v.Request, err).Message
	} else {
		page.Done++
	}
	page.Running = page.Failed == "" && page.Done < len(page.Moves)
	for i := range page.Moves {
		m := &page.Moves[i]
		switch {
		case i < page.Done:
			m.State = "moved"
		case i == page.Done && page.Failed != "":
			m.State = "failed"
		case page.Failed != "":
			m.State = "left"
		case i == page.Done:
			m.State = "moving"
		}
	}
	done := outcome{page: "plan", block: "plan", data: page}
	switch {
	case page.Failed != "":
		done.notice = "A move failed: " + page.Failed
	case !page.Running:
		done.notice = "The load is evened out: " + strconv.Itoa(len(page.Moves)) + " moved"
	}
	return done, nil
}

// readPlan reads the plan that the browser sends back.
func readPlan(v *view) (planShown, error) {
	f := v.form
	kinds, ids, from, to, why := f["kind"], f["id"], f["from"], f["to"], f["why"]
	done, err := strconv.Atoi(f.Get("done"))
	n := len(ids)
	if err != nil || n == 0 || n > mostMoves || done < 0 || done >= n || len(kinds) != n || len(from) != n || len(to) != n || len(why) != n {
		return planShown{}, mxerr.New(http.StatusBadRequest, "M_INVALID_PARAM", "this is no plan: make a new one")
	}
	page := planShown{Begun: true, Done: done}
	for i := range ids {
		if to[i] == "" {
			return planShown{}, mxerr.InvalidParam("a move of the plan goes nowhere")
		}
		page.Moves = append(page.Moves, plannedMove{Move: admin.Move{Kind: kinds[i], ID: ids[i], From: from[i], To: to[i], Why: why[i]}, State: "waiting"})
	}
	return page, nil
}
