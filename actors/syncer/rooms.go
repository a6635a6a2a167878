package syncer

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// defaultTimeline is how many events of a room an answer holds when the filter does not say.
const defaultTimeline = 10

// rooms adds what is new in the user's rooms.
func (b *builder) rooms(resp *Response) (bool, error) {
	rooms := &Rooms{}
	for _, plan := range b.plan.Rooms {
		if !b.req.Filter.Room.KeepsRoom(plan.RoomId) {
			continue
		}
		if err := b.room(rooms, plan); err != nil {
			return false, err
		}
	}
	if len(rooms.Join)+len(rooms.Invite)+len(rooms.Knock)+len(rooms.Leave) == 0 {
		return false, nil
	}
	resp.Rooms = rooms
	return true, nil
}

func (b *builder) room(rooms *Rooms, plan *messages.RoomPlan) error {
	access, err := b.reader.Access(b.ctx, plan.RoomId, b.req.UserID)
	if err != nil {
		return err
	}
	m := access.Member
	switch m.Membership {
	case "join":
		joined, err := b.joinedRoom(access, plan)
		if err != nil || joined == nil {
			return err
		}
		put(&rooms.Join, plan.RoomId, joined)
	case "invite":
		if !b.initial && m.Pos <= b.plan.SincePos {
			return nil
		}
		shown, err := b.invites.Shows(b.ctx, m.Sender)
		if err != nil {
			return err
		}
		if shown {
			put(&rooms.Invite, plan.RoomId, &InvitedRoom{Events{strippedState(m)}})
		}
	case "knock":
		if b.initial || m.Pos > b.plan.SincePos {
			put(&rooms.Knock, plan.RoomId, &KnockedRoom{Events{strippedState(m)}})
		}
	case "leave", "ban":
		wanted := b.initial && b.req.Filter.Room.IncludeLeave && access.WasJoined() || !b.initial && m.Pos > b.plan.SincePos
		if !wanted {
			return nil
		}
		left, err := b.leftRoom(access)
		if err != nil {
			return err
		}
		put(&rooms.Leave, plan.RoomId, left)
	}
	return nil
}

func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// stretch is the part of a room's history that an answer is about: after since, up to the event last.
type stretch struct {
	access *reader.Access
	room   string
	since  uint64       // the last event that the client knows of; 0 when it is to know the room from scratch
	from   schema.Event // that event, unless since is 0
	last   schema.Event
	fresh  bool // full state and the newest history, whatever the token
	whole  bool // full state, since the members of the room have become known
}

// joinedRoom builds what is new in a room that the user is in; nil if there is nothing after all.
func (b *builder) joinedRoom(access *reader.Access, plan *messages.RoomPlan) (*JoinedRoom, error) {
	st, ok, err := b.stretchOf(access, b.plan.Pos)
	if err != nil || !ok {
		return nil, err
	}
	room := &JoinedRoom{}
	fresh := st.fresh
	if plan.Timeline || fresh || st.whole || b.req.FullState {
		t, err := b.timeline(st)
		if err != nil {
			return nil, err
		}
		delta, err := b.stateDelta(st, t)
		if err != nil {
			return nil, err
		}
		room.Timeline = t.shown(fresh || len(t.rows) > 0)
		if err := b.placeState(delta.rows, access, &room.State, &room.StateAfter, &room.StateAfterUnstable); err != nil {
			return nil, err
		}
		if room.Summary, err = b.summary(st, t, delta.summary); err != nil {
			return nil, err
		}
		if room.Sticky, err = b.sticky(st, t); err != nil {
			return nil, err
		}
	}
	if room.Ephemeral, err = b.ephemeral(st, plan); err != nil {
		return nil, err
	}
	if plan.AccountData || fresh {
		if room.AccountData, err = b.roomAccountData(st); err != nil {
			return nil, err
		}
	}
	if !fresh && !b.req.FullState && room.Timeline == nil && room.State == nil && room.StateAfter == nil && room.StateAfterUnstable == nil &&
		room.Summary == nil && room.Sticky == nil && room.Ephemeral == nil && room.AccountData == nil {
		return nil, nil
	}
	b.complete(room)
	if room.Timeline == nil {
		room.Timeline = &Timeline{Events: []jsontext.Value{}, PrevBatch: token.Timeline{Seq: st.last.Seq}.String()}
	}
	return room, b.counts(room, st)
}

// complete adds the parts of a room in which nothing is new: they may be left out, but there are clients that want them.
func (b *builder) complete(room *JoinedRoom) {
	b.completeState(&room.State, &room.StateAfter, &room.StateAfterUnstable)
	for _, part := range []**Events{&room.Ephemeral, &room.AccountData} {
		if *part == nil {
			*part = &Events{[]jsontext.Value{}}
		}
	}
}

// completeState is complete for the state, in the spelling that was asked for.
func (b *builder) completeState(state, after, unstable **Events) {
	if part := b.place(state, after, unstable); *part == nil {
		*part = &Events{[]jsontext.Value{}}
	}
}

// roomAccountData gives the account data of a room that is new to the client, nil if there is none.
func (b *builder) roomAccountData(st stretch) (*Events, error) {
	f := &b.req.Filter.Room.AccountData
	if !f.KeepsRoom(st.room) {
		return nil, nil
	}
	since := b.plan.SincePos
	if st.fresh {
		since = 0
	}
	rows, err := AccountData(b.ctx, b.reader.Store(), b.req.UserID, st.room, since)
	if err != nil {
		return nil, err
	}
	if rows = keepAccountData(&f.Event, rows); len(rows) == 0 {
		return nil, nil
	}
	return &Events{AccountEvents(rows)}, nil
}

// stretchOf finds what the client does not know yet of a joined room, up to the position.
func (b *builder) stretchOf(access *reader.Access, pos uint64) (stretch, bool, error) {
	st := stretch{access: access, room: access.RoomID}
	var ok bool
	var err error
	if st.last, ok, err = b.reader.Last(b.ctx, st.room, pos); err != nil || !ok {
		return st, false, err
	}
	partial, was, err := b.partial(st.room, pos)
	if err != nil || partial && !b.req.Filter.Room.State.LazyLoadMembers {
		return st, false, err
	}
	if b.initial {
		st.fresh = true
		return st, true, nil
	}
	joined, err := b.reader.EventAt(b.ctx, st.room, access.Member.JoinedSeq)
	if err != nil {
		return st, false, err
	}
	if joined.Pos > b.plan.SincePos {
		st.fresh = true
		return st, true, nil
	}
	if st.from, ok, err = b.reader.Last(b.ctx, st.room, b.plan.SincePos); err != nil {
		return st, false, err
	}
	st.since, st.fresh = st.from.Seq, !ok
	if st.whole = was && !partial; st.whole && !b.req.Filter.Room.State.LazyLoadMembers {
		st.since, st.fresh = 0, true // the room has not been shown before
	}
	return st, true, nil
}

// partial reports whether the members of a room are not known at the position, and whether they were not at the token (MSC3902): such a room is
// shown only to those who load members lazily.
func (b *builder) partial(roomID string, pos uint64) (is, was bool, err error) {
	row, ok, err := reader.JoinedPartially(b.ctx, b.reader.Store(), roomID)
	if err != nil || !ok {
		return false, false, err
	}
	return row.PartialAt(pos), row.PartialAt(b.plan.SincePos), nil
}

// leftRoom builds the end of a room: what happened since the token until the user was out.
func (b *builder) leftRoom(access *reader.Access) (*LeftRoom, error) {
	if access.Member.OutOfBand() { // this server was never told more of the room
		return &LeftRoom{Timeline: &Timeline{Events: []jsontext.Value{}}}, nil
	}
	last, err := b.reader.EventAt(b.ctx, access.RoomID, access.Member.Seq)
	if err != nil {
		return nil, err
	}
	room := &LeftRoom{}
	if !access.WasJoined() || access.Member.LeftSeq != access.Member.Seq {
		// Not in before it: an invite or a knock that ended, or a ban of somebody who had left; or in, but the history is forgotten.
		// There is nothing to see but that.
		own, err := access.Client(b.ctx, b.view(), last)
		if err != nil {
			return nil, err
		}
		room.Timeline = &Timeline{Events: own, PrevBatch: token.Timeline{Seq: last.Seq - 1}.String()}
		return room, nil
	}
	st := stretch{access: access, room: access.RoomID, last: last}
	from, ok, err := b.reader.Last(b.ctx, access.RoomID, b.plan.SincePos)
	if err != nil {
		return nil, err
	}
	joined, err := b.reader.EventAt(b.ctx, access.RoomID, access.Member.JoinedSeq)
	if err != nil {
		return nil, err
	}
	if st.fresh = b.initial || !ok || joined.Pos > b.plan.SincePos; !st.fresh {
		st.since, st.from = min(from.Seq, last.Seq), from
	}
	t, err := b.timeline(st)
	if err != nil {
		return nil, err
	}
	delta, err := b.stateDelta(st, t)
	if err != nil {
		return nil, err
	}
	room.Timeline = t.shown(true)
	if room.AccountData, err = b.roomAccountData(st); err != nil {
		return nil, err
	}
	err = b.placeState(delta.rows, access, &room.State, &room.StateAfter, &room.StateAfterUnstable)
	b.completeState(&room.State, &room.StateAfter, &room.StateAfterUnstable)
	return room, err
}

// timeline is the stretch's newest events that the filter keeps.
type timeline struct {
	rows    []schema.Event // oldest first
	events  []jsontext.Value
	limited bool
	start   uint64 // the gap before the first event
	last    uint64 // the event up to which it goes
}

func (b *builder) timeline(st stretch) (timeline, error) {
	f := &b.req.Filter.Room.Timeline
	limit := defaultTimeline
	if f.Limit > 0 {
		limit = f.Limit
	}
	t := timeline{start: st.last.Seq, last: st.last.Seq}
	if !f.KeepsRoom(st.room) {
		return t, nil
	}
	page, err := st.access.Read(b.ctx, reader.Page{From: st.last.Seq, To: st.since, Backwards: true, Limit: limit, Filter: f})
	if err != nil {
		return t, err
	}
	t.rows, t.limited, t.start = reverse(page.Events), page.More, page.End
	// A client may know events from an earlier stay: the timeline does not go on from those.
	t.limited = t.limited || st.fresh && !b.initial
	if err := b.afterGap(st, &t); err != nil {
		return t, err
	}
	if err := b.cut(st, &t); err != nil {
		return t, err
	}
	t.events, err = st.access.Client(b.ctx, b.view(), t.rows...)
	b.trim(t.events)
	return t, err
}

// afterGap has the timeline begin after the newest stretch of history that is not here, which may be had from other servers.
func (b *builder) afterGap(st stretch, t *timeline) error {
	if t.contiguous(st.since) { // as nearly always
		return nil
	}
	gap, ok, err := b.reader.GapBelow(b.ctx, st.room, st.last.Seq)
	if err != nil || !ok || gap.Floor == 0 || gap.Next <= st.since || gap.Next < t.start {
		return err
	}
	t.rows = slices.DeleteFunc(t.rows, func(row schema.Event) bool { return row.Seq <= gap.Next })
	t.start, t.limited = gap.Next, true
	return nil
}

// contiguous reports whether no number is left out between what the client knows and the last event.
func (t *timeline) contiguous(since uint64) bool {
	for i := 1; i < len(t.rows); i++ {
		if t.rows[i].Seq != t.rows[i-1].Seq+1 {
			return false
		}
	}
	return t.limited || t.start <= since
}

func (t *timeline) shown(always bool) *Timeline {
	if !always && !t.limited {
		return nil
	}
	events := t.events
	if events == nil {
		events = []jsontext.Value{}
	}
	return &Timeline{Events: events, Limited: t.limited, PrevBatch: prevBatch(t.start, t.last)}
}

// prevBatch is the token of the gap before a timeline whose last event is numbered last.
func prevBatch(start, last uint64) string {
	t := token.Timeline{Seq: start}
	if start == 0 {
		t.Until = last
	}
	return t.String()
}

func reverse(rows []schema.Event) []schema.Event {
	for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
		rows[i], rows[j] = rows[j], rows[i]
	}
	return rows
}

func (b *builder) view() reader.View {
	return reader.View{DeviceID: b.req.DeviceID, Bundle: true, Federation: b.req.Filter.Federation()}
}

// strippedState is what an invite or a knock shows of its room.
func strippedState(m schema.Membership) []jsontext.Value {
	return arrayOf(m.StrippedState)
}

// counts adds the unread notifications.
func (b *builder) counts(room *JoinedRoom, st stretch) error {
	counts, err := b.unread.Counts(b.newest, b.req.UserID, st.room, st.last.Seq)
	if err != nil {
		return err
	}
	main := counts.Total()
	if b.req.Filter.Room.Timeline.UnreadThreadNotifications {
		main = counts.Main
		for root, c := range counts.Threads {
			put(&room.UnreadThreads, root, UnreadCounts{Highlight: c.Highlight, Notification: c.Notify})
		}
	}
	room.UnreadNotifications = &UnreadCounts{Highlight: main.Highlight, Notification: main.Notify}
	return nil
}
