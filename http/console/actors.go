package console

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// actorsShown is the list of actors.
type actorsShown struct {
	admin.Actors
	Query   admin.ActorQuery
	Nodes   []string
	Columns []column
	Busiest float64
	More    bool // than are shown
}

// column is a heading that sorts by what stands below it.
type column struct {
	Name, Sort, URL string
	Sorted          bool
}

// actorsInList is how many actors are shown.
const actorsInList = 100

var sortable = []column{{Name: "Mailbox", Sort: "mailbox"}, {Name: "Messages/s", Sort: "rate"}, {Name: "CPU", Sort: "load"},
	{Name: "Messages", Sort: "messages"}, {Name: "Last message", Sort: "recent"}}

func (c *console) actors(v *view) (string, any, error) {
	order, err := v.Enum("sort", "load", "mailbox", "rate", "load", "messages", "recent")
	if err != nil {
		return "", nil, err
	}
	kind, err := v.Enum("kind", "", cluster.KindRoom, cluster.KindUser, cluster.KindAppservice, cluster.KindDestination)
	if err != nil {
		return "", nil, err
	}
	q := admin.ActorQuery{Kind: kind, Node: v.Param("node"), Match: v.Param("match"), Sort: order, Limit: actorsInList + 1}
	found, err := c.Operator.Actors(v.Ctx, q)
	if err != nil {
		return "", nil, err
	}
	page := actorsShown{Actors: found, Query: q, Nodes: c.Operator.Node.Members(), Busiest: leastBusiest}
	if page.More = len(found.Actors) > actorsInList; page.More {
		page.Actors.Actors = found.Actors[:actorsInList]
	}
	for _, a := range page.Actors.Actors {
		page.Busiest = max(page.Busiest, a.Load)
	}
	for _, head := range sortable {
		query := url.Values{"kind": {kind}, "node": {q.Node}, "match": {q.Match}, "sort": {head.Sort}}
		head.URL, head.Sorted = Base+"/actors?"+query.Encode(), head.Sort == order
		page.Columns = append(page.Columns, head)
	}
	return "Actors", page, nil
}

// actorShown is one actor.
type actorShown struct {
	Kind, ID string
	Home     string         // the node on which it lives, or would; empty when none can have it
	Summary  *admin.Summary // nil while it is at rest
	Details  []detail
	Trouble  string // why it does not tell
	Errors   admin.Failures
	Nodes    []string
	Alone    bool
	Pinned   bool
}

type detail struct{ Name, Value string }

func (c *console) actor(v *view) (string, any, error) {
	page, err := c.showActor(v, v.Vars["kind"], v.Vars["id"])
	return v.Vars["id"], page, err
}

func (c *console) showActor(v *view, kind, actorID string) (actorShown, error) {
	if kind != cluster.KindRoom && kind != cluster.KindUser && kind != cluster.KindAppservice && kind != cluster.KindDestination {
		return actorShown{}, mxerr.NotFound("there are no actors of the kind %.64q", kind)
	}
	id := cluster.Identity{Kind: kind, ID: actorID}
	page := actorShown{Kind: kind, ID: actorID, Home: c.Operator.Node.Owner(id), Nodes: c.Operator.Node.Members()}
	if m := c.Operator.Node.Membership(); m == nil {
		page.Alone = true
	} else {
		page.Pinned = m.View().Pinned(id)
	}
	summary, err := c.Operator.Actor(v.Ctx, id)
	switch refused := new(mxerr.Error); {
	case err == nil:
		page.Summary = &summary
		for _, name := range slices.Sorted(maps.Keys(summary.Details)) {
			if value := summary.Details[name]; value != "" && name != "extremity_ids" {
				page.Details = append(page.Details, detail{name, value})
			}
		}
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound: // at rest
	default:
		page.Trouble = err.Error()
	}
	page.Errors = c.Operator.Failures(v.Ctx, id)
	return page, nil
}

func (v *view) identity() cluster.Identity {
	return cluster.Identity{Kind: v.Vars["kind"], ID: v.Vars["id"]}
}

// move has an actor live elsewhere, or leaves it to the cluster again when no node is chosen.
func (c *console) move(v *view) (outcome, error) {
	id, to := v.identity(), v.form.Get("to")
	if err := c.Operator.Move(v.Ctx, v.by(), id, to, true); err != nil {
		return outcome{}, err
	}
	if to == "" {
		return outcome{notice: "The cluster decides where " + id.ID + " lives"}, nil
	}
	return outcome{notice: id.ID + " lives on " + to}, nil
}

// stop puts an actor to rest.
func (c *console) stop(v *view) (outcome, error) {
	id := v.identity()
	if err := c.Operator.Stop(v.Ctx, v.by(), id); err != nil {
		return outcome{}, err
	}
	return outcome{notice: id.ID + " is at rest until its next message"}, nil
}
