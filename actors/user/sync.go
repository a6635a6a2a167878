package user

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// maxWait bounds how long a sync may wait, whatever the client asks for.
const maxWait = 5 * time.Minute

// waiter is a sync that waits for news.
type waiter struct {
	message cluster.Message
	device  string
	// sliding is the connection of a simplified sliding sync, nil for others.
	sliding *connectionID
	since   token.Sync
	// answer gives the plan as of now.
	answer func(timedOut bool) proto.Message
	cancel func()
}

// waiterTimeout comes back to the mailbox when a waiter's time is out.
type waiterTimeout struct{ w *waiter }

// sync answers at once when there is news, when the client does not want to wait, or when it begins; else it waits.
func (a *actor) sync(m cluster.Message, ask *messages.SyncAsk) {
	var since token.Sync
	if ask.Since != "" {
		var err error
		if since, err = token.ParseSync(ask.Since); err != nil {
			m.Fail(err)
			return
		}
		if since.Pos > a.stamps.pos {
			a.catchUp(m, since.Pos, errFuture, func() { a.sync(m, ask) })
			return
		}
		a.acknowledge(ask.By.GetDeviceId(), since)
	}
	a.synced(ask.SetPresence)
	w := &waiter{message: m, device: ask.By.GetDeviceId(), since: since,
		answer: func(timedOut bool) proto.Message { return a.plan(ask, since, timedOut) }}
	if ask.Since == "" || ask.FullState || ask.TimeoutMs <= 0 || a.news(w) {
		m.Reply(w.answer(false))
		return
	}
	a.wait(w, ask.TimeoutMs)
}

// wait keeps a waiter for so many milliseconds.
func (a *actor) wait(w *waiter, timeoutMS int64) {
	if len(a.waiters) >= waiterBound {
		w.message.Fail(mxerr.LimitExceeded(1000))
		return
	}
	wait := min(time.Duration(timeoutMS)*time.Millisecond, maxWait)
	w.cancel = a.self.After(wait, waiterTimeout{w})
	a.waiters = append(a.waiters, w)
}

// caughtUp comes back to the mailbox when everything up to a position has been told; so it comes after the notices of that.
type caughtUp struct {
	message cluster.Message
	wanted  uint64
	future  error  // when the position has not been reached
	again   func() // asks again
	pos     uint64
	err     error
}

// catchUp is for a token that an activation on another node gave a moment ago, which knew more than this node has been told yet.
func (a *actor) catchUp(m cluster.Message, wanted uint64, future error, again func()) {
	go func() {
		ctx, cancel := context.WithTimeout(a.self.Context(), catchUpTimeout)
		defer cancel()
		pos, err := a.deps.Store.CatchUp(ctx)
		a.self.Send(caughtUp{m, wanted, future, again, uint64(pos), err})
	}()
}

// catchUpTimeout is how far a node may be behind before its users' syncs fail.
const catchUpTimeout = 10 * time.Second

func (a *actor) caughtUp(c caughtUp) {
	switch {
	case c.err != nil:
		c.message.Fail(c.err)
	case c.wanted > c.pos:
		c.message.Fail(c.future)
	default:
		a.stamps.saw(c.wanted)
		c.again()
	}
}

var errFuture = mxerr.InvalidParam("the sync token is from a future that this server does not know; start again without it")

// wake answers the waiters for whom there is news now.
func (a *actor) wake() {
	a.waiters = slices.DeleteFunc(a.waiters, func(w *waiter) bool {
		if !a.news(w) {
			return false
		}
		w.cancel()
		w.message.Reply(w.answer(false))
		return true
	})
}

func (a *actor) timeOut(w *waiter) {
	if i := slices.Index(a.waiters, w); i >= 0 {
		a.waiters = slices.Delete(a.waiters, i, i+1)
		w.message.Reply(w.answer(true))
	}
}

// dropLoggedOut forgets the connections of devices that have no session any more, and answers their waiters; the next request is refused.
func (a *actor) dropLoggedOut(devices []string) {
	if len(devices) == 0 {
		return
	}
	a.disconnect(devices)
	a.waiters = slices.DeleteFunc(a.waiters, func(w *waiter) bool {
		if !slices.Contains(devices, w.device) {
			return false
		}
		w.cancel()
		w.message.Fail(mxerr.New(401, "M_UNKNOWN_TOKEN", "the session has been logged out"))
		return true
	})
}

// news reports whether anything that wakes a sync is newer than its token. Sliding syncs have no presence.
func (a *actor) news(w *waiter) bool {
	s, since := &a.stamps, w.since
	if s.accountData > since.Pos || s.deviceLists > since.Pos || s.profiles > since.Pos || a.toDeviceNews(w.device, since) {
		return true
	}
	for _, r := range s.rooms {
		if a.roomNews(r, since) {
			return true
		}
	}
	if w.sliding != nil {
		return s.threadSubscriptions > since.Pos
	}
	return a.deps.Presence && a.presenceNews(since)
}

func (a *actor) toDeviceNews(device string, since token.Sync) bool {
	return a.stamps.toDevice[device] > since.ToDevice || since.ToDevice < a.stamps.begun
}

func (a *actor) roomNews(r *roomStamps, since token.Sync) bool {
	if r.member > since.Pos {
		return true
	}
	return r.membership == "join" &&
		(r.events > since.Pos || r.receipts > since.Pos || r.accountData > since.Pos || a.typingNews(r, since))
}

func (a *actor) typingNews(r *roomStamps, since token.Sync) bool {
	if since.Epoch != uint64(a.epoch) {
		return len(r.typing) > 0
	}
	return r.typingAt > since.Ephemeral
}

func (a *actor) presenceNews(since token.Sync) bool {
	if since.Pos < a.stamps.begun {
		return true
	}
	for _, pos := range a.stamps.presences {
		if pos > since.Pos {
			return true
		}
	}
	return false
}

// plan lists what is newer than the token; everything that there is for an initial sync.
func (a *actor) plan(ask *messages.SyncAsk, since token.Sync, timedOut bool) *messages.SyncPlan {
	s := &a.stamps
	// What was acknowledged never comes again, whatever is still to be deleted and however old the token.
	since.ToDevice = max(since.ToDevice, s.acknowledged[ask.By.GetDeviceId()])
	next := token.Sync{Pos: s.pos, ToDevice: since.ToDevice, Epoch: uint64(a.epoch), Ephemeral: s.ephemeral}
	p := &messages.SyncPlan{
		Next: next.String(), SincePos: since.Pos, Pos: next.Pos, ToDeviceSince: since.ToDevice,
		Epoch: next.Epoch, Ephemeral: next.Ephemeral, TimedOut: timedOut,
		AccountData: s.accountData > since.Pos, DeviceLists: s.deviceLists > since.Pos,
	}
	initial := ask.Since == ""
	for id, r := range s.rooms {
		wanted := initial && !r.forgotten || !initial && a.roomNews(r, since) || ask.FullState && r.membership == "join"
		if !wanted {
			continue
		}
		plan := &messages.RoomPlan{RoomId: id, Membership: r.membership,
			Timeline:    r.events > since.Pos || r.member > since.Pos,
			Receipts:    r.receipts > since.Pos,
			AccountData: r.accountData > since.Pos,
		}
		if a.typingNews(r, since) {
			plan.TypingChanged, plan.Typing = true, r.typing
		}
		p.Rooms = append(p.Rooms, plan)
	}
	if a.deps.Presence {
		if p.PresenceAll = since.Pos < s.begun; !p.PresenceAll {
			for user, pos := range s.presences {
				if pos > since.Pos {
					p.Presence = append(p.Presence, user)
				}
			}
		}
	}
	return p
}
