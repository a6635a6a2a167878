package cluster

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/matrixon/matrixon/messages"
)

// The service by which nodes speak to each other. Its two calls are described by hand: they need no generated code.
const (
	peerService = "matrixon.Peer"
	callTalk    = "Talk"
	callLook    = "/" + peerService + "/Look"
)

// maxPeerMessage bounds one message between nodes, in bytes. What is larger goes through the store. maxPeerFrame is the bound of what
// is sent in one piece.
const (
	maxPeerMessage = 32 << 20
	maxPeerFrame   = maxPeerMessage + framePayload + 1<<20
)

// A peer that does not answer a ping within peerSilence has its connection closed. gRPC sends no pings more often.
const (
	peerPing    = 10 * time.Second
	peerSilence = 3 * time.Second
)

// peerWindow is how much one peer may have sent that was not read yet, in bytes.
const peerWindow = 4 << 20

// peerServer answers other nodes.
type peerServer struct {
	node *Node
	look func() *messages.PeerView
	grpc *grpc.Server
}

func servePeers(n *Node, ln net.Listener, creds credentials.TransportCredentials, look func() *messages.PeerView, log *slog.Logger) *peerServer {
	p := &peerServer{node: n, look: look}
	p.grpc = grpc.NewServer(grpc.Creds(creds), grpc.MaxRecvMsgSize(maxPeerFrame), grpc.MaxSendMsgSize(maxPeerFrame),
		grpc.StaticStreamWindowSize(peerWindow), grpc.StaticConnWindowSize(peerWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: peerPing, Timeout: peerSilence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: peerPing / 2, PermitWithoutStream: true}))
	p.grpc.RegisterService(&grpc.ServiceDesc{ServiceName: peerService, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Look", Handler: unary(func(context.Context, *messages.PeerLook) (*messages.PeerView, error) { return p.look(), nil })},
	}, Streams: []grpc.StreamDesc{{StreamName: callTalk, Handler: p.talk, ServerStreams: true, ClientStreams: true}}}, p)
	go func() {
		if err := p.grpc.Serve(ln); err != nil {
			log.Error("the address for other nodes is not served any more", "error", err)
		}
	}()
	return p
}

// unary adapts a function to what gRPC calls.
func unary[Req, Ans any](f func(context.Context, *Req) (*Ans, error)) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := decode(req); err != nil {
			return nil, err
		}
		return f(ctx, req)
	}
}

// talk answers what one peer asks over one stream.
func (p *peerServer) talk(_ any, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	t := &listener{node: p.node, asked: map[uint64]*call{}, work: make(chan struct{}, 1)}
	var answering sync.WaitGroup
	answering.Go(func() {
		defer cancel()
		t.answer(ctx, stream)
	})
	defer answering.Wait()
	defer cancel()
	defer t.end()
	for {
		frame := new(messages.PeerRequests)
		if err := stream.RecvMsg(frame); err != nil {
			return err
		}
		for _, r := range frame.Requests {
			t.take(r)
		}
		t.abandon(frame.Abandoned...)
	}
}
