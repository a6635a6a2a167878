package room

import (
	"cmp"
	"maps"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// openGap notes that history is missing. A room remembers a bounded number of gaps; the oldest are given up.
func (d *draft) openGap(g Gap) {
	if d.gaps == nil {
		d.gaps = map[uint64]*Gap{}
	}
	d.gaps[g.Seq] = &g
	if open := slices.Sorted(maps.Keys(d.m.gaps)); len(open) >= maxGaps {
		d.gaps[open[0]] = nil
	}
}

// receiveAt takes in an event with the state before it as another server tells it.
func (d *draft) receiveAt(in ReceivePDUAt) error {
	if !d.resident() {
		return mxerr.NotFound("this server is not in the room %s", d.m.o.RoomID)
	}
	e, err := event.FromStored(in.PDU.JSON, in.PDU.EventID, d.version)
	if err != nil {
		return err
	}
	_, missingPrev := d.citedPrev(e)
	if err := d.waiting(); err != nil {
		return err
	}
	if len(missingPrev) > 0 && d.lacking() != nil {
		return d.receiveUnplaced(in, e)
	}
	if len(missingPrev) > 0 && len(in.StateBefore) == 0 { // no event but the first has no state before it
		d.results = []Result{{EventID: in.PDU.EventID, Status: ResultMissing, MissingPrev: missingPrev}}
		return nil
	}
	var told *statetree.Tree
	if len(missingPrev) > 0 {
		state, missing, err := d.stateOf(in.StateBefore)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			d.results = []Result{{EventID: in.PDU.EventID, Status: ResultMissing, MissingAuth: missing}}
			return nil
		}
		told = &state
	}
	result, err := d.take(in.PDU, in.Now, told)
	d.results = []Result{result}
	return err
}

// backfill puts older events into a gap: downward from its upper end, each before those that follow it.
func (d *draft) backfill(in Backfill) error {
	gap, ok := d.m.gaps[in.Gap]
	if !ok {
		return mxerr.NotFound("the room has no such gap, or has none any more")
	}
	if d.lacking() != nil {
		return PartialState(d.m.o.RoomID)
	}
	if in.Exhausted {
		d.closeGap(gap.Seq)
		return nil
	}
	events, err := d.olderEvents(in, gap.Wanted)
	if err != nil {
		return err
	}
	if gap.Next < gap.Floor+uint64(len(events)) {
		d.closeGap(gap.Seq) // there is no number left
		events = nil
	}
	results := map[string]Result{}
	first := gap.Next - uint64(len(events)) + 1
	for _, e := range events {
		r, err := d.takeOlder(e, in, first+uint64(len(d.older)))
		if err != nil {
			return err
		}
		results[e.ID()] = r
	}
	for _, pdu := range in.PDUs {
		r, ok := results[pdu.EventID]
		if !ok {
			r = rejectedUnstored(Result{EventID: pdu.EventID}, "it is no event of this room, or there is no place for it")
			if entry := d.entryByID(pdu.EventID); entry != nil && !entry.outlier() {
				r = Result{EventID: pdu.EventID, Status: ResultKnown, Entry: entry}
			}
		}
		d.results = append(d.results, r)
	}
	d.narrow(gap, first)
	return d.waiting()
}

// narrow notes how far the gap is filled: it wants the predecessors of what it got.
func (d *draft) narrow(gap Gap, first uint64) {
	wanted := map[string]bool{}
	for _, id := range gap.Wanted {
		wanted[id] = true
	}
	for _, e := range d.older {
		for _, id := range e.Event.PrevEvents() {
			wanted[id] = true
		}
	}
	for id := range wanted {
		if entry := d.entryByID(id); entry != nil && !entry.outlier() {
			delete(wanted, id)
		}
	}
	switch {
	case len(wanted) == 0:
		d.closeGap(gap.Seq)
	case len(d.older) > 0:
		gap.Next, gap.Wanted = first-1, slices.Sorted(maps.Keys(wanted))
		d.openGap(gap)
	}
}

// wanted takes in that an event has come by itself which gaps want, and reports whether there was one. What follows the event is here
// already, so that it is no forward extremity: it would bring back the state of then.
func (d *draft) wanted(eventID string) bool {
	found := false
	for _, gap := range d.m.gaps {
		i := slices.Index(gap.Wanted, eventID)
		if changed, ok := d.gaps[gap.Seq]; i < 0 || ok && changed == nil {
			continue
		}
		found = true
		if gap.Wanted = slices.Delete(slices.Clone(gap.Wanted), i, i+1); len(gap.Wanted) == 0 {
			d.closeGap(gap.Seq)
		} else {
			d.openGap(gap)
		}
	}
	return found
}

func (d *draft) closeGap(seq uint64) {
	if d.gaps == nil {
		d.gaps = map[uint64]*Gap{}
	}
	d.gaps[seq] = nil
}

// olderEvents reads the events that a gap wants and, of what comes before those, what is not here: what comes before an event that is here
// belongs before it. Those that others follow come first.
func (d *draft) olderEvents(in Backfill, wanted []string) ([]*event.Event, error) {
	byID := map[string]*event.Event{}
	for _, pdu := range in.PDUs {
		e, err := event.FromStored(pdu.JSON, pdu.EventID, d.version)
		if err == nil && e.RoomID() == d.m.o.RoomID {
			byID[e.ID()] = e
		}
	}
	order := make([]*event.Event, 0, len(byID))
	state := map[string]int{} // 1: being visited, 2: done, or here
	for id := range byID {
		if entry := d.entryByID(id); entry != nil && !entry.outlier() {
			state[id] = 2
		}
	}
	if err := d.waiting(); err != nil {
		return nil, err
	}
	ids := slices.DeleteFunc(slices.Clone(wanted), func(id string) bool { return byID[id] == nil })
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(byID[a].Depth(), byID[b].Depth()), cmp.Compare(a, b))
	})
	// Depths may lie, so that the order is that of the citations; it is walked without recursion.
	for _, first := range ids {
		stack := []string{first}
		for len(stack) > 0 {
			id := stack[len(stack)-1]
			if state[id] != 0 {
				stack = stack[:len(stack)-1]
				if state[id] == 1 {
					state[id] = 2
					order = append(order, byID[id])
				}
				continue
			}
			state[id] = 1
			for _, prev := range byID[id].PrevEvents() {
				if byID[prev] != nil && state[prev] == 0 {
					stack = append(stack, prev)
				}
			}
		}
	}
	for _, e := range order {
		d.entryByID(e.ID())
		d.citedAuth(e)
		d.citedPrev(e)
		d.pendingFor(e.ID())
		for _, id := range in.States[e.ID()] {
			d.entryByID(id)
		}
	}
	return order, d.waiting()
}

// takeOlder takes in one older event, with this number if it is stored.
func (d *draft) takeOlder(e *event.Event, in Backfill, number uint64) (Result, error) {
	r := Result{EventID: e.ID()}
	known := d.entryByID(e.ID())
	if known != nil && !known.outlier() {
		r.Status, r.Entry = ResultKnown, known
		return r, nil
	}
	auths, missingAuth := d.citedAuth(e)
	prevs, missingPrev := d.citedPrev(e)
	state, told := in.States[e.ID()]
	if len(missingAuth) > 0 || len(missingPrev) > 0 && !told {
		r.Status, r.MissingAuth, r.MissingPrev = ResultMissing, missingAuth, missingPrev
		return r, nil
	}
	var before statetree.Tree
	var err error
	if len(missingPrev) > 0 {
		var missing []string
		if before, missing, err = d.stateOf(state); len(missing) > 0 {
			r.Status, r.MissingAuth = ResultMissing, missing
		}
		if err != nil || len(missing) > 0 {
			return r, err
		}
		before, err = d.stateBefore(prevs, &before)
	} else {
		before, err = d.stateBefore(prevs, nil)
	}
	if err != nil {
		return r, err
	}
	entry := &Entry{Seq: number, Event: e, ReceivedTS: in.Now, StateBefore: before.Root(), StateAfter: before.Root()}
	if known != nil {
		entry.Number = known.Seq
	}
	if entry.Status, r.Reason, err = d.judge(e, auths, view{d, before}); err != nil {
		return r, err
	}
	if undone, err := d.undoes(entry, known); err != nil || undone {
		return rejectedUnstored(r, r.Reason), err
	}
	for _, redaction := range d.pendingFor(e.ID()) {
		if err := d.redactedBefore(entry, redaction); err != nil {
			return r, err
		}
	}
	d.older = append(d.older, entry)
	r.Entry = entry
	if entry.Status == Rejected {
		r.Status = ResultRejected
	}
	d.stick(entry)
	return r, d.enterOlder(entry, before)
}

// enterOlder works out the state after an older event, and what relates to what.
func (d *draft) enterOlder(entry *Entry, before statetree.Tree) error {
	e := entry.Event
	if e.IsState() {
		if err := d.replaces(entry, before); err != nil {
			return err
		}
		if entry.Number == 0 {
			if err := d.cites(entry); err != nil {
				return err
			}
		}
		if entry.Status == Accepted {
			after, err := d.set(before, e.Tuple(), entry.number())
			if err != nil {
				return err
			}
			entry.StateAfter = after.Root()
		}
	}
	if entry.Status == Accepted {
		return d.entered(entry)
	}
	return d.waiting()
}
