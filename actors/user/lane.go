package user

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// operationTimeout bounds one operation, so that a stuck one does not hold the lane for ever.
const operationTimeout = 60 * time.Second

// lane is the queue of a user's operations, of which one runs at a time beside the mailbox.
type lane struct {
	queue   []job
	running bool
}

type job struct {
	message cluster.Message
	request proto.Message
	handler Handler
}

// laneDone comes back to the mailbox when an operation has ended.
type laneDone struct{ err error }

func (l *lane) push(j job) bool {
	if len(l.queue) >= laneBound {
		return false
	}
	l.queue = append(l.queue, j)
	return true
}

func (l *lane) idle() bool { return !l.running && len(l.queue) == 0 }
func (l *lane) len() int   { return len(l.queue) }

func (l *lane) drain() []job {
	q := l.queue
	l.queue = nil
	return q
}

// runLane starts the next operation unless one runs.
func (a *actor) runLane() {
	if a.lane.running || len(a.lane.queue) == 0 {
		return
	}
	j := a.lane.queue[0]
	a.lane.queue[0] = job{}
	a.lane.queue = a.lane.queue[1:]
	if len(a.lane.queue) == 0 {
		a.lane.queue = nil
	}
	a.lane.running = true
	op := &Op{UserID: a.userID, Store: a.deps.Store, Now: a.deps.Now(), Federates: a.deps.Federates, actor: a}
	go func() {
		ctx, cancel := context.WithTimeout(a.self.Context(), operationTimeout)
		defer cancel()
		answer, err := runJob(ctx, op, j)
		if err != nil {
			j.message.Fail(err)
		} else {
			j.message.Reply(answer)
		}
		a.self.Send(laneDone{err: err})
	}()
}

// runJob turns a panic of an operation into an error: one bad request must not take the node down.
func runJob(ctx context.Context, op *Op, j job) (answer proto.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in operation %s: %v\n%s", j.handler.name, p, debug.Stack())
		}
	}()
	return j.handler.run(ctx, op, j.request)
}

func (a *actor) laneDone(d laneDone) {
	a.lane.running = false
	var refused *mxerr.Error
	if d.err != nil && !errors.As(d.err, &refused) && !errors.Is(d.err, context.Canceled) {
		a.deps.Log.Error("a user operation failed", "user", a.userID, "error", d.err)
	}
	a.runLane()
}
