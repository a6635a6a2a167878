// Package cluster runs virtual actors: it finds them by identity, activates them when they are first spoken to,
// bounds what waits in them, puts the idle to rest, and shows what each one does. protoactor-go stands behind it.
package cluster

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

// Identity names a virtual actor: a kind and an id that is unique within it, for example {"room", "!abc"}.
type Identity struct{ Kind, ID string }

// The kinds of actors.
const (
	KindRoom = "room"
	KindUser = "user"
	// KindPush delivers push notifications of a user.
	KindPush = "push"
	// KindAppservice is an application service, by the id in its registration.
	KindAppservice = "appservice"
	// KindDestination is another server, by its name: what is sent to it.
	KindDestination = "destination"
	// KindNode is a node itself, by its name: it always lives there.
	KindNode = "node"
)

// Kind describes how the actors of one kind are made and kept.
type Kind struct {
	Name string
	// New makes the behaviour of one activation. It must not block.
	New func(Identity) Behavior
	// Bound is how many messages may wait in one actor, those handled beside it included while unanswered;
	// beyond it the sender gets 429 M_LIMIT_EXCEEDED.
	Bound int
	// Notices is how many messages of TellActive may wait in one actor, apart from Bound; 0 means 16 times Bound.
	// Beyond it the activation ends: it would go on with a hole in what it was told, while the next one reads the store.
	Notices int
	// IdleAfter is how long an actor that says Idle stays in memory after it was last asked or told something
	// (its own messages and those of TellActive do not count); 0 keeps it for ever.
	IdleAfter time.Duration
}

// Behavior is what an actor does. Its methods but Load run one at a time on the actor's mailbox and never wait: not for disk,
// not for the network, not for another actor. Slow work runs in a goroutine and comes back through Self.Send.
type Behavior interface {
	// Load prepares a new activation: claims its stream, reads its snapshot. It runs beside the mailbox and may block;
	// messages wait (bounded) until it is done. When it fails, they get the error and the activation is discarded
	// without a call of Stopping: Load undoes what it did. Its context ends when the activation is to stop meanwhile.
	Load(ctx context.Context, self Self) error
	// Receive handles one message: from outside (m.Body is a proto.Message) or from the actor itself (any type).
	// A message is shared with its sender and must not be changed. A panic ends the activation: who waits gets a 500.
	Receive(m Message)
	// Idle reports whether the actor may be put to rest: nothing pending, nobody waiting.
	Idle() bool
	// Stopping says that this is the last call; what still waits for an answer must be answered: with Retry when it may
	// be asked again of the next activation. What is left unanswered gets Retry after a planned stop, else the error.
	Stopping()
	// Inspect adds what matters for the kind to the summary; the identity, counts and times are filled in already.
	Inspect(*messages.Summary)
}

// Drainer is a Behavior that has something to finish before a planned stop, such as a commit in flight.
type Drainer interface {
	// Drain is called once, on the mailbox: nothing more comes from outside; finish what has begun and answer those who
	// merely wait. Stopping follows when Idle says so, or when the node's grace is over.
	Drain()
}

// Self is how a behaviour reaches its own activation. Its methods may be called from any goroutine.
type Self interface {
	Identity() Identity
	// Send puts a message into the actor's own mailbox, outside the bound. It is dropped after the activation has ended.
	Send(body any)
	// After sends the message to the actor itself after d, unless cancelled or the activation has ended. When cancel is
	// called on the mailbox, the message does not come any more, even if d has passed.
	After(d time.Duration, body any) (cancel func())
	// Stop ends the activation as soon as the current message is handled; err is kept as its last error (nil when it is planned).
	// The next message activates the actor anew.
	Stop(err error)
	// Context is cancelled when the activation ends.
	Context() context.Context
}

// Message is one message in Receive.
type Message struct {
	Body  any
	reply func(proto.Message)
}

// NewMessage is a message whose answer goes to reply (nil: nobody waits).
func NewMessage(body any, reply func(proto.Message)) Message { return Message{body, reply} }

// Reply answers the sender, once; it may be called later and from any goroutine. A *messages.Failure refuses.
func (m Message) Reply(answer proto.Message) {
	if m.reply != nil {
		m.reply(answer)
	}
}

// Fail refuses with the specification's error, or a 500 for errors that are not *mxerr.Error.
func (m Message) Fail(err error) { m.Reply(FailureOf(err)) }

// Caller asks and tells actors wherever they are.
type Caller interface {
	// Ask sends a request and waits for the answer, activating the actor if need be. A Failure comes back as *mxerr.Error;
	// so do an overload (429 M_LIMIT_EXCEEDED) and a deadline (504 M_UNKNOWN).
	Ask(ctx context.Context, to Identity, request proto.Message) (proto.Message, error)
	// Tell sends without waiting, activating the actor if need be. Delivery is at most once.
	Tell(to Identity, message proto.Message)
	// TellActive is Tell to an actor that is active on this node (or loading); it reports whether there is one. It never
	// blocks, and what one goroutine tells an actor arrives in that order.
	TellActive(to Identity, message proto.Message) bool
}

// Ask is Caller.Ask with the answer's type.
func Ask[A proto.Message](ctx context.Context, c Caller, to Identity, request proto.Message) (A, error) {
	var zero A
	answer, err := c.Ask(ctx, to, request)
	if err != nil {
		return zero, err
	}
	a, ok := answer.(A)
	if !ok {
		return zero, unexpectedAnswer(to, request, answer)
	}
	return a, nil
}
