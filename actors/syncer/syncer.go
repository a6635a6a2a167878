// Package syncer builds the answer to a sync: the user's actor says what is new (SyncPlan), the store says what it is.
// It runs in the goroutine of the HTTP request, so that a large answer holds up nobody else.
package syncer

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// toDeviceLimit is how many to-device messages one answer holds (client-server API, "Send-to-Device messaging").
const toDeviceLimit = 100

// askSlack is how much longer than the client's timeout the actor may take to answer.
const askSlack = 30 * time.Second

// Request is a GET /sync.
type Request struct {
	UserID, DeviceID   string
	Since              string
	Filter             *filter.Filter
	Timeout            time.Duration
	FullState          bool
	SetPresence        string
	StateAfter         bool // use_state_after
	UnstableStateAfter bool // org.matrix.msc4222.use_state_after
}

// Syncer answers syncs. It is safe for concurrent use.
type Syncer struct {
	caller   cluster.Caller
	reader   *reader.Reader
	unread   *unread.Counter
	presence bool
	now      func() time.Time
	lazy     *lazyMembers
}

// New makes a syncer; presence says whether presence is told at all.
func New(caller cluster.Caller, r *reader.Reader, u *unread.Counter, presence bool, now func() time.Time) *Syncer {
	return &Syncer{caller: caller, reader: r, unread: u, presence: presence, now: now, lazy: newLazyMembers()}
}

// Sync waits until there is something for the client, or the time is out, and builds the answer. What the filter leaves out
// does not end the wait.
func (s *Syncer) Sync(ctx context.Context, req Request) (*Response, error) {
	deadline := s.now().Add(req.Timeout)
	since := req.Since
	for {
		remaining := max(deadline.Sub(s.now()), 0)
		plan, err := s.ask(ctx, req, since, remaining)
		if err != nil {
			return nil, err
		}
		b := &builder{Syncer: s, newest: ctx, ctx: persistence.AsOf(ctx, persistence.Position(plan.Pos)), req: req, plan: plan, initial: req.Since == ""}
		resp, news, err := b.build()
		if err != nil {
			return nil, err
		}
		if news || b.initial || req.FullState || plan.TimedOut || remaining == 0 {
			return resp, nil
		}
		since = resp.NextBatch
	}
}

func (s *Syncer) ask(ctx context.Context, req Request, since string, wait time.Duration) (*messages.SyncPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+askSlack)
	defer cancel()
	return cluster.Ask[*messages.SyncPlan](ctx, s.caller, cluster.Identity{Kind: cluster.KindUser, ID: req.UserID}, &messages.SyncAsk{
		By:    &messages.Requester{UserId: req.UserID, DeviceId: req.DeviceID},
		Since: since, TimeoutMs: wait.Milliseconds(), FullState: req.FullState, SetPresence: req.SetPresence,
	})
}

// builder builds one answer.
type builder struct {
	*Syncer
	ctx     context.Context // of reads that need what the plan is about
	newest  context.Context // of reads whose results are remembered
	req     Request
	plan    *messages.SyncPlan
	initial bool
	ignored map[string]bool
	invites *reader.InviteFilter
	lazy    *lazySession
	named   map[string][]string // the heroes of rooms that were asked for
	// mine are the rooms that the user is joined to, once they have been needed.
	mine map[string]bool
	met  *meetings // likewise
	// near are users who share one of the rooms, as far as is known: nil until all were wanted.
	near map[string]bool
}

// build gives the answer, and whether there is anything in it.
func (b *builder) build() (resp *Response, news bool, err error) {
	if b.ignored, err = b.reader.IgnoredBy(b.ctx, b.req.UserID); err != nil {
		return nil, false, err
	}
	b.invites = b.reader.InviteFilter(b.req.UserID, b.ignored)
	b.lazy = b.Syncer.lazy.session(b.req.UserID, b.req.DeviceID, b.plan.SincePos)
	resp = &Response{}
	parts := []func(*Response) (bool, error){b.rooms, b.accountData, b.presenceEvents, b.deviceLists, b.profiles}
	for _, part := range parts {
		some, err := part(resp)
		if err != nil {
			return nil, false, err
		}
		news = news || some
	}
	acknowledged, some, err := b.toDevice(resp)
	if err != nil {
		return nil, false, err
	}
	if resp.OneTimeKeys, err = keys.OneTimeKeyCounts(b.ctx, b.reader.Store(), b.req.UserID, b.req.DeviceID); err != nil {
		return nil, false, err
	}
	if resp.UnusedFallback, err = keys.UnusedFallbackKeys(b.ctx, b.reader.Store(), b.req.UserID, b.req.DeviceID); err != nil {
		return nil, false, err
	}
	resp.UnusedFallback0 = resp.UnusedFallback
	resp.NextBatch = token.Sync{Pos: b.plan.Pos, ToDevice: acknowledged, Epoch: b.plan.Epoch, Ephemeral: b.plan.Ephemeral}.String()
	b.lazy.finish(b.plan.Pos)
	return resp, news || some, nil
}

// toDevice adds the device's messages and gives the position up to which the answer holds them all.
func (b *builder) toDevice(resp *Response) (uint64, bool, error) {
	events, upTo, err := Inbox(b.ctx, b.reader.Store(), b.req.UserID, b.req.DeviceID, b.plan.ToDeviceSince, b.plan.Pos, toDeviceLimit)
	if len(events) > 0 {
		resp.ToDevice = &Events{events}
	}
	return upTo, len(events) > 0, err
}

// Inbox reads a device's messages after a position, and gives the position up to which these are all of them: pos, or later, unless
// there are more than the limit.
func Inbox(ctx context.Context, r persistence.Reader, userID, deviceID string, since, pos uint64, limit int) ([]jsontext.Value, uint64, error) {
	upTo := max(pos, since)
	var events []jsontext.Value
	var last uint64
	for row, err := range schema.ToDevices.Scan(ctx, r, persistence.Range[schema.ToDevice]{
		Prefix: schema.ToDevice{UserID: userID, DeviceID: deviceID}, Keys: 2, From: &schema.ToDevice{Pos: since + 1}}) {
		if err != nil {
			return nil, 0, err
		}
		// A commit's messages go out together, because the token can only tell commits apart.
		if len(events) >= limit && row.Pos != last {
			upTo = last
			break
		}
		last = row.Pos
		upTo = max(upTo, last)
		events = append(events, toDeviceEvent(row))
	}
	return events, upTo, nil
}

// accountData adds the global account data.
func (b *builder) accountData(resp *Response) (bool, error) {
	if !b.initial && !b.plan.AccountData {
		return false, nil
	}
	events, err := AccountData(b.ctx, b.reader.Store(), b.req.UserID, "", b.plan.SincePos)
	if err != nil {
		return false, err
	}
	if b.initial {
		if events, err = WithPushRules(b.req.UserID, events); err != nil {
			return false, err
		}
	}
	events = keepAccountData(&b.req.Filter.AccountData, events)
	if len(events) == 0 {
		return false, nil
	}
	resp.AccountData = &Events{AccountEvents(events)}
	return true, nil
}

// AccountData reads the account data of a room, or with an empty id the global one, that is newer than since.
func AccountData(ctx context.Context, r persistence.Reader, userID, roomID string, since uint64) ([]schema.AccountData, error) {
	var rows []schema.AccountData
	for row, err := range schema.AccountDatas.Scan(ctx, r, persistence.Range[schema.AccountData]{
		Prefix: schema.AccountData{UserID: userID, RoomID: roomID}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		if row.Pos > since && (since > 0 || len(row.Content) > 0) { // what was deleted is told of only later
			rows = append(rows, row)
		}
	}
	return rows, nil
}
