package room

import (
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// seed makes the room exist with a join, or go on from it.
func (d *draft) seed(in SeedRoom) error {
	version, ok := roomversion.Get(in.Version)
	if !ok {
		return UnsupportedVersion(in.Version)
	}
	if d.version != nil && d.version != version {
		return mxerr.InvalidParam("the room has version %s, not %s", d.version.ID, version.ID)
	}
	d.hint = version
	join, err := event.FromStored(in.Join.JSON, in.Join.EventID, version)
	if err != nil {
		return err
	}
	if join.RoomID() != d.m.o.RoomID || join.Type() != "m.room.member" || join.Membership() != "join" {
		return mxerr.InvalidParam("%s is no join into the room", join.ID())
	}
	state, missing, err := d.stateOf(in.StateBefore)
	if err != nil {
		return err
	}
	auths, missingAuth := d.citedAuth(join)
	if err := d.waiting(); err != nil {
		return err
	}
	if missing = append(missing, missingAuth...); len(missing) > 0 {
		return mxerr.InvalidParam("the state of the room %s is not whole: %d events are missing", d.m.o.RoomID, len(missing)).With("missing", missing)
	}
	if d.resident() {
		return d.joinResident(in, state)
	}
	d.begin(version)
	if in.Partial {
		if state, err = d.adopt(state, auths); err != nil {
			return err
		}
	}
	result, err := d.takeFirst(in, state)
	if err != nil {
		return err
	}
	if result.Status == ResultRejected || result.Status == ResultMissing {
		return mxerr.Forbidden("the join is not allowed by the state that came with it: %s", result.Reason)
	}
	d.answer, d.alone, d.snapshot = result.Entry, true, true
	if in.Partial {
		d.beginPartial(in, result.Entry)
	}
	return nil
}

// joinResident is a join through another server into a room that this server is in.
func (d *draft) joinResident(in SeedRoom, state statetree.Tree) error {
	before := &state
	if in.Partial {
		before = nil // what is known here is more
	}
	result, err := d.take(in.Join, in.Now, before)
	if err != nil {
		return err
	}
	if result.Status != ResultAccepted && result.Status != ResultKnown {
		return mxerr.Forbidden("the join is not allowed here: %s", result.Reason)
	}
	d.answer = result.Entry
	return nil
}

// begin makes the room exist. What it was before, when this server was in it once, stays as history.
func (d *draft) begin(version *roomversion.Version) {
	if d.version == nil {
		d.version = version
		d.head = head{state: statetree.Empty(d.node), summary: Summary{JoinRule: withoutJoinRule, HistoryVisibility: withoutVisibility}, outliers: d.head.outliers}
	}
	d.head.extremities = nil
}

// takeFirst takes in the join as the first event of a new stretch of the timeline.
func (d *draft) takeFirst(in SeedRoom, before statetree.Tree) (Result, error) {
	r := Result{EventID: in.Join.EventID}
	e, err := event.FromStored(in.Join.JSON, in.Join.EventID, d.version)
	if err != nil {
		return r, err
	}
	auths, _ := d.citedAuth(e)
	_, missingPrev := d.citedPrev(e)
	known := d.entryByID(e.ID())
	if err := d.waiting(); err != nil {
		return r, err
	}
	if known != nil && !known.outlier() {
		return rejectedUnstored(r, "it has been used before"), nil
	}
	status, reason, err := d.judge(e, auths, view{d, before})
	if err != nil || status == Rejected {
		return rejectedUnstored(r, reason), err
	}
	step := joinStep
	if d.head.seq > 0 {
		step = gapStep
	}
	entry := &Entry{Seq: d.head.seq + step, Event: e, ReceivedTS: max(in.Now, d.head.receivedTS), StateBefore: before.Root(), StateAfter: before.Root()}
	if known != nil {
		entry.Number = known.Seq
	}
	if len(missingPrev) > 0 {
		d.openGap(Gap{Seq: entry.Seq, Next: entry.Seq - 1, Floor: d.head.seq, Wanted: missingPrev})
	}
	d.head.seq, d.head.receivedTS = entry.Seq, entry.ReceivedTS
	d.entries = append(d.entries, entry)
	if err := d.moveTo(before, entry); err != nil {
		return r, err
	}
	entry.RoomState = statetree.Hash{}
	if err := d.setState(entry); err != nil {
		return r, err
	}
	d.head.extremities = []Extremity{extremityOf(entry)}
	r.Entry = entry
	return r, d.waiting()
}

// stateOf makes a state of events that are known by their ids, and gives the ids of those that are not. Rejected events are in no state.
func (d *draft) stateOf(ids []string) (state statetree.Tree, missing []string, err error) {
	state = statetree.Empty(d.node)
	entries, missing, err := d.stateEntries(ids)
	if err != nil || len(missing) > 0 {
		return state, missing, err
	}
	for _, entry := range entries {
		if state, err = state.Set(entry.Event.Tuple(), entry.number()); err != nil {
			return state, nil, err
		}
	}
	d.keepNodes(state.Fresh(statetree.Empty(d.node)))
	return state, nil, nil
}
