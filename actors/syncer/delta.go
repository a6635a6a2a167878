package syncer

import (
	"slices"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/persistence/schema"
)

// delta is the state that an answer has beside the timeline.
type delta struct {
	rows    []schema.Event
	summary bool // something changed that the room's summary shows
}

// stateDelta lists the state that the client lacks: up to the start of the timeline, or to its end with state_after.
// What the timeline's filter hides from the timeline is in it too, so that no change of state is ever lost.
func (b *builder) stateDelta(st stretch, t timeline) (delta, error) {
	end, err := b.reader.StateAt(b.ctx, st.room, st.last.RoomStateRoot())
	if err != nil {
		return delta{}, err
	}
	full := st.fresh || st.whole || b.req.FullState
	target := end
	if !b.stateAfter() && len(t.rows) > 0 {
		if target, err = b.reader.Before(b.ctx, &t.rows[0]); err != nil {
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
	summary := slices.ContainsFunc(entries, b.changesSummary)
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

// cut shortens a timeline to where its own state events lead to the state at its end: clients apply them after the state, but what the
// user may not see, or does not ask for, may have changed that again. What is cut off lies in the gap. The newest event of all is always shown.
func (b *builder) cut(st stretch, t *timeline) error {
	if b.stateAfter() {
		return nil
	}
	end, err := b.reader.StateAt(b.ctx, st.room, st.last.RoomStateRoot())
	if err != nil {
		return err
	}
	newest := map[event.Tuple]bool{}
	for i := len(t.rows) - 1; i >= 0; i-- {
		row := &t.rows[i]
		if row.StateKey == nil {
			continue
		}
		tuple := event.Tuple{Type: row.Type, StateKey: *row.StateKey}
		if newest[tuple] {
			continue
		}
		newest[tuple] = true
		seq, _, err := end.Number(tuple.Type, tuple.StateKey)
		if err != nil {
			return err
		}
		switch {
		case seq == row.Seq:
		case row.Seq == st.last.Seq: // the resolution of state has undone it: what holds is told next time (changes)
			t.limited = t.limited || i > 0
			t.rows, t.start = t.rows[i:], row.Seq-1
			return nil
		default:
			t.rows, t.start, t.limited = t.rows[i+1:], row.Seq, true
			return nil
		}
	}
	return nil
}

func (b *builder) stateAfter() bool { return b.req.StateAfter || b.req.UnstableStateAfter }

func (b *builder) changes(st stretch, target *reader.State) ([]reader.Entry, error) {
	known, err := b.reader.StateAt(b.ctx, st.room, st.from.RoomStateRoot())
	if err != nil {
		return nil, err
	}
	entries, err := target.Changes(known, nil)
	if err != nil || st.from.StateKey == nil || b.stateAfter() {
		return entries, err
	}
	// Who was shown the last event took it for the state, which it need not be (cut).
	tuple := event.Tuple{Type: st.from.Type, StateKey: *st.from.StateKey}
	if seq, _, err := known.Number(tuple.Type, tuple.StateKey); err != nil || seq == st.from.Seq {
		return entries, err
	}
	seq, ok, err := target.Number(tuple.Type, tuple.StateKey)
	if err == nil && ok && !slices.ContainsFunc(entries, func(e reader.Entry) bool { return e.Tuple == tuple }) {
		entries = append(entries, reader.Entry{Tuple: tuple, Seq: seq})
	}
	return entries, err
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
	full := st.fresh || st.whole || b.req.FullState
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
	if full || summary || slices.ContainsFunc(t.rows, b.inSummary) {
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
	*b.place(state, after, unstable) = &Events{events}
	return nil
}

// place is the member of the answer that holds the state, as the client asked for it.
func (b *builder) place(state, after, unstable **Events) **Events {
	switch {
	case b.req.StateAfter:
		return after
	case b.req.UnstableStateAfter:
		return unstable
	}
	return state
}
