package sliding

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/persistence/schema"
)

// stretch is what is new of a room's history and state, up to the event last.
type stretch struct {
	r      *room
	access *reader.Access
	last   schema.Event
	from   schema.Event // the newest event that the client knows of, unless fresh
	fresh  bool         // the client is to know the room from scratch
	end    *reader.State
	// changes are the places of the state whose events differ between from and last, with 0 where there is none any more; nil when fresh.
	changes []reader.Entry

	gone     []event.Tuple  // the state that the client asks for and has, but that is no more; unless it wants no stubs
	rows     []schema.Event // the timeline, oldest first
	start    uint64         // the gap before it
	limited  bool
	expanded bool
}

// stretch gives a room that the user is or was in, up to the event last; nil if there is nothing new.
func (b *builder) stretch(r *room, access *reader.Access, last schema.Event) (*Room, error) {
	st := &stretch{r: r, access: access, last: last}
	for _, part := range []func(*stretch) error{b.bound, b.timeline} {
		if err := part(st); err != nil {
			return nil, err
		}
	}
	r.begins, r.rows = st.fresh, st.rows
	if st.fresh || st.expanded {
		r.timeline = st.rows
	}
	s := b.becomes(r)
	if st.fresh {
		s.Members = nil
	}
	result := &Room{Initial: st.fresh, Expanded: st.expanded}
	state, err := b.requiredState(st, s)
	if err != nil {
		return nil, err
	}
	if err := b.show(result, st, state); err != nil {
		return nil, err
	}
	changed, err := b.summarize(result, st)
	if err != nil {
		return nil, err
	}
	if dm := b.direct[r.id]; dm != s.Dm || st.fresh && dm {
		s.Dm, changed = dm, true
		result.IsDM = &dm
	}
	if access.Joined() {
		counted, err := b.count(result, s, r.id, last.Seq)
		if err != nil {
			return nil, err
		}
		changed = changed || counted
	}
	known := s.Events
	s.Membership, s.Events, s.state = r.stamps.Membership, max(b.plan.Pos, last.Pos), r.config.State
	if limit := int64(r.timelineLimit()); st.fresh || st.expanded || st.limited || limit > s.TimelineLimit {
		s.TimelineLimit = limit
	}
	stamp, err := b.bumpOf(r.id, last)
	if err != nil {
		return nil, err
	}
	if st.fresh || stamp > known {
		result.BumpStamp = stamp
		changed = changed || len(st.rows) > 0
	}
	if !st.fresh && !st.expanded && !changed && len(st.rows) == 0 && !st.limited && len(state)+len(st.gone) == 0 {
		return nil, nil
	}
	b.budget -= 1 + len(st.rows) + len(state)
	return result, nil
}

// bound finds where the stretch begins.
func (b *builder) bound(st *stretch) error {
	var err error
	if st.end, err = b.reader.StateAt(b.ctx, st.r.id, st.last.RoomStateRoot()); err != nil {
		return err
	}
	sent := st.r.sent
	if st.fresh = sent == nil || sent.Membership != "join" && !gone(sent.Membership); st.fresh {
		return nil
	}
	joined, err := b.reader.EventAt(b.ctx, st.r.id, st.access.Member.JoinedSeq)
	if err != nil {
		return err
	}
	if st.fresh = joined.Pos > sent.Events; st.fresh {
		return nil
	}
	var ok bool
	if st.from, ok, err = b.reader.Last(b.ctx, st.r.id, sent.Events); err != nil {
		return err
	}
	if st.fresh = !ok; st.fresh {
		return nil
	}
	if st.from.Seq > st.last.Seq {
		st.from = st.last
	}
	if st.from.Seq == st.last.Seq {
		return nil
	}
	known, err := b.reader.StateAt(b.ctx, st.r.id, st.from.RoomStateRoot())
	if err != nil {
		return err
	}
	st.changes, err = st.end.Differences(known, nil)
	return err
}

// timeline reads the newest events of the stretch. When the client asks for more of them than before, it gets so many, whatever it has.
func (b *builder) timeline(st *stretch) error {
	limit := st.r.timelineLimit()
	st.expanded = !st.fresh && int64(limit) > st.r.sent.TimelineLimit
	p := reader.Page{From: st.last.Seq, Backwards: true, Limit: limit}
	if !st.fresh && !st.expanded {
		p.To = st.from.Seq
	}
	page, err := st.access.Read(b.ctx, p)
	if err != nil {
		return err
	}
	slices.Reverse(page.Events)
	st.rows, st.limited, st.start = page.Events, page.More, page.End
	return nil
}

// show turns timeline and state into what the client gets.
func (b *builder) show(result *Room, st *stretch, state []schema.Event) error {
	var err error
	if len(state) > 0 {
		if result.RequiredState, err = st.access.Client(b.ctx, b.view(false), state...); err != nil {
			return err
		}
	}
	for _, place := range st.gone {
		stub, err := json.Marshal(stateStub{place.Type, place.StateKey})
		if err != nil {
			return err
		}
		result.RequiredState = append(result.RequiredState, stub)
	}
	if len(st.rows) == 0 && !st.fresh && !st.limited {
		return nil
	}
	if result.Timeline, err = st.access.Client(b.ctx, b.view(true), st.rows...); err != nil {
		return err
	}
	live := 0
	for i := range st.rows {
		if b.since > 0 && st.rows[i].Pos > b.since {
			live++
		}
	}
	result.NumLive, result.Limited = &live, &st.limited
	result.PrevBatch = token.Timeline{Seq: st.start}.String()
	return nil
}

// summarize adds what rooms are listed with, as far as it is new.
func (b *builder) summarize(result *Room, st *stretch) (changed bool, err error) {
	name, nameNew, err := b.fromState(st, "m.room.name", "content.name")
	if err != nil {
		return false, err
	}
	avatar, avatarNew, err := b.fromState(st, "m.room.avatar", "content.url")
	if err != nil {
		return false, err
	}
	if nameNew && (name != "" || !st.fresh) {
		result.Name = text(name)
	}
	if avatarNew && (avatar != "" || !st.fresh) {
		result.Avatar = text(avatar)
	}
	members := st.fresh || slices.ContainsFunc(st.changes, func(e reader.Entry) bool { return e.Type == "m.room.member" })
	if !st.access.Joined() {
		return nameNew || avatarNew, nil
	}
	if members {
		row, err := b.reader.Room(b.ctx, st.r.id)
		if err != nil {
			return false, err
		}
		result.JoinedCount, result.InvitedCount = &row.JoinedMembers, &row.InvitedMembers
	}
	if name == "" && (members || nameNew) {
		if result.Heroes, err = b.heroes(st); err != nil {
			return false, err
		}
	}
	return nameNew || avatarNew || members, nil
}

// fromState reads a text in the state event of this type, and whether it may have changed.
func (b *builder) fromState(st *stretch, typ, path string) (string, bool, error) {
	changed := st.fresh || slices.ContainsFunc(st.changes, func(e reader.Entry) bool { return e.Type == typ && e.StateKey == "" })
	row, ok, err := st.end.Get(b.ctx, typ, "")
	if err != nil || !ok {
		return "", changed, err
	}
	return gjson.GetBytes(row.JSON, path).Str, changed, nil
}

func (b *builder) heroes(st *stretch) ([]Hero, error) {
	users, err := syncer.Heroes(b.ctx, b.reader, st.r.id, b.req.UserID)
	if err != nil {
		return nil, err
	}
	heroes := []Hero{}
	for _, userID := range users {
		row, ok, err := st.end.Get(b.ctx, "m.room.member", userID)
		if err != nil {
			return nil, err
		}
		if ok {
			heroes = append(heroes, hero(row))
		}
	}
	return heroes, nil
}

// requiredState gives the state that the client asks for and lacks.
func (b *builder) requiredState(st *stretch, s *sentRoom) ([]schema.Event, error) {
	wanted := st.r.config.State
	var entries []reader.Entry
	var err error
	if st.fresh {
		if entries, err = b.everything(st, wanted); err != nil {
			return nil, err
		}
	} else {
		for _, e := range st.changes {
			switch {
			case e.Seq == 0:
				st.vanished(e.Tuple, wanted, b.req.stubs)
			case wanted.wants(e.Tuple):
				entries = append(entries, e)
			}
		}
		if s.state.key != wanted.key {
			if entries, err = b.widened(st, s.state, entries); err != nil {
				return nil, err
			}
		}
	}
	if wanted.lazy() {
		if entries, err = b.lazyMembers(st, s, entries); err != nil {
			return nil, err
		}
	}
	return st.end.Events(b.ctx, entries)
}

// vanished notes state that is no more.
func (st *stretch) vanished(place event.Tuple, wanted RequiredState, stubs bool) {
	if stubs && (wanted.wants(place) || place.Type == "m.room.member" && wanted.lazy() && !st.limited) {
		st.gone = append(st.gone, place)
	}
}

// everything gives all of the state that is wanted whatever the timeline holds.
func (b *builder) everything(st *stretch, wanted RequiredState) ([]reader.Entry, error) {
	places, types, all := wanted.extent()
	if all {
		return st.end.Entries(wanted.wants)
	}
	// State of these types that is there now was there then, or has come since; what has gone since nobody needs any more.
	for typ := range types {
		refs, err := b.reader.CurrentOf(b.ctx, st.r.id, typ)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			places[event.Tuple{Type: typ, StateKey: ref.StateKey}] = true
		}
	}
	var entries []reader.Entry
	for tuple := range places {
		if !wanted.wants(tuple) {
			continue
		}
		seq, ok, err := st.end.Number(tuple.Type, tuple.StateKey)
		if err != nil {
			return nil, err
		}
		if ok {
			entries = append(entries, reader.Entry{Tuple: tuple, Seq: seq})
		}
	}
	slices.SortFunc(entries, func(a, b reader.Entry) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return entries, nil
}

// widened adds what is wanted now and was not before.
func (b *builder) widened(st *stretch, before RequiredState, entries []reader.Entry) ([]reader.Entry, error) {
	all, err := b.everything(st, st.r.config.State)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if !before.wants(e.Tuple) && !slices.Contains(entries, e) {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// lazyMembers adds the members whom the timeline needs: who sent its events, and whom its membership events are about, unless the
// client has them. Without a gap it gets every membership that changed; at a gap it forgets those that it has.
func (b *builder) lazyMembers(st *stretch, s *sentRoom, entries []reader.Entry) ([]reader.Entry, error) {
	if st.limited {
		s.Members = nil
	}
	needed := map[string]bool{}
	for i := range st.rows {
		row := &st.rows[i]
		needed[row.Sender] = true
		if row.Type == "m.room.member" && row.StateKey != nil {
			needed[*row.StateKey] = true
		}
	}
	if !st.limited {
		for _, e := range st.changes {
			if e.Type == "m.room.member" {
				needed[e.StateKey] = true
			}
		}
	}
	given := map[string]uint64{}
	for _, e := range entries {
		if e.Type == "m.room.member" {
			given[e.StateKey] = e.Seq
		}
	}
	for userID := range needed {
		if given[userID] != 0 {
			continue
		}
		seq, ok, err := st.end.Number("m.room.member", userID)
		if err != nil {
			return nil, err
		}
		if ok && !s.hasMember(userID, seq) {
			given[userID] = seq
			entries = append(entries, reader.Entry{Tuple: event.Tuple{Type: "m.room.member", StateKey: userID}, Seq: seq})
		}
	}
	s.addMembers(given)
	return entries, nil
}
