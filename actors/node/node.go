// Package node is the actor that speaks for a node of the cluster: it passes on what other nodes tell this one, and shows
// operators what lives here.
package node

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
)

// Deps are what the actor needs of its node.
type Deps struct {
	Node *cluster.Node
	// Typing takes in who is typing in a room that lives elsewhere.
	Typing func(*messages.RoomNotice)
	// Limit counts actions of those whose actions are counted here.
	Limit    func(limit, key string, n int) error
	Position func() persistence.Position
	Version  string
	Address  string
	Started  time.Time
}

// requestTimeout bounds what an operator may have the node do.
const requestTimeout = 30 * time.Second

// New gives the behaviour of the node's actor.
func New(d Deps) func(cluster.Identity) cluster.Behavior {
	return func(cluster.Identity) cluster.Behavior { return &actor{deps: d} }
}

type actor struct {
	deps Deps
	self cluster.Self
}

// Load implements cluster.Behavior.
func (a *actor) Load(_ context.Context, self cluster.Self) error {
	a.self = self
	return nil
}

// Receive implements cluster.Behavior. What takes time runs beside the mailbox.
func (a *actor) Receive(m cluster.Message) {
	switch body := m.Body.(type) {
	case *messages.RoomNotice:
		a.deps.Typing(body)
	case *messages.TakeLimit:
		if err := a.deps.Limit(body.Limit, body.Key, int(body.N)); err != nil {
			m.Fail(err)
			return
		}
		m.Reply(&messages.Done{})
	case *messages.ListActors:
		a.beside(m, func(context.Context) (proto.Message, error) { return a.list(body) })
	case *messages.DescribeNode:
		a.beside(m, func(context.Context) (proto.Message, error) { return a.describe(), nil })
	case *messages.InspectActor:
		a.beside(m, func(ctx context.Context) (proto.Message, error) {
			return a.deps.Node.Inspect(ctx, cluster.Identity{Kind: body.Kind, ID: body.Id})
		})
	case *messages.ListFailures:
		m.Reply(a.failures(cluster.Identity{Kind: body.Kind, ID: body.Id}))
	case *messages.StopActor:
		a.beside(m, func(ctx context.Context) (proto.Message, error) {
			return a.stop(ctx, cluster.Identity{Kind: body.Kind, ID: body.Id})
		})
	case *messages.MoveActor:
		a.beside(m, func(ctx context.Context) (proto.Message, error) { return a.move(ctx, body) })
	default:
		m.Fail(mxerr.Unknown("a node knows no %T", body))
	}
}

func (a *actor) beside(m cluster.Message, f func(context.Context) (proto.Message, error)) {
	go func() {
		ctx, cancel := context.WithTimeout(a.self.Context(), requestTimeout)
		defer cancel()
		answer, err := f(ctx)
		if err != nil {
			m.Fail(err)
			return
		}
		m.Reply(answer)
	}()
}

// orders are the ways to sort a list of actors.
var orders = map[string]func(a, b cluster.Info) int{
	"": cluster.ByLoad, "mailbox": cluster.ByDepth, "rate": cluster.ByRate, "load": cluster.ByLoad, "messages": cluster.ByHandled, "recent": cluster.ByLastAt,
}

func (a *actor) list(req *messages.ListActors) (*messages.ActorList, error) {
	order, ok := orders[req.Sort]
	if !ok {
		return nil, mxerr.InvalidParam("actors can be sorted by mailbox, rate, load, messages or recent, not by %q", req.Sort)
	}
	f := cluster.Filter{Kind: req.Kind, Order: order, Limit: int(req.Limit), Match: func(i cluster.Info) bool {
		return i.Kind != cluster.KindNode && strings.Contains(i.ID, req.Match)
	}}
	list := &messages.ActorList{}
	for _, i := range a.deps.Node.Actors(f) {
		info := &messages.ActorInfo{Kind: i.Kind, Id: i.ID, State: i.State, ActivatedTs: i.ActivatedAt.UnixMilli(), MessagesHandled: i.Handled,
			MailboxDepth: int64(i.Depth), Rate: i.Rate, Load: i.Load(), LastMessage: i.LastMessage, LastError: i.LastError, Node: a.deps.Node.Name()}
		if !i.LastAt.IsZero() {
			info.LastMessageTs = i.LastAt.UnixMilli()
		}
		list.Actors = append(list.Actors, info)
	}
	return list, nil
}

func (a *actor) describe() *messages.NodeStatus {
	s := &messages.NodeStatus{Name: a.deps.Node.Name(), Version: a.deps.Version, Address: a.deps.Address, StartedTs: a.deps.Started.UnixMilli(),
		Position: uint64(a.deps.Position()), Actors: map[string]int64{cluster.KindRoom: 0, cluster.KindUser: 0}}
	for _, i := range a.deps.Node.Actors(cluster.Filter{}) {
		if i.Kind != cluster.KindNode {
			s.Actors[i.Kind]++
			s.Load += i.Load()
		}
	}
	if m := a.deps.Node.Membership(); m != nil {
		if self, ok := m.View().Member(s.Name); ok {
			s.Draining = self.Draining
		}
		if err := m.Serving(); err != nil {
			s.Trouble = err.Error()
		}
	}
	return s
}

func (a *actor) failures(id cluster.Identity) *messages.FailureList {
	list := &messages.FailureList{}
	for _, f := range a.deps.Node.Failures(id) {
		list.Failures = append(list.Failures, &messages.ActorFailure{Ts: f.At.UnixMilli(), Error: f.Text, Node: a.deps.Node.Name()})
	}
	return list
}

// stop puts the actor to rest; its next message wakes it again.
func (a *actor) stop(ctx context.Context, id cluster.Identity) (proto.Message, error) {
	if _, err := a.deps.Node.Inspect(ctx, id); err != nil {
		return nil, err
	}
	return &messages.Done{}, a.deps.Node.Deactivate(ctx, id)
}

func (a *actor) move(ctx context.Context, req *messages.MoveActor) (proto.Message, error) {
	m := a.deps.Node.Membership()
	if m == nil {
		return nil, mxerr.InvalidParam("this node is alone: there is nowhere to move to")
	}
	if to, ok := m.View().Member(req.To); req.To != "" && (!ok || to.Draining) {
		return nil, mxerr.NotFound("there is no node %q that takes actors", req.To)
	}
	return &messages.Done{}, m.Move(ctx, cluster.Identity{Kind: req.Kind, ID: req.Id},
		cluster.Override{Member: req.To, Pinned: req.To != "" && !req.Unpinned})
}

// Idle implements cluster.Behavior. The kind is registered without a time of rest.
func (a *actor) Idle() bool { return true }

// Stopping implements cluster.Behavior.
func (a *actor) Stopping() {}

// Inspect implements cluster.Behavior.
func (a *actor) Inspect(*messages.Summary) {}
