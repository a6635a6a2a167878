package cluster

import (
	"cmp"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// inspectTimeout is how long an actor may take for its summary before it is called busy.
const inspectTimeout = 500 * time.Millisecond

// rateWindow is the time constant of the smoothed message rate.
const rateWindow = 30 * time.Second

// stats are what a node knows of an activation without asking it; guarded by the activation's mu.
type stats struct {
	count     uint64
	last      reflect.Type  // of the last message
	lastAt    time.Duration // when it was handled
	took      float32       // smoothed handling time, in seconds
	rate      float32       // smoothed messages per second at lastAt
	lastError string
}

func (s *stats) handled(message reflect.Type, now, took time.Duration) {
	if s.count == 0 {
		s.took = float32(took.Seconds())
	} else {
		s.took += (float32(took.Seconds()) - s.took) / 16
	}
	s.rate = s.rateAt(now) + float32(1/rateWindow.Seconds())
	s.count++
	s.last, s.lastAt = message, now
}

func (s *stats) rateAt(now time.Duration) float32 {
	if s.rate == 0 {
		return 0
	}
	return s.rate * float32(math.Exp(-float64(now-s.lastAt)/float64(rateWindow)))
}

// Info is what a node knows of one of its actors.
type Info struct {
	Identity
	State       string // activating, active or stopping
	ActivatedAt time.Time
	Handled     uint64
	Depth       int // messages in the mailbox
	Pending     int // requests and messages from outside that are not done
	LastMessage string
	LastAt      time.Time // zero before the first message
	LastError   string
	Took        time.Duration // smoothed handling time of a message
	Rate        float64       // smoothed messages per second
}

// Load is the part of one core that the actor's mailbox keeps busy.
func (i Info) Load() float64 { return i.Took.Seconds() * i.Rate }

// Filter chooses and orders what Actors lists. The zero value is everything in no order.
type Filter struct {
	Kind  string              // empty: every kind
	Match func(Info) bool     // nil: all
	Order func(a, b Info) int // nil: none; see the By functions
	Limit int                 // 0: all
}

// ByDepth orders a list by what waits, most first.
func ByDepth(a, b Info) int { return cmp.Compare(b.Depth, a.Depth) }

// ByRate orders a list by the messages a second, most first.
func ByRate(a, b Info) int { return cmp.Compare(b.Rate, a.Rate) }

// ByLoad orders a list by the share of a processor, largest first.
func ByLoad(a, b Info) int { return cmp.Compare(b.Load(), a.Load()) }

// ByHandled orders a list by the messages handled, most first.
func ByHandled(a, b Info) int { return cmp.Compare(b.Handled, a.Handled) }

// ByLastAt orders a list by the time of the last message, newest first.
func ByLastAt(a, b Info) int { return b.LastAt.Compare(a.LastAt) }

// Actors lists this node's actors as they are now.
func (n *Node) Actors(f Filter) []Info {
	var list []Info
	for _, a := range n.activations() {
		if f.Kind != "" && a.id.Kind != f.Kind {
			continue
		}
		if i := a.info(); f.Match == nil || f.Match(i) {
			list = append(list, i)
		}
	}
	if f.Order != nil {
		slices.SortFunc(list, func(a, b Info) int {
			return cmp.Or(f.Order(a, b), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
		})
	}
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	return list
}

func (a *activation) info() Info {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.node.now()
	i := Info{
		Identity: a.id, State: a.state(), ActivatedAt: a.node.started.Add(a.born),
		Handled: a.stats.count, Depth: a.queued, Pending: a.pending, LastError: a.stats.lastError,
		Took: time.Duration(float64(a.stats.took) * float64(time.Second)), Rate: float64(a.stats.rateAt(now)),
	}
	if a.stats.count > 0 {
		i.LastMessage, i.LastAt = messageName(a.stats.last), a.node.started.Add(a.stats.lastAt)
	}
	return i
}

// state is the activation's state as people are told; the caller holds mu.
func (a *activation) state() string {
	switch {
	case a.closed || a.draining || a.phase == ended:
		return "stopping"
	case a.phase == activating:
		return "activating"
	default:
		return "active"
	}
}

// Inspect is the summary of an active actor by its own account. One that does not answer soon is called busy, and its
// summary is what the node knows; one that is not active on this node is 404 M_NOT_FOUND.
func (n *Node) Inspect(ctx context.Context, id Identity) (*messages.Summary, error) {
	a := n.active(id)
	if a == nil {
		return nil, notActive(id)
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	c := newCall()
	c.unbounded = true
	if a.accept(&envelope{body: &messages.Inspect{}, call: c, source: fromOperator}) != accepted {
		return nil, notActive(id)
	}
	answer, err := c.wait(ctx)
	if retryable(err) {
		return nil, notActive(id)
	}
	if s, ok := answer.(*messages.Summary); ok {
		return s, nil
	}
	return a.summaryOf(a.info(), "busy"), nil
}

func notActive(id Identity) error { return mxerr.NotFound("%s %s is not active", id.Kind, id.ID) }

// summary runs on the mailbox.
func (a *activation) summary() *messages.Summary {
	i := a.info()
	s := a.summaryOf(i, i.State)
	if a.phase == active {
		known := s.Details
		a.guarded("Inspect", func() { a.behavior.Inspect(s) })
		if s.Details == nil {
			s.Details = map[string]string{}
		}
		for name, value := range known {
			s.Details[name] = value
		}
	}
	return s
}

func (a *activation) summaryOf(i Info, state string) *messages.Summary {
	s := &messages.Summary{
		Kind: i.Kind, Id: i.ID, Node: a.node.Name(), ActivatedTs: i.ActivatedAt.UnixMilli(),
		MessagesHandled: i.Handled, MailboxDepth: int64(i.Depth), LastMessage: i.LastMessage, LastError: i.LastError,
		Details: map[string]string{
			"state":               state,
			"pending":             strconv.Itoa(i.Pending),
			"handling_us":         strconv.FormatFloat(float64(i.Took)/1e3, 'f', 1, 64),
			"messages_per_second": strconv.FormatFloat(i.Rate, 'f', 2, 64),
		},
	}
	if !i.LastAt.IsZero() {
		s.LastMessageTs = i.LastAt.UnixMilli()
	}
	return s
}

// failureMemory bounds how many actors' errors a node remembers beyond their activations, and failuresEach how many of each.
const (
	failureMemory = 1024
	failuresEach  = 8
)

// Failure is why an actor stopped, or could not begin.
type Failure struct {
	At   time.Time
	Text string
}

// Failures are the last ones of an actor on this node, whether or not it is active now, newest first.
func (n *Node) Failures(id Identity) []Failure {
	n.failures.mu.Lock()
	defer n.failures.mu.Unlock()
	all := slices.Clone(n.failures.byIdentity[id])
	slices.Reverse(all)
	return all
}

// failures remembers why activations failed, oldest first, so that the next one can tell.
type failures struct {
	mu         sync.Mutex
	byIdentity map[Identity][]Failure
	oldest     []Identity
}

func (f *failures) add(id Identity, failure Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.byIdentity[id]
	switch {
	case len(known) == 0:
		if len(f.oldest) == failureMemory {
			delete(f.byIdentity, f.oldest[0])
			f.oldest = slices.Delete(f.oldest, 0, 1)
		}
		f.oldest = append(f.oldest, id)
	case len(known) == failuresEach:
		known = slices.Delete(known, 0, 1)
	}
	f.byIdentity[id] = append(known, failure)
}

// last is the newest error of an actor, empty when none is known.
func (f *failures) last(id Identity) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.byIdentity[id]
	if len(known) == 0 {
		return ""
	}
	return known[len(known)-1].Text
}

// report remembers an actor's failure, and logs it unless its callers learn the cause or a panic logged it.
func (n *Node) report(id Identity, err error, what string) {
	n.failures.add(id, Failure{At: n.started.Add(n.now()), Text: err.Error()})
	var told *mxerr.Error
	var panicked panicError
	if errors.As(err, &told) || errors.As(err, &panicked) || errors.Is(err, context.Canceled) {
		return
	}
	n.opts.Logger.Error(what, "kind", id.Kind, "id", id.ID, "error", err)
}
