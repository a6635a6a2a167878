package admin

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// Actor is an actor as a list shows it.
type Actor struct {
	Kind        string  `json:"kind"`
	ID          string  `json:"id"`
	Node        string  `json:"node"`
	State       string  `json:"state"` // activating, active or stopping
	ActivatedTS int64   `json:"activated_ts"`
	Handled     uint64  `json:"messages_handled"`
	Mailbox     int64   `json:"mailbox_depth"`
	Rate        float64 `json:"rate"` // messages per second, smoothed over half a minute
	Load        float64 `json:"load"` // share of a processor that its mailbox keeps busy
	LastMessage string  `json:"last_message,omitempty"`
	LastTS      int64   `json:"last_message_ts,omitzero"`
	LastError   string  `json:"last_error,omitempty"`
}

// Actors are those of a list, and the nodes that did not answer.
type Actors struct {
	Actors      []Actor           `json:"actors"`
	Unreachable map[string]string `json:"unreachable,omitempty"` // why, by the node's name
}

// Summary is an actor's own account of itself.
type Summary struct {
	Kind        string            `json:"kind"`
	ID          string            `json:"id"`
	Node        string            `json:"node"`
	Epoch       uint64            `json:"epoch"` // of its journal
	ActivatedTS int64             `json:"activated_ts"`
	Handled     uint64            `json:"messages_handled"`
	Mailbox     int64             `json:"mailbox_depth"`
	LastMessage string            `json:"last_message,omitempty"`
	LastTS      int64             `json:"last_message_ts,omitzero"`
	LastError   string            `json:"last_error,omitempty"`
	Seq         uint64            `json:"seq"`          // journal position
	SnapshotSeq uint64            `json:"snapshot_seq"` // of the newest snapshot
	Details     map[string]string `json:"details"`      // what matters for its kind
}

// Failure is why an actor stopped, or could not begin.
type Failure struct {
	TS    int64  `json:"ts"` // ms
	Node  string `json:"node"`
	Error string `json:"error"`
}

// Failures are the last ones of an actor that the nodes remember, newest first, and the nodes that did not answer.
type Failures struct {
	Errors      []Failure         `json:"errors"`
	Unreachable map[string]string `json:"unreachable,omitempty"` // why, by the node's name
}

func summary(s *messages.Summary) Summary {
	return Summary{Kind: s.Kind, ID: s.Id, Node: s.Node, Epoch: s.Epoch, ActivatedTS: s.ActivatedTs, Handled: s.MessagesHandled, Mailbox: s.MailboxDepth,
		LastMessage: s.LastMessage, LastTS: s.LastMessageTs, LastError: s.LastError, Seq: s.Seq, SnapshotSeq: s.SnapshotSeq, Details: s.Details}
}

// The number of actors in a list: when nothing is said, and at most.
const (
	listed     = 50
	listedMost = 10_000
)

// by sorts actors of several nodes as each node sorted its own.
var by = map[string]func(a, b Actor) int{
	"mailbox":  func(a, b Actor) int { return cmp.Compare(b.Mailbox, a.Mailbox) },
	"rate":     func(a, b Actor) int { return cmp.Compare(b.Rate, a.Rate) },
	"load":     func(a, b Actor) int { return cmp.Compare(b.Load, a.Load) },
	"messages": func(a, b Actor) int { return cmp.Compare(b.Handled, a.Handled) },
	"recent":   func(a, b Actor) int { return cmp.Compare(b.LastTS, a.LastTS) },
}

// ActorQuery chooses actors. Its zero value is the busiest ones of all nodes.
type ActorQuery struct {
	Kind, Node, Match string // empty: all
	Sort              string // mailbox, rate, load, messages or recent; empty: load
	Limit             int64  // 0: 50
}

// Actors lists the actors that are active.
func (o Operator) Actors(ctx context.Context, q ActorQuery) (Actors, error) {
	if q.Sort == "" {
		q.Sort = "load"
	}
	if q.Limit == 0 {
		q.Limit = listed
	}
	nodes := o.Node.Members()
	if q.Node != "" {
		if !slices.Contains(nodes, q.Node) {
			return Actors{}, mxerr.NotFound("there is no node %.300q", q.Node)
		}
		nodes = []string{q.Node}
	}
	request := &messages.ListActors{Kind: q.Kind, Sort: q.Sort, Limit: q.Limit, Match: q.Match}
	lists, errs := everyNode[*messages.ActorList](ctx, o, nodes, request)
	answer := Actors{Actors: []Actor{}, Unreachable: texts(errs)}
	for _, list := range lists {
		for _, i := range list.Actors {
			answer.Actors = append(answer.Actors, Actor{Kind: i.Kind, ID: i.Id, Node: i.Node, State: i.State, ActivatedTS: i.ActivatedTs, Handled: i.MessagesHandled,
				Mailbox: i.MailboxDepth, Rate: i.Rate, Load: i.Load, LastMessage: i.LastMessage, LastTS: i.LastMessageTs, LastError: i.LastError})
		}
	}
	slices.SortFunc(answer.Actors, func(a, b Actor) int {
		return cmp.Or(by[q.Sort](a, b), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	answer.Actors = answer.Actors[:min(len(answer.Actors), int(q.Limit))]
	return answer, nil
}

// Actor is an active actor's summary; 404 M_NOT_FOUND for one at rest.
func (o Operator) Actor(ctx context.Context, id cluster.Identity) (Summary, error) {
	found, err := atHome[*messages.Summary](ctx, o, id, &messages.InspectActor{Kind: id.Kind, Id: id.ID})
	if err != nil {
		return Summary{}, err
	}
	return summary(found), nil
}

// Failures are what went wrong with an actor, active or not, on any node.
func (o Operator) Failures(ctx context.Context, id cluster.Identity) Failures {
	lists, errs := everyNode[*messages.FailureList](ctx, o, o.Node.Members(), &messages.ListFailures{Kind: id.Kind, Id: id.ID})
	all := Failures{Errors: []Failure{}, Unreachable: texts(errs)}
	for _, list := range lists {
		for _, f := range list.Failures {
			all.Errors = append(all.Errors, Failure{TS: f.Ts, Node: f.Node, Error: f.Error})
		}
	}
	slices.SortFunc(all.Errors, func(a, b Failure) int { return cmp.Or(cmp.Compare(b.TS, a.TS), cmp.Compare(a.Node, b.Node)) })
	return all
}

// Stop puts an actor to rest; the next message to it wakes it again.
func (o Operator) Stop(ctx context.Context, by By, id cluster.Identity) error {
	_, err := atHome[*messages.Done](ctx, o, id, &messages.StopActor{Kind: id.Kind, Id: id.ID})
	o.note(ctx, by, "an actor is put to rest", err, slog.String("kind", id.Kind), slog.String("id", id.ID))
	return err
}

// Move has an actor live on a node, or where the hash puts it when to is empty. A pinned one stays there when the load is
// evened out.
func (o Operator) Move(ctx context.Context, by By, id cluster.Identity, to string, pinned bool) error {
	if id.Kind == cluster.KindNode {
		return mxerr.InvalidParam("a node lives where it is")
	}
	_, err := atHome[*messages.Done](ctx, o, id, &messages.MoveActor{Kind: id.Kind, Id: id.ID, To: to, Unpinned: !pinned})
	o.note(ctx, by, "an actor is moved", err, slog.String("kind", id.Kind), slog.String("id", id.ID), slog.String("to", to))
	return err
}

func (h handler) listActors(r *api.Request) (any, error) {
	order, err := r.Enum("sort", "", slices.Sorted(maps.Keys(by))...)
	if err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", listed, 1, listedMost)
	if err != nil {
		return nil, err
	}
	return h.Actors(r.Ctx, ActorQuery{Kind: r.Param("kind"), Node: r.Param("node"), Match: r.Param("match"), Sort: order, Limit: limit})
}

func identity(r *api.Request) cluster.Identity {
	return cluster.Identity{Kind: r.Vars["kind"], ID: r.Vars["id"]}
}

func (h handler) inspect(r *api.Request) (any, error) { return h.Actor(r.Ctx, identity(r)) }

func (h handler) listFailures(r *api.Request) (any, error) {
	return h.Failures(r.Ctx, identity(r)), nil
}

func (h handler) stopActor(r *api.Request) (any, error) {
	return nil, h.Stop(r.Ctx, By(r.User()), identity(r))
}

// moveActor takes ?to= and ?pinned=, which is true when nothing is said.
func (h handler) moveActor(r *api.Request) (any, error) {
	pinned, err := r.Bool("pinned", true)
	if err != nil {
		return nil, err
	}
	return nil, h.Move(r.Ctx, By(r.User()), identity(r), r.Param("to"), pinned)
}
