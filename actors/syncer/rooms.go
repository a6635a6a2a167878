package syncer

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/event"
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
		if (b.initial || m.Pos > b.plan.SincePos) && !b.ignored[m.Sender] {
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
}

// joinedRoom builds what is new in a room that the user is in; nil if there is nothing after all.
func (b *builder) joinedRoom(access *reader.Access, plan *messages.RoomPlan) (*JoinedRoom, error) {
	st, ok, err := b.stretchOf(access, b.plan.Pos)
	if err != nil || !ok {
		return nil, err
	}
	room := &JoinedRoom{}
	fresh := st.fresh
	if plan.Timeline || fresh || b.req.FullState {
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
		room.Summary == nil && room.Ephemeral == nil && room.AccountData == nil {
		return nil, nil
	}
	return room, b.counts(room, st)
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
	rows, err := b.accountEvents(st.room, since)
	if err != nil {
		return nil, err
	}
	if rows = keepAccountData(&f.Event, rows); len(rows) == 0 {
		return nil, nil
	}
	return &Events{rawEvents(rows)}, nil
}

// stretchOf finds what the client does not know yet of a joined room, up to the position.
func (b *builder) stretchOf(access *reader.Access, pos uint64) (stretch, bool, error) {
	st := stretch{access: access, room: access.RoomID}
	var ok bool
	var err error
	if st.last, ok, err = b.reader.Last(b.ctx, st.room, pos); err != nil || !ok {
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
	return st, true, nil
}

// leftRoom builds the end of a room: what happened since the token until the user was out.
func (b *builder) leftRoom(access *reader.Access) (*LeftRoom, error) {
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
	return room, b.placeState(delta.rows, access, &room.State, &room.StateAfter, &room.StateAfterUnstable)
}

// timeline is the stretch's newest events that the filter keeps.
type timeline struct {
	rows    []schema.Event // oldest first
	events  []jsontext.Value
	limited bool
	start   uint64 // the gap before the first event
}

func (b *builder) timeline(st stretch) (timeline, error) {
	f := &b.req.Filter.Room.Timeline
	limit := defaultTimeline
	if f.Limit > 0 {
		limit = f.Limit
	}
	t := timeline{start: st.last.Seq}
	if !f.KeepsRoom(st.room) {
		return t, nil
	}
	page, err := st.access.Read(b.ctx, reader.Page{From: st.last.Seq, To: st.since, Backwards: true, Limit: limit, Filter: f})
	if err != nil {
		return t, err
	}
	t.rows, t.limited, t.start = reverse(page.Events), page.More, page.End
	t.events, err = st.access.Client(b.ctx, b.view(), t.rows...)
	b.trim(t.events)
	return t, err
}

func (t *timeline) shown(always bool) *Timeline {
	if !always && !t.limited {
		return nil
	}
	events := t.events
	if events == nil {
		events = []jsontext.Value{}
	}
	return &Timeline{Events: events, Limited: t.limited, PrevBatch: token.Timeline{Seq: t.start}.String()}
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

// delta is the state that an answer has beside the timeline.
type delta struct {
	rows    []schema.Event
	summary bool // something changed that the room's summary shows
}

// stateDelta lists the state that the client lacks: up to the start of the timeline, or to its end with state_after.
// What the timeline's filter hides from the timeline is in it too, so that no change of state is ever lost.
func (b *builder) stateDelta(st stretch, t timeline) (delta, error) {
	end, err := b.reader.StateAt(b.ctx, st.room, st.last.StateAfter)
	if err != nil {
		return delta{}, err
	}
	full := st.fresh || b.req.FullState
	target := end
	if !b.stateAfter() && len(t.rows) > 0 {
		if target, err = b.reader.StateAt(b.ctx, st.room, t.rows[0].StateBefore); err != nil {
			return delta{}, err
		}
	}
	var entries []reader.Entry
	if full {
		entries, err = target.Entries(nil)
	} else {
		entries, err = b.changes(st, target)
	}
	if err != nil {
		return delta{}, err
	}
	if target != end {
		if entries, err = addHidden(entries, target, end, t.rows); err != nil {
			return delta{}, err
		}
	}
	summary := slices.ContainsFunc(entries, changesSummary)
	if entries, err = b.lazyLoad(entries, st, t, end, summary); err != nil {
		return delta{}, err
	}
	rows, err := end.Events(b.ctx, entries)
	if err != nil {
		return delta{}, err
	}
	rows = b.keepState(st.room, rows)
	b.rememberMembers(st.room, rows)
	return delta{rows, summary}, nil
}

func (b *builder) stateAfter() bool { return b.req.StateAfter || b.req.UnstableStateAfter }

func (b *builder) changes(st stretch, target *reader.State) ([]reader.Entry, error) {
	known, err := b.reader.StateAt(b.ctx, st.room, st.from.StateAfter)
	if err != nil {
		return nil, err
	}
	return target.Changes(known, nil)
}

// addHidden adds the state that changed during the timeline without being shown in it.
func addHidden(entries []reader.Entry, start, end *reader.State, shown []schema.Event) ([]reader.Entry, error) {
	inTimeline := make(map[uint64]bool, len(shown))
	for i := range shown {
		inTimeline[shown[i].Seq] = true
	}
	hidden, err := end.Changes(start, nil)
	if err != nil {
		return nil, err
	}
	at := make(map[event.Tuple]int, len(entries))
	for i, e := range entries {
		at[e.Tuple] = i
	}
	for _, e := range hidden {
		if inTimeline[e.Seq] {
			continue
		}
		if i, ok := at[e.Tuple]; ok {
			entries[i] = e
		} else {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// lazyLoad leaves out the members that the client need not know, if the filter asks for that: on the first sight of a room all but
// the timeline's senders, the heroes and the user; later only those that it has. Changes in a gap always stay.
func (b *builder) lazyLoad(entries []reader.Entry, st stretch, t timeline, end *reader.State, summary bool) ([]reader.Entry, error) {
	f := &b.req.Filter.Room.State
	if !f.LazyLoadMembers {
		return entries, nil
	}
	full := st.fresh || b.req.FullState
	wanted, err := b.wantedMembers(st, t, full, summary)
	if err != nil {
		return nil, err
	}
	var kept []reader.Entry
	present := map[string]bool{}
	for _, e := range entries {
		if e.Type != "m.room.member" {
			kept = append(kept, e)
			continue
		}
		if full && !wanted[e.StateKey] {
			continue
		}
		present[e.StateKey] = true
		kept = append(kept, e)
	}
	// The timeline's senders whose membership did not change.
	for userID := range wanted {
		if present[userID] {
			continue
		}
		seq, ok, err := end.Number("m.room.member", userID)
		if err != nil {
			return nil, err
		}
		if !ok || shownInTimeline(t, seq) || !f.IncludeRedundantMembers && b.lazy.redundant(st.room, userID, seq) {
			continue
		}
		kept = append(kept, reader.Entry{Tuple: event.Tuple{Type: "m.room.member", StateKey: userID}, Seq: seq})
	}
	return kept, nil
}

// rememberMembers notes the memberships that the answer holds after all filtering, for a device that loads members lazily.
func (b *builder) rememberMembers(roomID string, rows []schema.Event) {
	if !b.req.Filter.Room.State.LazyLoadMembers {
		return
	}
	for i := range rows {
		if row := &rows[i]; row.Type == "m.room.member" && row.StateKey != nil {
			b.lazy.add(roomID, *row.StateKey, row.Seq)
		}
	}
}

// wantedMembers are the senders in the timeline, the heroes if the summary names them, and for a full state the user.
func (b *builder) wantedMembers(st stretch, t timeline, full, summary bool) (map[string]bool, error) {
	wanted := map[string]bool{}
	for i := range t.rows {
		wanted[t.rows[i].Sender] = true
	}
	if full {
		wanted[b.req.UserID] = true
	}
	if full || summary || slices.ContainsFunc(t.rows, inSummary) {
		heroes, err := b.heroes(st.room)
		if err != nil {
			return nil, err
		}
		for _, h := range heroes {
			wanted[h] = true
		}
	}
	return wanted, nil
}

func shownInTimeline(t timeline, seq uint64) bool {
	for i := range t.rows {
		if t.rows[i].Seq == seq {
			return true
		}
	}
	return false
}

// placeState puts the state where the client asked for it.
func (b *builder) placeState(delta []schema.Event, access *reader.Access, state, after, unstable **Events) error {
	v := b.view()
	v.Bundle = false
	events, err := access.Client(b.ctx, v, delta...)
	if err != nil || len(events) == 0 {
		return err
	}
	b.trim(events)
	shown := &Events{events}
	switch {
	case b.req.StateAfter:
		*after = shown
	case b.req.UnstableStateAfter:
		*unstable = shown
	default:
		*state = shown
	}
	return nil
}

// counts adds the unread notifications.
func (b *builder) counts(room *JoinedRoom, st stretch) error {
	counts, err := b.unread.Counts(b.newest, b.req.UserID, st.room, st.last.Seq)
	if err != nil {
		return err
	}
	main := UnreadCounts{Highlight: counts.Main.Highlight, Notification: counts.Main.Notify}
	if b.req.Filter.Room.Timeline.UnreadThreadNotifications {
		for root, c := range counts.Threads {
			put(&room.UnreadThreads, root, UnreadCounts{Highlight: c.Highlight, Notification: c.Notify})
		}
	} else {
		for _, c := range counts.Threads {
			main.Highlight += c.Highlight
			main.Notification += c.Notify
		}
	}
	room.UnreadNotifications = &main
	return nil
}
