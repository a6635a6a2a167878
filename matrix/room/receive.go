package room

import (
	"errors"
	"slices"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// received is one of the PDUs of a request, so that one which waits for facts does not have the others worked out again.
type received struct {
	From
	origin  string
	pdu     PDU
	results []Result // of the whole request
	at      int
}

func (received) input() {}

// apart takes a request of many PDUs apart. Only the last part is answered.
func (m *Machine) apart(in Input) []Input {
	switch in := in.(type) {
	case ReceivePDUs:
		return parts(in.From, in.Origin, in.PDUs, func(r received) Input { return r })
	case AddOutliers:
		events := make([]*event.Event, len(in.PDUs))
		if version, ok := roomversion.Get(in.Version); ok {
			m.readOutliers(in.PDUs, events, version)
		}
		all := parts(in.From, in.Origin, in.PDUs, func(r received) Input { return outlier{received: r, version: in.Version, event: events[r.at]} })
		return authorisedFirst(all, events)
	}
	return []Input{in}
}

func parts(from From, origin string, pdus []PDU, part func(received) Input) []Input {
	if len(pdus) == 0 { // to be answered in its turn all the same
		return []Input{received{From: from}}
	}
	results := make([]Result, len(pdus))
	all := make([]Input, len(pdus))
	for i, pdu := range pdus {
		r := received{From: from, origin: origin, pdu: pdu, results: results, at: i}
		if i < len(pdus)-1 {
			r.Ticket = 0
		}
		all[i] = part(r)
	}
	return all
}

// note notes what became of the PDU.
func (d *draft) note(in received, r Result) {
	in.results[in.at] = r
	d.results = in.results
}

// receive takes in an event of another server (server-server API, "Checks performed on receipt of a PDU", 4 to 6).
func (d *draft) receive(in received) error {
	if !d.resident() {
		return mxerr.NotFound("this server is not in the room %s", d.m.o.RoomID)
	}
	if in.results == nil {
		return nil
	}
	result, err := d.take(in.pdu, in.Now, nil)
	if err == nil {
		if result.Entry != nil && result.Status == ResultAccepted && d.local(result.Entry.Event.Sender()) {
			result.Entry.Outbound = d.shared() // an event of ours that another server had to sign first
		}
		d.note(in, result)
	}
	return err
}

// take takes an event in. told is the state before it as another server tells it, if one does; it counts when previous events are not here.
func (d *draft) take(pdu PDU, now int64, told *statetree.Tree) (Result, error) {
	r := Result{EventID: pdu.EventID}
	known := d.entryByID(pdu.EventID)
	e, err := event.FromStored(pdu.JSON, pdu.EventID, d.version)
	if err != nil {
		return rejectedUnstored(r, err.Error()), d.waiting()
	}
	if e.RoomID() != d.m.o.RoomID {
		return rejectedUnstored(r, "the event is of another room"), d.waiting()
	}
	auths, missingAuth := d.citedAuth(e)
	prevs, missingPrev := d.citedPrev(e)
	pending := d.pendingFor(e.ID())
	if err := d.waiting(); err != nil {
		return r, err
	}
	if known != nil && (!known.outlier() || pdu.EventID == d.head.createID) {
		// The create event of a room that was joined elsewhere is an outlier until somebody scrolls back to it.
		r.Status, r.Entry = ResultKnown, known
		return r, nil
	}
	if len(missingAuth) > 0 || told == nil && len(missingPrev) > 0 {
		r.Status, r.MissingAuth, r.MissingPrev = ResultMissing, missingAuth, missingPrev
		return r, nil
	}
	if len(missingPrev) == 0 {
		told = nil
	}
	before, err := d.stateBefore(prevs, told)
	if err != nil {
		return r, err
	}
	partial := d.lacking() != nil
	if partial {
		if before, err = d.adopt(before, auths); err != nil {
			return r, err
		}
	}
	entry := &Entry{Event: e, ReceivedTS: max(now, d.head.receivedTS), StateBefore: before.Root()}
	if known != nil {
		entry.Number = known.Seq
		if known.Status == Rejected {
			entry.Status, r.Reason = Rejected, "it was rejected before"
		}
	}
	if len(e.PrevEvents()) == 0 {
		// The room has its create event; another would make it another room.
		entry.Status, r.Reason = Rejected, "only the first event of a room follows none"
	}
	if entry.Status == Accepted {
		if entry.Status, r.Reason, err = d.judge(e, auths, d.viewOf(before)); err != nil {
			return r, err
		}
	}
	if undone, err := d.undoes(entry, known); err != nil || undone {
		return rejectedUnstored(r, r.Reason), err
	}
	if entry.Status == Accepted && pdu.SoftFail {
		entry.Status, r.Reason = SoftFailed, "a policy of the room refuses it"
	}
	if entry.Status == Accepted && !partial && before.Root() != d.head.state.Root() {
		if err := d.check(e, d); err != nil {
			if errors.Is(err, errMissing) {
				return r, err
			}
			entry.Status, r.Reason = SoftFailed, "the room's state now: "+err.Error()
		}
	}
	if entry.Status == Accepted {
		if vain, err := d.redactsInVain(e); err != nil {
			return r, err
		} else if vain {
			entry.Status, r.Reason = SoftFailed, "its sender may not redact what it redacts"
		}
	}
	entry.Seq = d.place(entry, missingPrev)
	for _, redaction := range pending {
		if err := d.redactedBefore(entry, redaction); err != nil {
			return r, err
		}
	}
	r.Entry = entry
	r.Status = map[Status]ResultStatus{Accepted: ResultAccepted, SoftFailed: ResultSoftFailed, Rejected: ResultRejected}[entry.Status]
	if err := d.enter(entry, before); err != nil {
		return r, err
	}
	if !pdu.SoftFail {
		d.stick(entry)
	}
	return r, nil
}

// stateBefore is the state before an event: that of the previous events that are here, resolved with what another server tells. What it
// tells alone would let a server that withholds one previous event undo what the others have done, such as its own ban.
func (d *draft) stateBefore(prevs []*Entry, told *statetree.Tree) (statetree.Tree, error) {
	roots := statesAfter(prevs)
	if told != nil {
		roots = append(roots, told.Root())
	}
	return d.merge(roots)
}

// undoes reports whether to store the entry as rejected would undo what the room rests on now: an event of its current state, which came as
// an outlier. Another server's account of the state at that time, or of what came before, is no reason for that.
func (d *draft) undoes(entry, known *Entry) (bool, error) {
	e := entry.Event
	if entry.Status != Rejected || known == nil || known.Status != Outlier || !e.IsState() {
		return false, nil
	}
	current := d.stateEntry(e.Tuple())
	return current != nil && current.Event.ID() == e.ID(), d.waiting()
}

func rejectedUnstored(r Result, reason string) Result {
	r.Status, r.Reason = ResultRejected, reason
	return r
}

// place numbers an event that has come. Before one whose predecessors are missing there is room for them.
func (d *draft) place(entry *Entry, missingPrev []string) uint64 {
	if len(missingPrev) == 0 || entry.Status == Rejected {
		return d.head.seq + 1
	}
	seq := d.head.seq + gapStep
	d.openGap(Gap{Seq: seq, Next: seq - 1, Floor: d.head.seq, Wanted: missingPrev})
	d.snapshot = true
	return seq
}

// citedAuth are the auth events, and the ids of those that are not known.
func (d *draft) citedAuth(e *event.Event) (entries []*Entry, missing []string) {
	for _, id := range e.Authorisers() {
		if entry := d.entryByID(id); entry != nil {
			entries = append(entries, entry)
		} else {
			missing = append(missing, id)
		}
	}
	return entries, missing
}

// citedPrev are the previous events, and the ids of those that have no place here.
func (d *draft) citedPrev(e *event.Event) (entries []*Entry, missing []string) {
	for _, id := range e.PrevEvents() {
		if entry := d.entryByID(id); entry != nil && !entry.outlier() {
			entries = append(entries, entry)
		} else {
			missing = append(missing, id)
		}
	}
	return entries, missing
}

func statesAfter(entries []*Entry) []statetree.Hash {
	roots := make([]statetree.Hash, len(entries))
	for i, entry := range entries {
		roots[i] = entry.StateAfter
	}
	return roots
}

// ver is the room's version, or that of a room which does not exist yet.
func (d *draft) ver() *roomversion.Version {
	if d.version != nil {
		return d.version
	}
	return d.hint
}

// viewOf is a state as the rules look at it.
func (d *draft) viewOf(state statetree.Tree) auth.State {
	if state.Root() == d.head.state.Root() {
		return d
	}
	return view{d, state}
}

// citedState is the state that an event's auth events make.
type citedState []*Entry

// Event implements auth.State.
func (s citedState) Event(t event.Tuple) *event.Event {
	for _, entry := range s {
		if entry.Event.IsState() && entry.Event.Tuple() == t {
			return entry.Event
		}
	}
	return nil
}

// judge checks an event against its auth events, and against the state before it unless that is nil. An event that fails is rejected.
func (d *draft) judge(e *event.Event, auths []*Entry, before auth.State) (Status, string, error) {
	cited := make([]*event.Event, 0, len(auths))
	rejected := map[string]bool{}
	for _, a := range auths {
		rejected[a.Event.ID()] = a.Status == Rejected
		if !d.ver().RoomIDFromCreate || a.Event.Type() != createTuple.Type || slices.Contains(e.AuthEvents(), a.Event.ID()) {
			cited = append(cited, a.Event)
		}
	}
	if err := auth.CheckAuthEvents(e, cited, func(id string) bool { return rejected[id] }); err != nil {
		return Rejected, err.Error(), nil
	}
	if err := auth.Check(e, citedState(auths)); err != nil {
		return Rejected, "its auth events: " + err.Error(), nil
	}
	if before == nil {
		return Accepted, "", nil
	}
	err := d.check(e, before)
	switch {
	case errors.Is(err, errMissing):
		return Accepted, "", err
	case err != nil:
		return Rejected, "the state before it: " + err.Error(), nil
	}
	return Accepted, "", nil
}

// check applies the authorization rules with a state of which parts may not be in memory.
func (d *draft) check(e *event.Event, state auth.State) error {
	err := auth.Check(e, state)
	if waiting := d.waiting(); waiting != nil {
		return waiting
	}
	return err
}

// enter puts an event into the room after the state before it, and works out the room's state then.
func (d *draft) enter(entry *Entry, before statetree.Tree) error {
	e := entry.Event
	after := before
	follows := !slices.ContainsFunc(d.head.extremities, func(x Extremity) bool { return !slices.Contains(e.PrevEvents(), x.EventID) })
	d.head.seq, d.head.receivedTS = entry.Seq, entry.ReceivedTS
	d.entries = append(d.entries, entry)
	if e.IsState() {
		if err := d.replaces(entry, before); err != nil {
			return err
		}
	}
	entry.StateAfter = before.Root()
	current := d.head.state.Root()
	if entry.Status == Accepted && follows && before.Root() == current {
		if e.IsState() {
			if err := d.setState(entry); err != nil {
				return err
			}
		}
		d.head.extremities = []Extremity{extremityOf(entry)}
		return d.entered(entry)
	}
	if e.IsState() {
		if entry.Number == 0 {
			if err := d.cites(entry); err != nil {
				return err
			}
		}
		if entry.Status != Rejected {
			var err error
			if after, err = d.set(before, e.Tuple(), entry.number()); err != nil {
				return err
			}
			entry.StateAfter = after.Root()
		}
	}
	wanted := d.wanted(e.ID())
	if entry.Status != Accepted || wanted {
		if current != entry.StateAfter {
			entry.RoomState = current
		}
		d.snapshot = d.snapshot || wanted
		if entry.Status == Accepted {
			return d.entered(entry)
		}
		return d.waiting()
	}
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
	// Even an event that follows everything may come with a state that is not the one before: it cites older events besides.
	d.snapshot = true
	if err := d.moveTo(state, entry); err != nil {
		return err
	}
	return d.entered(entry)
}

func extremityOf(entry *Entry) Extremity {
	return Extremity{Seq: entry.Seq, EventID: entry.Event.ID(), Depth: entry.Event.Depth(), State: entry.StateAfter}
}

// mostPassed bounds how many events outside of the room are looked through for extremities that an event follows.
const mostPassed = 100

// followed are the extremities once an event is there. There are never more than an event of ours may cite: beyond that the shallowest are
// left out. What it follows through events that are soft-failed or rejected is followed too: an extremity that comes before another would
// bring back the state of then.
func (d *draft) followed(entry *Entry) ([]Extremity, error) {
	cited := slices.Clone(entry.Event.PrevEvents())
	outside := func(x Extremity) bool { return !slices.Contains(cited, x.EventID) }
	for i := 0; i < len(cited) && i < mostPassed && slices.ContainsFunc(d.head.extremities, outside); i++ {
		if slices.ContainsFunc(d.head.extremities, func(x Extremity) bool { return x.EventID == cited[i] }) {
			continue // it is in the room, and need not be read to know that
		}
		passed := d.entryByID(cited[i])
		if passed == nil || passed.Status != SoftFailed && passed.Status != Rejected {
			continue
		}
		for _, id := range passed.Event.PrevEvents() {
			if !slices.Contains(cited, id) {
				cited = append(cited, id)
			}
		}
	}
	if err := d.waiting(); err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(slices.Clone(d.head.extremities), func(x Extremity) bool { return !outside(x) })
	left = deepest(left, maxPrevEvents-1)
	return append(slices.Clone(left), extremityOf(entry)), nil
}

// replaces notes which event the entry takes the place of in the state before it.
func (d *draft) replaces(entry *Entry, before statetree.Tree) error {
	number, ok, err := d.open(before.Root()).Get(entry.Event.Tuple())
	if err != nil {
		return d.treeError(err)
	}
	if ok {
		if old := d.entry(number); old != nil {
			entry.ReplacesSeq = old.number()
		}
	}
	return d.waiting()
}

// entered takes in what else an accepted event does.
func (d *draft) entered(entry *Entry) error {
	d.relate(entry)
	if err := d.redact(entry); err != nil {
		return err
	}
	return d.waiting()
}

// pendingFor are the redactions that came before the event.
func (d *draft) pendingFor(eventID string) []PendingRedaction {
	pending, known := d.m.passing.pending[eventID]
	if !known {
		d.need.Pending = append(d.need.Pending, eventID)
	}
	return slices.Concat(pending, d.m.cache.redactionsOf(eventID))
}

// redactedBefore applies a redaction that came before its target.
func (d *draft) redactedBefore(entry *Entry, pending PendingRedaction) error {
	redaction := d.entryByID(pending.RedactionID)
	if err := d.waiting(); err != nil || redaction == nil || redaction.Status != Accepted || entry.RedactedBy != "" {
		return err
	}
	effective, err := d.redactionTakesEffect(redaction.Event, entry.Event)
	if err != nil || !effective {
		return err
	}
	entry.Event, entry.RedactedBy = entry.Event.Redacted(), pending.RedactionID
	return nil
}
