package admin

import (
	"cmp"
	"net/http"
	"slices"

	"google.golang.org/protobuf/proto"

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
	LastTS      int64   `json:"last_message_ts,omitempty"`
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
	LastTS      int64             `json:"last_message_ts,omitempty"`
	LastError   string            `json:"last_error,omitempty"`
	Seq         uint64            `json:"seq"`          // journal position
	SnapshotSeq uint64            `json:"snapshot_seq"` // of the newest snapshot
	Details     map[string]string `json:"details"`      // what matters for its kind
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

func (h handler) listActors(r *api.Request) (any, error) {
	order, err := r.Enum("sort", "load", "mailbox", "rate", "load", "messages", "recent")
	if err != nil {
		return nil, err
	}
	limit, err := r.Int("limit", listed, 1, listedMost)
	if err != nil {
		return nil, err
	}
	nodes := h.Node.Members()
	if name := r.Param("node"); name != "" {
		if !slices.Contains(nodes, name) {
			return nil, mxerr.NotFound("there is no node %.300q", name)
		}
		nodes = []string{name}
	}
	request := &messages.ListActors{Kind: r.Param("kind"), Sort: order, Limit: limit, Match: r.Param("match")}
	lists, errs := everyNode[*messages.ActorList](r.Ctx, h, nodes, request)
	answer := Actors{Actors: []Actor{}}
	for _, list := range lists {
		for _, i := range list.Actors {
			answer.Actors = append(answer.Actors, Actor{Kind: i.Kind, ID: i.Id, Node: i.Node, State: i.State, ActivatedTS: i.ActivatedTs, Handled: i.MessagesHandled,
				Mailbox: i.MailboxDepth, Rate: i.Rate, Load: i.Load, LastMessage: i.LastMessage, LastTS: i.LastMessageTs, LastError: i.LastError})
		}
	}
	slices.SortFunc(answer.Actors, func(a, b Actor) int {
		return cmp.Or(by[order](a, b), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	answer.Actors = answer.Actors[:min(len(answer.Actors), int(limit))]
	if len(errs) > 0 {
		answer.Unreachable = map[string]string{}
		for name, err := range errs {
			answer.Unreachable[name] = err.Error()
		}
	}
	return answer, nil
}

func identity(r *api.Request) cluster.Identity {
	return cluster.Identity{Kind: r.Vars["kind"], ID: r.Vars["id"]}
}

// atHome asks the node on which the actor lives.
func atHome[A proto.Message](r *api.Request, h handler, id cluster.Identity, request proto.Message) (A, error) {
	home := h.Node.Owner(id)
	if home == "" {
		var none A
		return none, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "no node can have this actor now")
	}
	return cluster.Ask[A](r.Ctx, h.Node, cluster.Identity{Kind: cluster.KindNode, ID: home}, request)
}

func (h handler) inspect(r *api.Request) (any, error) {
	id := identity(r)
	found, err := atHome[*messages.Summary](r, h, id, &messages.InspectActor{Kind: id.Kind, Id: id.ID})
	if err != nil {
		return nil, err
	}
	return summary(found), nil
}

// stopActor puts an actor to rest; the next message to it wakes it again.
func (h handler) stopActor(r *api.Request) (any, error) {
	id := identity(r)
	_, err := atHome[*messages.Done](r, h, id, &messages.StopActor{Kind: id.Kind, Id: id.ID})
	return nil, err
}

// moveActor has an actor live on the node ?to=, or where the hash puts it when that is empty.
func (h handler) moveActor(r *api.Request) (any, error) {
	id := identity(r)
	if id.Kind == cluster.KindNode {
		return nil, mxerr.InvalidParam("a node lives where it is")
	}
	_, err := atHome[*messages.Done](r, h, id, &messages.MoveActor{Kind: id.Kind, Id: id.ID, To: r.Param("to")})
	return nil, err
}
