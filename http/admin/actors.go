package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
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

// The number of actors in a list: when nothing is said, and at most.
const (
	listed     = 50
	listedMost = 10_000
)

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

// by sorts actors of several nodes as each node sorted its own.
var by = map[string]func(a, b Actor) int{
	"mailbox":  func(a, b Actor) int { return cmp.Compare(b.Mailbox, a.Mailbox) },
	"load":     func(a, b Actor) int { return cmp.Compare(b.Load, a.Load) },
	"messages": func(a, b Actor) int { return cmp.Compare(b.Handled, a.Handled) },
	"recent":   func(a, b Actor) int { return cmp.Compare(b.LastTS, a.LastTS) },
}

func (h handler) listActors(r *http.Request) (any, error) {
	q := r.URL.Query()
	req := &messages.ListActors{Kind: q.Get("kind"), Sort: cmp.Or(q.Get("sort"), "load"), Limit: listed, Match: q.Get("match")}
	order, ok := by[req.Sort]
	if !ok {
		return nil, mxerr.InvalidParam("actors can be sorted by mailbox, load, messages or recent, not by %q", req.Sort)
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > listedMost {
			return nil, mxerr.InvalidParam("limit must be from 1 to %d", listedMost)
		}
		req.Limit = int64(n)
	}
	nodes := h.Node.Members()
	if name := q.Get("node"); name != "" {
		if !slices.Contains(nodes, name) {
			return nil, mxerr.NotFound("there is no node %q", name)
		}
		nodes = []string{name}
	}
	lists, errs := everyNode[*messages.ActorList](r.Context(), h, nodes, req)
	actors := []Actor{}
	for _, list := range lists {
		for _, i := range list.Actors {
			actors = append(actors, Actor{Kind: i.Kind, ID: i.Id, Node: i.Node, State: i.State, ActivatedTS: i.ActivatedTs, Handled: i.MessagesHandled,
				Mailbox: i.MailboxDepth, Rate: i.Rate, Load: i.Load, LastMessage: i.LastMessage, LastTS: i.LastMessageTs, LastError: i.LastError})
		}
	}
	slices.SortFunc(actors, func(a, b Actor) int { return cmp.Or(order(a, b), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	answer := map[string]any{"actors": actors[:min(len(actors), int(req.Limit))]}
	if len(errs) > 0 {
		silent := map[string]string{}
		for name, err := range errs {
			silent[name] = err.Error()
		}
		answer["unreachable"] = silent
	}
	return answer, nil
}

func identity(r *http.Request) cluster.Identity {
	return cluster.Identity{Kind: r.PathValue("kind"), ID: r.PathValue("id")}
}

// atHome asks the node on which the actor lives.
func atHome[A proto.Message](r *http.Request, h handler, request proto.Message) (A, error) {
	home := h.Node.Owner(identity(r))
	if home == "" {
		var none A
		return none, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "no node can have this actor now")
	}
	return cluster.Ask[A](r.Context(), h.Node, cluster.Identity{Kind: cluster.KindNode, ID: home}, request)
}

func (h handler) inspect(r *http.Request) (any, error) {
	id := identity(r)
	return atHome[*messages.Summary](r, h, &messages.InspectActor{Kind: id.Kind, Id: id.ID})
}

// stopActor puts an actor to rest; the next message to it wakes it again.
func (h handler) stopActor(r *http.Request) (any, error) {
	id := identity(r)
	return atHome[*messages.Done](r, h, &messages.StopActor{Kind: id.Kind, Id: id.ID})
}

// moveActor has an actor live on the node ?to=, or where the hash puts it when that is empty.
func (h handler) moveActor(r *http.Request) (any, error) {
	id := identity(r)
	if id.Kind == cluster.KindNode {
		return nil, mxerr.InvalidParam("a node lives where it is")
	}
	return atHome[*messages.Done](r, h, &messages.MoveActor{Kind: id.Kind, Id: id.ID, To: r.URL.Query().Get("to")})
}

func (h handler) status(r *http.Request) (any, error) {
	found, errs := everyNode[*messages.NodeStatus](r.Context(), h, h.Node.Members(), &messages.DescribeNode{})
	nodes := []Status{}
	for _, s := range found {
		nodes = append(nodes, Status{Node: s.Name, Version: s.Version, Address: s.Address, StartedTS: s.StartedTs, Position: s.Position,
			Actors: s.Actors, Load: s.Load, Draining: s.Draining, Trouble: s.Trouble})
	}
	for name, err := range errs {
		nodes = append(nodes, Status{Node: name, Trouble: "it does not answer: " + err.Error()})
	}
	slices.SortFunc(nodes, func(a, b Status) int { return cmp.Compare(a.Node, b.Node) })
	return map[string]any{"nodes": nodes}, nil
}

// drainNode has a node give away what lives on it (?draining=true), or take actors again.
func (h handler) drainNode(r *http.Request) (any, error) {
	m := h.Node.Membership()
	if m == nil {
		return nil, mxerr.InvalidParam("this node is alone: there is nowhere to move to")
	}
	name := r.PathValue("node")
	if _, ok := m.View().Member(name); !ok {
		return nil, mxerr.NotFound("there is no node %q", name)
	}
	draining, err := strconv.ParseBool(cmp.Or(r.URL.Query().Get("draining"), "true"))
	if err != nil {
		return nil, mxerr.InvalidParam("draining is true or false")
	}
	return map[string]any{}, m.Drain(r.Context(), name, draining)
}
