package cluster

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// The bounds of what may be under way to one peer.
const (
	peerAsks  = 200_000 // every sync that waits for a user of the peer is one
	peerTells = 4096    // that wait to be sent
)

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
	link   *link
	asks   chan struct{}
	// forget ends the link when the member is no longer seen: what waits for it is then asked elsewhere.
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
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPeerFrame), grpc.MaxCallSendMsgSize(maxPeerFrame)))
	if err != nil {
		return nil, err
	}
	gone, forget := context.WithCancel(context.Background())
	return &peer{member: m, conn: conn, link: newLink(gone, conn), asks: make(chan struct{}, peerAsks), forget: forget}, nil
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
	packed, err := pack(request)
	if err != nil {
		return nil, err
	}
	c := newCall()
	abandon := known.link.ask(c, &messages.PeerRequest{Kind: to.Kind, Id: to.ID, Message: packed})
	answer, err := c.wait(ctx)
	if c.state.Load() == callAbandoned {
		abandon()
	}
	return answer, err
}

// tell sends a message for whose arrival nobody waits; when too many wait to be sent it is dropped.
func (p *peers) tell(owner string, to Identity, message proto.Message) bool {
	known := p.peer(owner)
	if known == nil {
		return false
	}
	packed, err := pack(message)
	return err == nil && known.link.tell(&messages.PeerRequest{Kind: to.Kind, Id: to.ID, Message: packed})
}

// pack encodes a message for another node.
func pack(m proto.Message) (*anypb.Any, error) {
	packed, err := anypb.New(m)
	if err == nil && len(packed.Value) > maxPeerMessage {
		err = fmt.Errorf("a %s of %d bytes is too large for another node", messageName(reflect.TypeOf(m)), len(packed.Value))
	}
	return packed, err
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
