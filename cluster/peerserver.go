package cluster

import (
	"context"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/matrixon/matrixon/messages"
)

// The service by which nodes speak to each other. Its two calls are described by hand: they need no generated code.
const (
	peerService = "matrixon.Peer"
	callAsk     = "/" + peerService + "/Ask"
	callLook    = "/" + peerService + "/Look"
)

// maxPeerMessage bounds one message between nodes, in bytes. What is larger goes through the store.
const maxPeerMessage = 32 << 20

// A peer that does not answer a ping within peerSilence has its connection closed. gRPC sends no pings more often.
const (
	peerPing    = 10 * time.Second
	peerSilence = 3 * time.Second
)

// peerWorkers answer what peers ask; when all of them wait, further questions get a goroutine of their own, whose stack has to grow
// first. peerWindow is how much one peer may have sent that was not read yet, in bytes.
const (
	peerWorkers = 64
	peerWindow  = 4 << 20
)

// peerServer answers other nodes.
type peerServer struct {
	node *Node
	look func() *messages.PeerView
	grpc *grpc.Server
}

func servePeers(n *Node, ln net.Listener, creds credentials.TransportCredentials, look func() *messages.PeerView, log *slog.Logger) *peerServer {
	p := &peerServer{node: n, look: look}
	p.grpc = grpc.NewServer(grpc.Creds(creds), grpc.MaxRecvMsgSize(maxPeerMessage), grpc.MaxSendMsgSize(maxPeerMessage),
		grpc.NumStreamWorkers(peerWorkers), grpc.StaticStreamWindowSize(peerWindow), grpc.StaticConnWindowSize(peerWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: peerPing, Timeout: peerSilence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: peerPing / 2, PermitWithoutStream: true}))
	p.grpc.RegisterService(&grpc.ServiceDesc{ServiceName: peerService, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Ask", Handler: unary(p.ask)},
		{MethodName: "Look", Handler: unary(func(context.Context, *messages.PeerLook) (*messages.PeerView, error) { return p.look(), nil })},
	}}, p)
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

// ask hands a message to an actor of this node. It is refused with Retry when the actor does not live here: whoever asked
// finds out where it does.
func (p *peerServer) ask(ctx context.Context, r *messages.PeerRequest) (*messages.PeerAnswer, error) {
	n := p.node
	to := Identity{Kind: r.Kind, ID: r.Id}
	k := n.kind(to.Kind)
	if k == nil {
		return nil, status.Error(codes.Unimplemented, "there are no actors of kind "+to.Kind)
	}
	message, err := r.Message.UnmarshalNew()
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "a message that this version does not know: "+r.Message.GetTypeUrl())
	}
	if r.Tell {
		if err := n.deliver(k, to, &envelope{body: message}); err != nil {
			k.metrics.dropped.Inc()
		}
		return &messages.PeerAnswer{}, nil
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = otel.GetTextMapPropagator().Extract(ctx, carrier(md))
	}
	answer, err := n.attemptHere(ctx, k, to, message)
	if err != nil {
		answer = FailureOf(err)
	}
	return peerAnswer(answer)
}

func peerAnswer(answer proto.Message) (*messages.PeerAnswer, error) {
	packed, err := anypb.New(answer)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &messages.PeerAnswer{Message: packed}, nil
}

// carrier lets traces travel in gRPC's metadata.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if values := metadata.MD(c).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() []string {
	var keys []string
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
