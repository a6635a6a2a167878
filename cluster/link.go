package cluster

import (
	"context"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

// framePayload is about how much is sent in one piece, in bytes; one larger message goes alone.
const framePayload = 256 << 10

// link carries what a node asks of one peer. All of it goes over one long stream, as many messages in a piece as there are: a call of
// gRPC's own for each request costs several times as much as the request. The stream is opened when it is first needed, and again
// after it broke.
type link struct {
	ctx  context.Context //nolint:containedctx // ends with the peer
	conn *grpc.ClientConn

	mu   sync.Mutex
	talk *talk // the open stream; nil if there is none
}

// talk is one stream and what is under way on it. Guarded by link.mu.
type talk struct {
	last      uint64 // the number of the last request
	pending   map[uint64]*call
	queue     []*messages.PeerRequest
	tells     int // in queue
	abandoned []uint64
	work      chan struct{} // of capacity one: there is something to send
}

func newLink(ctx context.Context, conn *grpc.ClientConn) *link { return &link{ctx: ctx, conn: conn} }

// ask sends the request and answers the call with what the peer answers, or with Retry when the stream breaks before. The function that it
// gives tells the peer that nobody waits any more.
func (l *link) ask(c *call, r *messages.PeerRequest) (abandon func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open()
	t.last++
	r.Number = t.last
	t.pending[r.Number] = c
	t.queue = append(t.queue, r)
	t.wake()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := t.pending[r.Number]; ok {
			delete(t.pending, r.Number)
			t.abandoned = append(t.abandoned, r.Number)
			t.wake()
		}
	}
}

// tell sends what nobody waits for, unless too much of it waits already.
func (l *link) tell(r *messages.PeerRequest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open()
	if t.tells >= peerTells {
		return false
	}
	t.tells++
	t.queue = append(t.queue, r)
	t.wake()
	return true
}

// open gives the stream, which is opened if there is none. Called with the lock.
func (l *link) open() *talk {
	if l.talk == nil {
		l.talk = &talk{pending: map[uint64]*call{}, work: make(chan struct{}, 1)}
		go l.run(l.talk)
	}
	return l.talk
}

func (t *talk) wake() {
	select {
	case t.work <- struct{}{}:
	default:
	}
}

// run sends until the stream breaks.
func (l *link) run(t *talk) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer l.broken(t)
	defer cancel()
	stream, err := l.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: callTalk, ServerStreams: true, ClientStreams: true}, "/"+peerService+"/"+callTalk)
	if err != nil {
		return
	}
	go func() {
		defer cancel()
		l.hear(t, stream)
	}()
	for {
		select {
		case <-t.work:
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // whoever is about to ask may come along
		for frame := l.frame(t); frame != nil; frame = l.frame(t) {
			if err := stream.SendMsg(frame); err != nil {
				return
			}
		}
	}
}

// frame takes what is sent next, nil when there is nothing.
func (l *link) frame(t *talk) *messages.PeerRequests {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(t.queue) == 0 && len(t.abandoned) == 0 {
		return nil
	}
	n, size := 0, 0
	for _, r := range t.queue {
		if size += len(r.Message.Value); n > 0 && size > framePayload {
			break
		}
		if n++; r.Number == 0 {
			t.tells--
		}
	}
	frame := &messages.PeerRequests{Requests: t.queue[:n:n], Abandoned: t.abandoned}
	if t.queue, t.abandoned = t.queue[n:], nil; len(t.queue) == 0 {
		t.queue = nil
	}
	return frame
}

// hear hands out the answers until the stream breaks.
func (l *link) hear(t *talk, stream grpc.ClientStream) {
	for {
		answers := new(messages.PeerAnswers)
		if err := stream.RecvMsg(answers); err != nil {
			return
		}
		for _, a := range answers.Answers {
			l.mu.Lock()
			c := t.pending[a.Number]
			delete(t.pending, a.Number)
			l.mu.Unlock()
			if c != nil {
				c.settle(unpack(a))
			}
		}
	}
}

func unpack(a *messages.PeerAnswer) proto.Message {
	answer, err := a.Message.UnmarshalNew()
	if err != nil {
		return FailureOf(err)
	}
	return answer
}

// broken has everybody who waits ask again.
func (l *link) broken(t *talk) {
	l.mu.Lock()
	if l.talk == t {
		l.talk = nil
	}
	pending := t.pending
	t.pending, t.queue = nil, nil
	l.mu.Unlock()
	for _, c := range pending {
		c.settle(FailureOf(Retry()))
	}
}
