package user

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// sliding answers with what there is; with ask.After it waits until that is something newer.
func (a *actor) sliding(m cluster.Message, ask *messages.SlidingAsk) {
	wanted := ask.ToDeviceSince
	var future error = errFuture
	if ask.Pos != "" {
		pos, err := token.ParseSliding(ask.Pos)
		if err != nil || pos.Owner != token.Owner(a.userID, ask.By.GetDeviceId(), ask.ConnId) {
			m.Fail(token.ErrUnknownPos)
			return
		}
		if pos.Pos > wanted {
			wanted, future = pos.Pos, token.ErrUnknownPos
		}
	}
	var after token.Sync
	if ask.After != "" {
		var err error
		if after, err = token.ParseSync(ask.After); err != nil {
			m.Fail(err)
			return
		}
		wanted = max(wanted, after.Pos)
	}
	if wanted > a.stamps.pos {
		a.catchUp(m, wanted, future, func() { a.sliding(m, ask) })
		return
	}
	id := connectionID{ask.By.GetDeviceId(), ask.ConnId}
	if missing := a.missing(id, ask.Pos); missing.any() {
		a.fetch(m, missing, func() { a.sliding(m, ask) })
		return
	}
	sent, ok := a.sent(id, ask.Pos)
	if !ok {
		m.Fail(token.ErrUnknownPos)
		return
	}
	a.acknowledge(id.device, token.Sync{ToDevice: ask.ToDeviceSince})
	a.synced(ask.SetPresence)
	w := &waiter{message: m, device: id.device, sliding: &id, since: after,
		answer: func(timedOut bool) proto.Message { return a.slidingPlan(sent, timedOut) }}
	if ask.After == "" || ask.TimeoutMs <= 0 || a.news(w) {
		m.Reply(w.answer(false))
		return
	}
	a.supersede(id)
	a.wait(w, ask.TimeoutMs)
}

// supersede ends the wait of an earlier request of the connection: a client has one at a time, and has given that one up.
func (a *actor) supersede(id connectionID) {
	a.waiters = slices.DeleteFunc(a.waiters, func(w *waiter) bool {
		if w.sliding == nil || *w.sliding != id {
			return false
		}
		w.cancel()
		w.message.Reply(w.answer(true))
		return true
	})
}

// sent is what the connection has been sent at the position, nil at its beginning.
func (a *actor) sent(id connectionID, pos string) (*messages.SlidingState, bool) {
	if pos == "" {
		return nil, true
	}
	c := a.connections[id]
	if c == nil {
		return nil, false
	}
	c.used = a.deps.Now()
	return c.at(pos)
}

func (a *actor) slidingPlan(sent *messages.SlidingState, timedOut bool) *messages.SlidingPlan {
	s := &a.stamps
	a.serial++
	p := &messages.SlidingPlan{
		Sent: sent, Pos: s.pos, Epoch: uint64(a.epoch), Ephemeral: s.ephemeral, Serial: a.serial,
		AccountData: s.accountData, DeviceLists: s.deviceLists, TimedOut: timedOut,
		Rooms: make([]*messages.SlidingStamps, 0, len(s.rooms)),
	}
	stamps := make([]messages.SlidingStamps, len(s.rooms))
	for id, r := range s.rooms {
		to := &stamps[len(p.Rooms)]
		to.RoomId, to.Membership, to.Member, to.Forgotten, to.Removed = id, r.membership, r.member, r.forgotten, r.removed
		to.Activity, to.Receipts, to.AccountData, to.Typing = r.member, r.receipts, r.accountData, r.typing
		if r.membership == "join" {
			to.Activity = max(r.activity, r.member)
		}
		p.Rooms = append(p.Rooms, to)
	}
	return p
}

// slidingSent remembers what an answer holds.
func (a *actor) slidingSent(m cluster.Message, sent *messages.SlidingSent) {
	id := connectionID{sent.By.GetDeviceId(), sent.ConnId}
	if missing := a.missing(id, sent.Base); missing.any() {
		a.fetch(m, missing, func() { a.slidingSent(m, sent) })
		return
	}
	if _, ok := a.sent(id, sent.Base); !ok {
		m.Fail(token.ErrUnknownPos)
		return
	}
	c := a.connections[id]
	if c == nil || sent.Base == "" && c.acknowledged != nil {
		c = a.connect(id)
	}
	if len(c.issued) == issuedBound {
		c.issued = c.issued[1:]
	}
	c.issued = append(slices.Clone(c.issued), sent.State)
	c.used, c.unsaved = a.deps.Now(), true
	m.Reply(&messages.Done{})
}

// missing is what has to be read before a sliding sync can be answered.
type missing struct {
	connection *connectionID
	activity   []string // rooms whose newest event is not known
}

func (m missing) any() bool { return m.connection != nil || len(m.activity) > 0 }

func (a *actor) missing(id connectionID, pos string) (m missing) {
	if pos != "" && a.connections[id] == nil {
		m.connection = &id
	}
	for roomID, r := range a.stamps.rooms {
		if r.membership == "join" && r.activity == 0 {
			m.activity = append(m.activity, roomID)
		}
	}
	return m
}

// fetched comes back to the mailbox when what was missing has been read.
type fetched struct {
	message    cluster.Message
	missing    missing
	again      func()
	connection *connection // nil if there is none
	activity   []uint64
	err        error
}

// fetchWidth is how many rooms are looked at at once, fetchTimeout how long it may take.
const (
	fetchWidth   = 8
	fetchTimeout = 30 * time.Second
)

// fetch reads beside the mailbox what is missing, and asks again.
func (a *actor) fetch(m cluster.Message, missing missing, again func()) {
	go func() {
		ctx, cancel := context.WithTimeout(a.self.Context(), fetchTimeout)
		defer cancel()
		f := fetched{message: m, missing: missing, again: again}
		if f.activity, f.err = activities(ctx, a.deps.Store, missing.activity); f.err == nil && missing.connection != nil {
			f.connection, f.err = loadConnection(ctx, a.deps.Store, a.userID, *missing.connection)
		}
		a.self.Send(f)
	}()
}

func (a *actor) fetched(f fetched) {
	if f.err != nil {
		f.message.Fail(f.err)
		return
	}
	for i, roomID := range f.missing.activity {
		if r := a.stamps.rooms[roomID]; r != nil && r.activity == 0 {
			r.activity = f.activity[i]
		}
	}
	if id := f.missing.connection; id != nil && a.connections[*id] == nil {
		if f.connection == nil {
			f.message.Fail(token.ErrUnknownPos)
			return
		}
		*a.connect(*id) = *f.connection
	}
	f.again()
}

// activities reads the positions of the newest events of rooms.
func activities(ctx context.Context, r persistence.Reader, rooms []string) ([]uint64, error) {
	found, errs := make([]uint64, len(rooms)), make([]error, fetchWidth)
	var all sync.WaitGroup
	for lane := range fetchWidth {
		all.Go(func() {
			for i := lane; i < len(rooms) && errs[lane] == nil; i += fetchWidth {
				found[i], errs[lane] = activity(ctx, r, rooms[i])
			}
		})
	}
	all.Wait()
	return found, cmp.Or(errs...)
}

func activity(ctx context.Context, r persistence.Reader, roomID string) (uint64, error) {
	rows, err := schema.Events.All(ctx, r, persistence.Range[schema.Event]{
		Prefix: schema.Event{RoomID: roomID}, Keys: 1, Reverse: true, Limit: 1})
	if err != nil || len(rows) == 0 {
		return 1, err // a room of which there is nothing has been quiet since the beginning
	}
	return rows[0].Pos, nil
}
