package cluster

import (
	"sync/atomic"

	"google.golang.org/protobuf/proto"
)

// The states of a call.
const (
	callWaiting int32 = iota
	callAnswered
	callAbandoned // the caller's time was out; the actor may still be at it
)

// call is one Ask that waits for its answer. It is answered at most once, whoever tries.
type call struct {
	answer    chan proto.Message  // of capacity one, so that answering never blocks
	done      func(proto.Message) // takes the answer in place of the channel, if it is set; it must not block
	state     atomic.Int32
	unbounded bool // an operator's, that takes no place under the bound

	// Guarded by owner.mu, where owner is the activation that began to handle it; calls begun and unanswered form a list.
	owner      *activation
	prev, next *call
	linked     bool
}

func newCall() *call { return &call{answer: make(chan proto.Message, 1)} }

// reply answers the call and gives its place in the actor free.
func (c *call) reply(answer proto.Message) {
	if c.settle(answer) || c.state.CompareAndSwap(callAbandoned, callAnswered) {
		c.owner.answered(c)
	}
}

// settle answers the call if it still waits.
func (c *call) settle(answer proto.Message) bool {
	if !c.state.CompareAndSwap(callWaiting, callAnswered) {
		return false
	}
	if c.done != nil {
		c.done(answer)
	} else {
		c.answer <- answer
	}
	return true
}

// abandon says that nobody waits any more; it reports false when the answer is there.
func (c *call) abandon() bool { return c.state.CompareAndSwap(callWaiting, callAbandoned) }

// source says where an envelope comes from, and so which bound it falls under.
type source uint8

const (
	fromOutside  source = iota // Ask and Tell: bounded, keeps the actor awake, survives a stop that it did not see
	fromNode                   // TellActive: bounded apart, dropped at a stop
	fromSelf                   // the actor itself: unbounded, dropped at a stop
	fromOperator               // inspection: unbounded, refused at a stop
)

// envelope is a message in a mailbox.
type envelope struct {
	body   any
	call   *call  // nil: nobody waits
	timer  *timer // of Self.After
	source source
}

// abandoned reports whether its caller does not wait any more, so that it need not be begun.
func (e *envelope) abandoned() bool { return e.call != nil && e.call.state.Load() == callAbandoned }

// refuse answers whoever waits with the failure.
func (e *envelope) refuse(err error) {
	if e.call != nil {
		e.call.settle(FailureOf(err))
	}
}

// callList is the calls that an activation has begun and not answered.
type callList struct{ first *call }

func (l *callList) add(c *call) {
	c.linked, c.prev, c.next = true, nil, l.first
	if l.first != nil {
		l.first.prev = c
	}
	l.first = c
}

func (l *callList) remove(c *call) bool {
	if !c.linked {
		return false
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.linked, c.prev, c.next = false, nil, nil
	return true
}

// take empties the list.
func (l *callList) take() []*call {
	var all []*call
	for c := l.first; c != nil; c = l.first {
		l.remove(c)
		all = append(all, c)
	}
	return all
}
