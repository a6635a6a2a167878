package cluster

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// The bounds of what may be under way to one peer.
const (
	peerAsks  = 200_000 // every sync that waits for a user of the peer is one
	peerTells = 4096
)

// tellTimeout is how long what nobody waits for may take to arrive.
const tellTimeout = 5 * time.Second

// peers are the connections of a node to the other members.
type peers struct {
	creds credentials.TransportCredentials

	mu     sync.Mutex
	byName map[string]*peer
}

// peer is one other member, in one incarnation.
type peer struct {
	member Member
	conn   *grpc.ClientConn
	asks   chan struct{}
	tells  chan struct{}
	// gone ends when the member is no longer seen: what waits for it is then asked elsewhere.
	gone   context.Context
	forget context.CancelFunc
}

func newPeers(creds credentials.TransportCredentials) *peers {
	return &peers{creds: creds, byName: map[string]*peer{}}
}

// update forgets members that have gone or come back as another process, and knows new ones. Connections are made when
// they are first used.
func (p *peers) update(v *View, self string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, old := range p.byName {
		if m, ok := v.Member(name); !ok || m.Incarnation != old.member.Incarnation || m.Address != old.member.Address {
			old.close()
			delete(p.byName, name)
		}
	}
	for _, m := range v.Members() {
		if m.Name == self || p.byName[m.Name] != nil {
			continue
		}
		known, err := p.connect(m)
		if err != nil {
			return err
		}
		p.byName[m.Name] = known
	}
	return nil
}

func (p *peers) connect(m Member) (*peer, error) {
	conn, err := grpc.NewClient("passthrough:///"+m.Address, grpc.WithTransportCredentials(p.creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: peerPing, Timeout: peerSilence, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.3, MaxDelay: time.Second}}),
		grpc.WithStaticStreamWindowSize(peerWindow), grpc.WithStaticConnWindowSize(peerWindow), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPeerMessage), grpc.MaxCallSendMsgSize(maxPeerMessage)))
	if err != nil {
		return nil, err
	}
	known := &peer{member: m, conn: conn, asks: make(chan struct{}, peerAsks), tells: make(chan struct{}, peerTells)}
	known.gone, known.forget = context.WithCancel(context.Background())
	return known, nil
}

func (p *peer) close() {
	p.forget()
	p.conn.Close() //nolint:errcheck // it only ever says that it was closed before
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, known := range p.byName {
		known.close()
		delete(p.byName, name)
	}
}

func (p *peers) peer(name string) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byName[name]
}

// ask sends a request to an actor on another member. It is Retry when the member is not there, or goes away before it has
// answered; then nobody knows whether the request was carried out, so requests can be repeated.
func (p *peers) ask(ctx context.Context, owner string, to Identity, request proto.Message) (proto.Message, error) {
	known := p.peer(owner)
	if known == nil {
		return nil, Retry()
	}
	select {
	case known.asks <- struct{}{}:
		defer func() { <-known.asks }()
	default:
		return nil, mxerr.LimitExceeded(retryAfter)
	}
	packed, err := anypb.New(request)
	if err != nil {
		return nil, err
	}
	md := metadata.MD{}
	otel.GetTextMapPropagator().Inject(ctx, carrier(md))
	call, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, md))
	defer cancel()
	defer context.AfterFunc(known.gone, cancel)()
	answer := new(messages.PeerAnswer)
	err = known.conn.Invoke(call, callAsk, &messages.PeerRequest{Kind: to.Kind, Id: to.ID, Message: packed}, answer)
	if err != nil {
		return nil, askError(ctx, err)
	}
	message, err := answer.Message.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	if f, ok := message.(*messages.Failure); ok {
		return nil, ErrorOf(f)
	}
	return message, nil
}

func askError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errDeadline()
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return Retry()
	default:
		return err
	}
}

// tell sends a message for whose arrival nobody waits; when too many are under way it is dropped.
func (p *peers) tell(owner string, to Identity, message proto.Message) bool {
	known := p.peer(owner)
	if known == nil {
		return false
	}
	select {
	case known.tells <- struct{}{}:
	default:
		return false
	}
	go func() {
		defer func() { <-known.tells }()
		packed, err := anypb.New(message)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(known.gone, tellTimeout)
		defer cancel()
		// What is told may be lost.
		_ = known.conn.Invoke(ctx, callAsk, &messages.PeerRequest{Kind: to.Kind, Id: to.ID, Message: packed, Tell: true}, new(messages.PeerAnswer))
	}()
	return true
}

// look asks a member how it sees the cluster.
func (p *peers) look(ctx context.Context, name string) (*messages.PeerView, error) {
	known := p.peer(name)
	if known == nil {
		return nil, Retry()
	}
	v := new(messages.PeerView)
	return v, known.conn.Invoke(ctx, callLook, &messages.PeerLook{}, v)
}
