// Package sliding answers simplified sliding sync (MSC4186): a second view of what the user's actor tells of, beside /sync.
//
// The actor says what it knows of every room (SlidingPlan), and what the connection has been sent (SlidingState). From the store
// the answer is built in the goroutine of the HTTP request, and with it the state that the connection is in if the answer arrives.
// The actor remembers that state (SlidingSent) before the answer is given out. A state is never changed: whoever asks again from
// an older position is answered from the older state, so that an answer that got lost loses nothing.
//
// For each room the state says up to which position its events, receipts and account data were sent. A room that is not chosen by
// the request needs no book-keeping: when it is chosen again, what happened after these positions is what the client lacks. So a room
// has news iff the actor knows of something later.
package sliding

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
)

// askSlack is how much longer than the client's timeout the actor may take to answer.
const askSlack = 30 * time.Second

// The sizes of the caches, in entries.
const (
	factsCacheSize  = 100_000
	spacesCacheSize = 10_000
	bumpsCacheSize  = 100_000
)

// Syncer answers sliding syncs. It is safe for concurrent use.
type Syncer struct {
	caller cluster.Caller
	reader *reader.Reader
	syncer *syncer.Syncer
	unread *unread.Counter
	now    func() time.Time
	facts  *cache.Cache[string, facts]
	spaces *cache.Cache[string, space]
	bumps  *cache.Cache[string, bump]
}

// New makes a Syncer beside the one of /sync.
func New(caller cluster.Caller, r *reader.Reader, s *syncer.Syncer, u *unread.Counter, now func() time.Time) *Syncer {
	known := cache.New(cache.Options[string, facts]{Size: factsCacheSize})
	bumps := cache.New(cache.Options[string, bump]{Size: bumpsCacheSize})
	spaces := cache.New(cache.Options[string, space]{Size: spacesCacheSize})
	return &Syncer{caller: caller, reader: r, syncer: s, unread: u, now: now, facts: known, spaces: spaces, bumps: bumps}
}

// Unstable answers a request of org.matrix.simplified_msc3575.
func (s *Syncer) Unstable(ctx context.Context, req Request) (*Response, error) {
	resp, err := s.sync(ctx, req)
	if err == nil {
		resp.unstable()
	}
	return resp, err
}

// Stable answers a request of the proposal's own dialect.
func (s *Syncer) Stable(ctx context.Context, req Request) (*Response, error) {
	req.stubs = true
	resp, err := s.sync(ctx, req)
	if err == nil {
		resp.stable()
	}
	return resp, err
}

// sync builds an answer at once, because the request may choose or ask for something else than the one before; if there is nothing in
// it, it waits until something happens that puts something in, or the time is out.
func (s *Syncer) sync(ctx context.Context, req Request) (*Response, error) {
	deadline := s.now().Add(req.Timeout)
	after := ""
	for {
		remaining := max(deadline.Sub(s.now()), 0)
		plan, err := s.ask(ctx, &req, after, remaining)
		if err != nil {
			return nil, err
		}
		b := newBuilder(ctx, s, &req, plan)
		if err := b.build(); err != nil {
			return nil, err
		}
		if b.news || req.Pos == "" || plan.TimedOut || remaining == 0 {
			_, err := cluster.Ask[*messages.Done](ctx, s.caller, user(req.UserID), &messages.SlidingSent{
				By: by(&req), ConnId: req.ConnID, Base: req.Pos, State: b.next()})
			return b.resp, err
		}
		after = token.Sync{Pos: plan.Pos, ToDevice: plan.Pos, Epoch: plan.Epoch, Ephemeral: plan.Ephemeral}.String()
	}
}

func user(id string) cluster.Identity { return cluster.Identity{Kind: cluster.KindUser, ID: id} }

func by(req *Request) *messages.Requester {
	return &messages.Requester{UserId: req.UserID, DeviceId: req.DeviceID}
}

func (s *Syncer) ask(ctx context.Context, req *Request, after string, wait time.Duration) (*messages.SlidingPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+askSlack)
	defer cancel()
	ask := &messages.SlidingAsk{By: by(req), ConnId: req.ConnID, Pos: req.Pos, SetPresence: req.SetPresence, After: after, TimeoutMs: wait.Milliseconds()}
	if q := req.Extensions.ToDevice; q != nil {
		ask.ToDeviceSince = q.Since
	}
	return cluster.Ask[*messages.SlidingPlan](ctx, s.caller, user(req.UserID), ask)
}

// builder builds one answer.
type builder struct {
	*Syncer
	ctx    context.Context // of reads that need what the plan is about
	newest context.Context // of reads whose results are remembered
	req    *Request
	plan   *messages.SlidingPlan
	since  uint64 // the position of the request, 0 on a new connection

	ignored map[string]bool
	invites *reader.InviteFilter
	direct  map[string]bool // the rooms in m.direct
	sent    map[string]*messages.SlidingRoom
	asked   []RequiredState // with which rooms were last asked for
	rooms   []*room         // those that lists are about, by activity
	chosen  []*room
	budget  int // of events

	resp *Response
	news bool // there is something in the answer
	// became is the state of rooms that the answer is about; nil: nothing of the room needs to be remembered any more.
	became map[string]*sentRoom
	// profileFields are those of which the answer tells changes (MSC4262).
	profileFields []string
}

// answerBudget is how many events one answer holds, roughly: rooms beyond it come with the next answer, which then does not wait.
const answerBudget = 20_000

func newBuilder(ctx context.Context, s *Syncer, req *Request, plan *messages.SlidingPlan) *builder {
	return &builder{
		Syncer: s, ctx: persistence.AsOf(ctx, persistence.Position(plan.Pos)), newest: ctx, req: req, plan: plan,
		since: plan.Sent.GetUpto(), budget: answerBudget, became: map[string]*sentRoom{},
		resp: &Response{Lists: map[string]ListResult{}, Rooms: map[string]*Room{}},
	}
}

func (b *builder) build() error {
	b.remember()
	for _, part := range []func() error{b.look, b.choose, b.roomResults, b.extensions} {
		if err := part(); err != nil {
			return err
		}
	}
	b.resp.Pos = b.pos()
	return nil
}

// pos is the position that this answer gives out.
func (b *builder) pos() string {
	return token.Sliding{Pos: b.plan.Pos, Epoch: b.plan.Epoch, Serial: b.plan.Serial,
		Owner: token.Owner(b.req.UserID, b.req.DeviceID, b.req.ConnID)}.String()
}
