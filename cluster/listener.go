package cluster

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

// listener is the other end of a link: it hands what one peer asks to the actors of this node, and sends back their answers as they
// come. Nothing waits on a goroutine of its own, since a node may ask for many thousand syncs.
type listener struct {
	node *Node

	mu      sync.Mutex
	asked   map[uint64]*call // that have no answer yet
	answers []numbered
	work    chan struct{} // of capacity one: there are answers
}

type numbered struct {
	number uint64
	answer proto.Message
}

// take hands a message to an actor of this node. It is refused with Retry when the actor does not live here: whoever asked
// finds out where it does.
func (l *listener) take(r *messages.PeerRequest) {
	to := Identity{Kind: r.Kind, ID: r.Id}
	k := l.node.kind(to.Kind)
	message, err := r.Message.UnmarshalNew()
	switch {
	case k == nil:
		err = unknownKind(to)
	case err != nil:
		err = errors.New("a message that this version does not know: " + r.Message.GetTypeUrl())
	}
	if r.Number == 0 {
		if err == nil {
			err = l.node.deliver(k, to, &envelope{body: message})
		}
		if err != nil && k != nil {
			k.metrics.dropped.Inc()
		}
		return
	}
	c := newCall()
	c.done = func(answer proto.Message) { l.answered(r.Number, answer) }
	if err == nil {
		l.mu.Lock()
		l.asked[r.Number] = c
		l.mu.Unlock()
		err = l.node.deliver(k, to, &envelope{body: message, call: c})
	}
	if err != nil {
		c.settle(FailureOf(err))
	}
}

func (l *listener) answered(number uint64, answer proto.Message) {
	l.mu.Lock()
	delete(l.asked, number)
	l.answers = append(l.answers, numbered{number, answer})
	l.mu.Unlock()
	select {
	case l.work <- struct{}{}:
	default:
	}
}

// abandon says that nobody waits any more for the answers to these requests.
func (l *listener) abandon(numbers ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		if c := l.asked[n]; c != nil {
			c.abandon()
			delete(l.asked, n)
		}
	}
}

// end abandons everything: the peer is gone.
func (l *listener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.asked {
		c.abandon()
	}
	l.asked, l.answers = nil, nil
}

// answer sends the answers until the stream breaks.
func (l *listener) answer(ctx context.Context, stream grpc.ServerStream) {
	for {
		select {
		case <-l.work:
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // what is about to be answered may come along
		l.mu.Lock()
		answers := l.answers
		l.answers = nil
		l.mu.Unlock()
		frame, size := new(messages.PeerAnswers), 0
		for i, a := range answers {
			packed, err := pack(a.answer)
			if err != nil {
				packed, err = pack(FailureOf(err))
			}
			if err != nil {
				return // a failure can always be packed
			}
			if size += len(packed.Value); size > framePayload && len(frame.Answers) > 0 {
				if err := stream.SendMsg(frame); err != nil {
					return
				}
				frame, size = new(messages.PeerAnswers), len(packed.Value)
			}
			frame.Answers = append(frame.Answers, &messages.PeerAnswer{Number: a.number, Message: packed})
			answers[i].answer = nil
		}
		if err := stream.SendMsg(frame); err != nil {
			return
		}
	}
}
