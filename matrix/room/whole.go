package room

import (
	"errors"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// tellState takes in the whole state before an event of a partial room, or a part of it.
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
	if at < 0 || p.Points[at].Told {
		d.results = []Result{result}
		return nil
	}
	events, missing, err := d.stateEntries(in.State)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		d.results = []Result{{EventID: in.EventID, Status: ResultMissing, MissingAuth: missing}}
		return nil
	}
	point := p.Points[at]
	if at == 0 {
		point.State, result.Reason, err = d.tellMembers(point, events)
	} else {
		point.State, err = d.tellAll(in, p, point, events)
	}
	if err != nil {
		return err
	}
	if result.Reason != "" {
		d.results = []Result{rejectedUnstored(result, result.Reason)}
		return nil
	}
	point.Told = !in.More
	result.Status = ResultAccepted
	d.results = []Result{result}
	d.setPartial(p.with(point))
	return d.waiting()
}

// tellMembers adds members to the state before the join, and to the rows of the room: nobody but who gave the rest of that state has a say in
// it. reason says why the join would not be allowed then.
func (d *draft) tellMembers(point Point, events []*Entry) (root statetree.Hash, reason string, err error) {
	join := d.entryByID(point.EventID)
	if err := d.waiting(); err != nil {
		return root, "", err
	}
	before := d.open(point.State)
	state := before
	var members []*Entry
	for _, m := range events {
		if m.Event.Type() != memberTuple("").Type {
			continue
		}
		_, known, err := before.Get(m.Event.Tuple())
		if err == nil && !known {
			members = append(members, m)
			state, err = state.Set(m.Event.Tuple(), m.number())
		}
		if err != nil && d.need.empty() {
			return root, "", err
		}
	}
	if err := d.waiting(); err != nil {
		return root, "", err
	}
	auths, _ := d.citedAuth(join.Event)
	d.keepNodes(state.Fresh(before))
	if status, reason, err := d.judge(join.Event, auths, view{d, state}); err != nil || status == Rejected {
		return root, reason, err
	}
	for _, m := range members {
		if err := d.become(m, join); err != nil && !errors.Is(err, errMissing) {
			return root, "", err
		}
	}
	return state.Root(), "", d.waiting()
}

// tellAll is the state before another event than the join. When nobody tells it, that before the join stands for it.
func (d *draft) tellAll(in TellState, p *Partial, point Point, events []*Entry) (statetree.Hash, error) {
	if in.First && !in.More && len(events) == 0 {
		return p.Points[0].State, nil
	}
	before := d.open(point.State)
	if in.First {
		before = statetree.Empty(d.node)
	}
	state := before
	for _, e := range events {
		var err error
		if state, err = state.Set(e.Event.Tuple(), e.number()); err != nil && d.need.empty() {
			return point.State, err
		}
	}
	d.keepNodes(state.Fresh(before))
	return state.Root(), d.waiting()
}

// becomeWhole works out again what has happened since the join, from the whole states that were told.
func (d *draft) becomeWhole() error {
	p := d.lacking()
	if p == nil || !p.told() || !d.resident() {
		return nil
	}
	seqs := d.m.passing.since
	if seqs == nil {
		d.need.Since = p.Seq
		return errMissing
	}
	r := &rework{d: d, told: map[string]statetree.Hash{}, cited: map[string]bool{}}
	for _, point := range p.Points {
		r.told[point.EventID] = point.State
	}
	var old []*Entry
	for _, seq := range seqs {
		if e := d.entry(seq); e != nil {
			d.citedAuth(e.Event)
			d.citedPrev(e.Event)
			old = append(old, e)
		}
	}
	d.lookUp(p, old)
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
	if err := d.moveBy(state, last, r.changed(p, old[0], state)); err != nil {
		return err
	}
	d.sendAgain(p)
	if d.lacking() != nil { // else the last user of this server has gone with it
		d.setPartial(nil)
		d.uncountServers(p, last.Seq)
	}
	d.abandoned = nil
	d.amended = append(d.amended, d.reworked.list...)
	d.alone, d.snapshot, d.whole = true, true, true
	return d.waiting()
}

// lookUp asks at once for what the events will be judged by in the states that were told, which are large.
func (d *draft) lookUp(p *Partial, events []*Entry) {
	places := map[event.Tuple]bool{createTuple: true, powerLevelsTuple: true, joinRulesTuple: true}
	for _, e := range events {
		places[memberTuple(e.Event.Sender())] = true
		if e.Event.IsState() {
			places[e.Event.Tuple()] = true
		}
	}
	nodes := d.need.Nodes
	for _, point := range p.Points {
		state := d.open(point.State)
		for place := range places {
			if _, _, err := state.Get(place); err != nil {
				d.need.State = append(d.need.State, StateKey{Root: point.State, Tuple: place})
			}
		}
	}
	d.need.Nodes = nodes // which are on the ways to these places
}

// changed finds the places in which the state is another one than the rows of the room say, without looking at the members who are in both. The
// rows have what the current state has, and besides what was told of members. What was told is the state before the join and more members,
// so that the rows are right wherever neither the state differs from what was told nor the current state from that before the join.
func (r *rework) changed(p *Partial, join *Entry, state statetree.Tree) func(yield func(statetree.Change) bool) error {
	d := r.d
	current, told, first := d.open(d.head.state.Root()), d.open(p.Points[0].State), d.open(join.StateBefore)
	return func(yield func(statetree.Change) bool) error {
		seen := map[event.Tuple]bool{}
		var failed error
		look := func(c statetree.Change) bool {
			if seen[c.Tuple] {
				return true
			}
			seen[c.Tuple] = true
			was, _, err := current.Get(c.Tuple)
			now, _, errNow := state.Get(c.Tuple)
			if failed = errors.Join(failed, err, errNow); err != nil || errNow != nil || was == now {
				return true
			}
			return yield(statetree.Change{Tuple: c.Tuple, Old: was, New: now})
		}
		return errors.Join(statetree.Diff(told, state, look), statetree.Diff(first, current, look), failed)
	}
}

// sendAgain has servers that were in the room all the time, which the other server did not name, sent what was sent meanwhile.
func (d *draft) sendAgain(p *Partial) {
	unnamed := func(name string, row ServerRow) bool {
		return row.Joined > 0 && row.JoinedSeq == p.Seq && name != d.m.o.ServerName && !slices.Contains(p.Servers, name)
	}
	found := false
	for name := range d.m.servers {
		found = found || unnamed(name, d.server(name))
	}
	for name, row := range d.servers {
		found = found || unnamed(name, row)
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
		var err error
		if d.head.extremities, err = d.followed(entry); err != nil {
			return err
		}
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
