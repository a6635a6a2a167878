package room

import (
	"errors"
	"slices"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// tellState takes in the whole state before an event of a partial room. With the last that is wanted the room becomes whole.
func (d *draft) tellState(in TellState) error {
	if !d.resident() {
		return mxerr.NotFound("this server is not in the room %s", d.m.o.RoomID)
	}
	result := Result{EventID: in.EventID, Status: ResultKnown}
	p := d.lacking()
	at := -1
	if p != nil {
		at = p.point(in.EventID)
	}
	if at < 0 || p.Points[at].State != (statetree.Hash{}) {
		d.results = []Result{result}
		return nil
	}
	entry := d.entryByID(in.EventID)
	join := d.entryByID(p.Points[0].EventID)
	if err := d.waiting(); err != nil {
		return err
	}
	state, missing, err := d.toldState(in, p, entry == join, join)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		d.results = []Result{{EventID: in.EventID, Status: ResultMissing, MissingAuth: missing}}
		return nil
	}
	if entry == join {
		auths, _ := d.citedAuth(join.Event)
		status, reason, err := d.judge(join.Event, auths, view{d, state})
		if err != nil {
			return err
		}
		if status == Rejected {
			d.results = []Result{rejectedUnstored(result, reason)}
			return nil
		}
	}
	result.Status = ResultAccepted
	d.results = []Result{result}
	p = p.with(Point{EventID: in.EventID, State: state.Root()})
	if !p.told() {
		d.setPartial(p)
		return d.waiting()
	}
	return d.complete(p)
}

// toldState is the state that was told. To what came with the join it adds the members only: nobody else has a say in the rest. When nobody
// tells the state before another event, that before the join stands for it.
func (d *draft) toldState(in TellState, p *Partial, first bool, join *Entry) (statetree.Tree, []string, error) {
	if !first && len(in.State) == 0 {
		return d.open(p.Points[0].State), nil, nil
	}
	if !first {
		return d.stateOf(in.State)
	}
	members, missing, err := d.stateEntries(in.State)
	if err != nil || len(missing) > 0 {
		return statetree.Tree{}, missing, err
	}
	before := d.open(join.StateBefore)
	state := before
	for _, m := range members {
		t := m.Event.Tuple()
		if t.Type != memberTuple("").Type {
			continue
		}
		_, known, err := before.Get(t)
		if err == nil && !known {
			state, err = state.Set(t, m.number())
		}
		if err != nil && d.need.empty() {
			return state, nil, err
		}
	}
	d.keepNodes(state.Fresh(before))
	return state, nil, d.waiting()
}

// complete works out again what has happened since the join, from the whole states that were told.
func (d *draft) complete(p *Partial) error {
	seqs := d.m.passing.since
	if seqs == nil {
		d.need.Since = p.Seq
		return errMissing
	}
	r := &rework{d: d, told: map[string]statetree.Hash{}, cited: map[string]bool{}}
	for _, point := range p.Points {
		r.told[point.EventID] = point.State
		if _, err := d.node(point.State); err != nil {
			d.need.Trees, d.need.Nodes = append(d.need.Trees, point.State), nil
		}
	}
	var old []*Entry
	for _, seq := range seqs {
		if e := d.entry(seq); e != nil {
			d.citedAuth(e.Event)
			d.citedPrev(e.Event)
			old = append(old, e)
		}
	}
	if err := d.waiting(); err != nil {
		return err
	}
	was := d.head.state
	d.head.state, d.head.extremities = d.open(p.Points[0].State), nil
	d.reworked = &reworked{byNumber: map[uint64]*Entry{}, byID: map[string]*Entry{}}
	for _, e := range old {
		if err := r.again(e); err != nil {
			return err
		}
	}
	if err := d.waiting(); err != nil {
		return err
	}
	last := d.reworked.list[len(d.reworked.list)-1]
	state := d.head.state
	d.head.state = d.open(was.Root())
	if err := d.moveTo(state, last); err != nil {
		return err
	}
	if d.lacking() != nil { // else the last user of this server has gone with it
		d.setPartial(nil)
		d.uncountServers(p, last.Seq)
	}
	d.sendAgain(p, last.Seq)
	d.amended = append(d.amended, d.reworked.list...)
	d.alone, d.snapshot, d.whole = true, true, true
	return d.waiting()
}

// sendAgain has servers that were in the room all the time, which the other server did not name, sent what was sent meanwhile.
func (d *draft) sendAgain(p *Partial, last uint64) {
	found := false
	for name, row := range d.servers {
		if row.JoinedSeq == last && d.m.servers[name].Joined == 0 && row.Joined > 0 && name != d.m.o.ServerName {
			row.JoinedSeq, found = p.Seq, true
			d.servers[name] = row
		}
	}
	if !found {
		return
	}
	for _, e := range d.reworked.list {
		e.Outbound = e.Status == Accepted && e.Seq != p.Seq && d.local(e.Event.Sender())
	}
}

// reworked are entries as they are with the whole state. They stand in the place of those that they were made of.
type reworked struct {
	list     []*Entry
	byNumber map[uint64]*Entry
	byID     map[string]*Entry
}

func (r *reworked) add(e *Entry) {
	r.list = append(r.list, e)
	r.byNumber[e.Seq], r.byNumber[e.number()], r.byID[e.Event.ID()] = e, e, e
}

// rework goes through the room from its join on.
type rework struct {
	d     *draft
	told  map[string]statetree.Hash
	cited map[string]bool // events that others before them follow
}

// again works an entry out again. An entry for which facts are missing is taken as it would be were it accepted, so that all that is missing
// is found in few rounds.
func (r *rework) again(old *Entry) error {
	d, e := r.d, old.Event
	before, err := r.before(old)
	if err != nil {
		return err
	}
	entry := *old
	entry.Status, entry.Outbound, entry.PrevMembership = Accepted, false, ""
	entry.StateBefore, entry.StateAfter, entry.RoomState = before.Root(), before.Root(), statetree.Hash{}
	auths, _ := d.citedAuth(e)
	entry.Status, _, err = d.judge(e, auths, view{d, before})
	if err == nil && entry.Status == Accepted && len(d.reworked.list) > 0 && (old.Status == SoftFailed || r.refusedNow(&entry, before)) {
		entry.Status = SoftFailed
	}
	if len(e.PrevEvents()) == 0 {
		entry.Status = Rejected
	}
	if err != nil && !errors.Is(err, errMissing) {
		return err
	}
	if e.IsState() {
		if err := d.replaces(&entry, before); err != nil && !errors.Is(err, errMissing) {
			return err
		}
		if entry.Status != Rejected {
			after, err := d.set(before, e.Tuple(), entry.number())
			if err != nil {
				return err
			}
			entry.StateAfter = after.Root()
		}
	}
	d.reworked.add(&entry)
	return r.advance(&entry)
}

// before is the whole state before the event.
func (r *rework) before(old *Entry) (statetree.Tree, error) {
	root, told := r.told[old.Event.ID()]
	if told && len(r.d.reworked.list) == 0 { // the join
		return r.d.open(root), nil
	}
	prevs, _ := r.d.citedPrev(old.Event)
	if !told {
		return r.d.stateBefore(prevs, nil)
	}
	state := r.d.open(root)
	return r.d.stateBefore(slices.DeleteFunc(prevs, func(p *Entry) bool { return p.Seq > old.Seq }), &state)
}

// refusedNow reports whether the room's state at the time would not have allowed the event.
func (r *rework) refusedNow(entry *Entry, before statetree.Tree) bool {
	current := r.d.head.state
	if before.Root() == current.Root() {
		return false
	}
	err := r.d.check(entry.Event, view{r.d, current})
	return err != nil && !errors.Is(err, errMissing)
}

// advance moves the tip to where the entry takes it.
func (r *rework) advance(entry *Entry) error {
	d := r.d
	if entry.Status == Accepted && !r.cited[entry.Event.ID()] {
		d.head.extremities = d.followed(entry)
		roots := make([]statetree.Hash, len(d.head.extremities))
		for i, x := range d.head.extremities {
			roots[i] = x.State
		}
		state, err := d.merge(roots)
		if err != nil {
			return err
		}
		d.head.state = state
	}
	if root := d.head.state.Root(); root != entry.StateAfter {
		entry.RoomState = root
	}
	for _, id := range entry.Event.PrevEvents() {
		r.cited[id] = true
	}
	return nil
}

// stateEntries are the state events with the ids, and the ids of those that are not known. Rejected events are in no state.
func (d *draft) stateEntries(ids []string) (entries []*Entry, missing []string, err error) {
	entries = make([]*Entry, 0, len(ids))
	for _, id := range ids {
		switch entry := d.entryByID(id); {
		case entry == nil:
			missing = append(missing, id)
		case entry.Event.IsState() && entry.Status != Rejected:
			entries = append(entries, entry)
		}
	}
	return slices.Clip(entries), missing, d.waiting()
}
