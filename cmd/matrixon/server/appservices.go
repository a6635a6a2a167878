package server

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/appservice"
	"github.com/matrixon/matrixon/cluster"
	httpappservice "github.com/matrixon/matrixon/http/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"

	registered "github.com/matrixon/matrixon/matrix/appservice"
)

// appservices are what belongs to application services.
type appservices struct {
	set      atomic.Pointer[registered.Set] // those registered now; Reload may exchange them
	services *httpappservice.Services
	board    *appservice.Board
	link     *httpappservice.Link
}

// appserviceHandlers are what their own users' actors do.
var appserviceHandlers = appservice.Handlers()

// appserviceBound is how much may wait in the actor of an application service: what it is asked is to look, and look again.
const appserviceBound = 64

// registrations are the application services as they are registered now.
func (s *Server) registrations() *registered.Set { return s.appservices.set.Load() }

// startAppservices makes what application services need: what is told of commits, whom the endpoints ask, and the kind of their actors.
func (s *Server) startAppservices() cluster.Kind {
	a := &s.appservices
	a.board = appservice.NewBoard()
	s.metrics.MustRegister(a.board)
	a.link = httpappservice.NewLink(s.version)
	a.services = httpappservice.New(httpappservice.Options{Set: s.registrations, Store: s.store, Caller: s.node, Link: a.link, Log: s.log})
	return cluster.Kind{Name: cluster.KindAppservice, Bound: appserviceBound, New: appservice.New(appservice.Deps{
		Store: s.store, Reader: s.reader, Board: a.board, Set: s.registrations, Introduce: a.services.Introduce, Send: a.link.Send, Now: time.Now, Log: s.log})}
}

// recorder is the store of the actors whose commits application services may want to know of.
func (s *Server) recorder() persistence.Store {
	return &appservice.Recorder{Store: s.store, Set: s.registrations}
}

// told hands on what a commit brought.
func (s *Server) told(pos persistence.Position, notices []proto.Message) {
	s.hub.Publish(pos, notices)
	s.appservices.board.Publish(pos, notices)
	if s.dispatcher != nil {
		s.dispatcher.Publish(pos, notices)
	}
	s.pushes.Publish(pos, notices)
}

// typing hands on to this node's actors who is typing.
func (s *Server) typing(n *messages.RoomNotice) {
	if n.TypingChanged {
		s.hub.Room(n)
		s.appservices.board.Typing(n)
	}
	if s.dispatcher != nil {
		s.dispatcher.Typing(n)
	}
}

// tendAppservices has the actors live where they should, until the context ends.
func (s *Server) tendAppservices(ctx context.Context) {
	keeper := &appservice.Keeper{Store: s.store, Caller: s.node, Board: s.appservices.board, Set: s.registrations, Now: time.Now, Log: s.log,
		Mine: func(id cluster.Identity) bool { return s.node.Owner(id) == s.node.Name() }}
	keeper.Run(ctx)
}

// reregister goes on with other registrations, and has what waits after a failure tried again at once.
func (s *Server) reregister(set *registered.Set) {
	s.appservices.set.Store(set)
	for _, r := range set.All() {
		s.appservices.services.Wake(r, true)
	}
}
