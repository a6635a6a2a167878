package room

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Sticky is an event that is told to everybody in the room until it ends, whatever else happened since (MSC4354; table sticky_events).
type Sticky struct {
	Seq     uint64
	EventID string
	Sender  string
	EndsTS  int64 // ms
	// SoftFailed says that the event is not told yet: it may be once its sender's membership changes.
	SoftFailed bool
}

// How many events of a room can be sticky at once, and how many of one user. What other servers send beyond that are events like others; users of
// this one are told to wait.
const (
	maxSticky   = 1000
	maxStickyOf = 200
)

// KnowSticky is like KnowServer.
func (m *Machine) KnowSticky(s Sticky) { m.sticky[s.Seq] = s }

// stick makes an entry sticky that says so.
func (d *draft) stick(entry *Entry) {
	ends := event.StickyUntil(entry.Event.JSON(), entry.Event.OriginServerTS(), entry.ReceivedTS)
	if ends <= entry.ReceivedTS || entry.Status != Accepted && entry.Status != SoftFailed {
		return
	}
	d.unstick(entry.ReceivedTS)
	if all, own, _ := d.sticking(entry.Event.Sender()); all >= maxSticky || own >= maxStickyOf {
		return
	}
	d.sticky = append(d.sticky, Sticky{entry.Seq, entry.Event.ID(), entry.Event.Sender(), ends, entry.Status == SoftFailed})
}

// mayStick refuses a sticky event of ours when there are too many.
func (d *draft) mayStick(sender string, now int64) error {
	d.unstick(now)
	if all, own, next := d.sticking(sender); all >= maxSticky || own >= maxStickyOf {
		return mxerr.LimitExceeded(next - now)
	}
	return nil
}

// sticking counts the sticky events, and those of the user, and tells when the next of them ends.
func (d *draft) sticking(sender string) (all, own int, next int64) {
	count := func(s Sticky) {
		if all++; s.Sender == sender {
			own++
		}
		if next == 0 || s.EndsTS < next {
			next = s.EndsTS
		}
	}
	for seq, s := range d.m.sticky {
		if !slices.Contains(d.unstuck, seq) {
			count(s)
		}
	}
	for _, s := range d.sticky {
		count(s)
	}
	return all, own, next
}

// unstick forgets the sticky events that have ended.
func (d *draft) unstick(now int64) {
	for _, seq := range slices.Sorted(maps.Keys(d.m.sticky)) {
		if d.m.sticky[seq].EndsTS <= now && !slices.Contains(d.unstuck, seq) {
			d.unstuck = append(d.unstuck, seq)
		}
	}
}

// restick sees to what changes of memberships mean for sticky events. Those of a user that were soft-failed are told after all if the room's
// state now allows them; servers that have come into the room lack those of ours.
func (d *draft) restick() error {
	if len(d.m.sticky) == 0 || len(d.members) == 0 {
		return nil
	}
	ours := false
	for _, s := range slices.SortedFunc(maps.Values(d.m.sticky), func(a, b Sticky) int { return cmp.Compare(a.Seq, b.Seq) }) {
		if s.EndsTS <= d.head.receivedTS {
			continue
		}
		ours = ours || !s.SoftFailed && d.local(s.Sender)
		changed := func(m MemberChange) bool { return m.UserID == s.Sender }
		if !s.SoftFailed || !slices.ContainsFunc(d.members, changed) {
			continue
		}
		entry := d.entry(s.Seq)
		if err := d.waiting(); err != nil {
			return err
		}
		switch err := d.check(entry.Event, d); {
		case errors.Is(err, errMissing):
			return err
		case err == nil:
			s.SoftFailed = false
			d.sticky = append(d.sticky, s)
		}
	}
	for _, server := range slices.Sorted(maps.Keys(d.servers)) {
		if ours && d.servers[server].Joined > 0 && d.m.servers[server].Joined == 0 && server != d.m.o.ServerName {
			d.lack = append(d.lack, server)
		}
	}
	return nil
}

// keepSticky makes known what the draft changed.
func (d *draft) keepSticky() {
	for _, seq := range d.unstuck {
		delete(d.m.sticky, seq)
	}
	for _, s := range d.sticky {
		d.m.sticky[s.Seq] = s
	}
}
