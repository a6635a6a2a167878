package room

import (
	"errors"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// draft is an input being worked out: a copy of the tip, and changes that become part of a batch only when nothing
// refuses them. Looking up what is not in memory notes it in need.
type draft struct {
	m       *Machine
	version *roomversion.Version
	head    head
	need    Missing
	answer  *Entry
	alone   bool

	entries      []*Entry
	amended      []*Entry
	state        []StateChange
	members      []MemberChange
	relations    []RelationRow
	redactions   []PendingRedaction
	receipts     []ReceiptRow
	aliases      []AliasChange
	nodes        []statetree.Node // see keepNodes
	nodeBytes    map[statetree.Hash][]byte
	forgotten    []string
	annotations  map[AnnotationKey]bool
	transactions []TransactionRow
	snapshot     bool
	older        []*Entry
	outside      []OutOfBand
	outliers     []*Entry
	edges        []EdgeRow
	servers      map[string]ServerRow
	merges       map[string]statetree.Hash // resolutions that were worked out; see mergeOf
	gaps         map[uint64]*Gap
	reworked     *reworked // what has been worked out again with the whole state
	// partial is what the room lacks, when partialChanged; whole says that its members have become known.
	partial               *Partial
	partialChanged, whole bool
	// sticky are events that stick, or are told only now; unstuck those that have ended.
	sticky    []Sticky
	unstuck   []uint64
	lack      []string // servers that lack what sticks
	abandoned *Partial
	told      statetree.Tree // see toldNumber
	// moved says that the head's state was not made from the machine's by changes; see accept.
	moved bool
	hint  *roomversion.Version // of a room that does not exist yet; see ver
	// results and built are answers; see Reply.
	results []Result
	built   *event.Event
	// buildOnly says that the event is to be made and checked, and not appended.
	buildOnly bool
	approval  *Approval
}

func (m *Machine) draft() *draft { return &draft{m: m, head: m.head, version: m.version} }

// keep makes what the draft changed known to the cache.
func (d *draft) keep() {
	d.m.passing.came(d)
	d.keepMerges()
	d.keepSticky()
	c := &d.m.cache
	for _, e := range d.entries {
		c.putEntry(e)
	}
	for _, e := range d.outliers {
		c.putEntry(e)
	}
	for _, e := range d.older {
		c.putEntry(e)
	}
	for _, e := range d.amended {
		c.putEntry(e)
	}
	for _, e := range d.edges {
		c.putEdges(e.Number, e.Cites)
	}
	for _, n := range d.nodes {
		c.addNode(n)
	}
	for server, row := range d.servers {
		d.m.servers[server] = row
	}
	if d.partialChanged {
		d.m.partial = d.partial
	}
	for seq, gap := range d.gaps {
		if gap == nil {
			delete(d.m.gaps, seq)
		} else {
			d.m.gaps[seq] = *gap
		}
	}
	for _, change := range d.members {
		c.putMember(change.UserID, change.Row)
		if change.Row.Membership != "join" {
			d.m.typing.stop(change.UserID)
		}
	}
	for _, row := range d.receipts {
		c.putReceipt(row.ReceiptKey, row)
	}
	for key, exists := range d.annotations {
		c.putAnnotation(key, exists)
	}
	for _, r := range d.redactions {
		c.putRedaction(r)
	}
	for _, t := range d.transactions {
		d.m.transactions.add(t)
	}
}

// moveInto adds the draft's changes to the batch.
func (d *draft) moveInto(b *Batch) {
	if len(b.Entries) == 0 && len(d.entries) > 0 {
		b.FirstSeq = d.entries[0].Seq
	}
	for _, list := range [][]*Entry{d.entries, d.older, d.outliers} {
		for _, e := range list {
			b.bytes += len(e.Event.JSON())
		}
	}
	b.Older = append(b.Older, d.older...)
	b.Outliers = append(b.Outliers, d.outliers...)
	b.Edges = append(b.Edges, d.edges...)
	b.Outside = append(b.Outside, d.outside...)
	for server, row := range d.servers {
		if b.Servers == nil {
			b.Servers = map[string]ServerRow{}
		}
		b.Servers[server] = row
	}
	for seq, gap := range d.gaps {
		if b.Gaps == nil {
			b.Gaps = map[uint64]*Gap{}
		}
		b.Gaps[seq] = gap
	}
	b.Entries = append(b.Entries, d.entries...)
	for _, e := range d.amended {
		b.amend(e)
	}
	b.State = append(b.State, d.state...)
	b.Members = append(b.Members, d.members...)
	b.Relations = append(b.Relations, d.relations...)
	b.Redactions = append(b.Redactions, d.redactions...)
	b.Receipts = append(b.Receipts, d.receipts...)
	b.Aliases = append(b.Aliases, d.aliases...)
	b.Nodes = append(b.Nodes, d.nodes...)
	b.Transactions = append(b.Transactions, d.transactions...)
	b.Forgotten = append(b.Forgotten, d.forgotten...)
	b.Sticky = append(b.Sticky, d.sticky...)
	b.Unstuck = append(b.Unstuck, d.unstuck...)
	b.Lack = append(b.Lack, d.lack...)
	if d.partialChanged {
		b.Partial, b.PartialChanged = d.partial, true
	}
	b.Whole = b.Whole || d.whole
	b.SnapshotNeeded = b.SnapshotNeeded || d.snapshot
	if d.head.summary != d.m.head.summary {
		if b.Summary == nil {
			b.PublicBefore = d.m.head.summary.listedUnder()
		}
		after := d.head.summary
		b.Summary = &after
	}
}

// amend writes the redacted entry: instead of the one that the batch brings, or else again. A batch before this one
// is left alone, for it may become durable when this one does not.
func (b *Batch) amend(e *Entry) {
	for _, list := range [][]*Entry{b.Entries, b.Older, b.Outliers} {
		if i := slices.IndexFunc(list, func(old *Entry) bool { return old.Seq == e.Seq }); i >= 0 {
			list[i] = e
			return
		}
	}
	b.Amended = append(b.Amended, e)
}

// Event implements auth.State over the draft's current state. What cannot be told yet reads as absent and is noted.
func (d *draft) Event(t event.Tuple) *event.Event {
	if e := d.stateEntry(t); e != nil {
		return e.Event
	}
	return nil
}

// stateEntry is the current state event of the tuple.
func (d *draft) stateEntry(t event.Tuple) *Entry {
	seq, ok, err := d.head.state.Get(t)
	if err != nil {
		d.needPath(t)
		return nil
	}
	if !ok {
		return nil
	}
	return d.entry(seq)
}

// needPath notes that nodes on the way to the place are missing. They are asked for by the newest durable root, since the
// draft's may not be stored yet: what changed since is in memory, and what is not in memory has not changed since.
func (d *draft) needPath(t event.Tuple) {
	d.need.State = append(d.need.State, StateKey{Root: d.m.stored, Tuple: t})
}

// entry is the entry with the number.
func (d *draft) entry(seq uint64) *Entry {
	if d.reworked != nil && d.reworked.byNumber[seq] != nil {
		return d.reworked.byNumber[seq]
	}
	for _, list := range [][]*Entry{d.entries, d.older, d.outliers} {
		for _, e := range list {
			if e.Seq == seq || e.Number == seq {
				return e
			}
		}
	}
	e := d.m.cache.entry(seq)
	if e == nil {
		d.need.Seqs = append(d.need.Seqs, seq)
	}
	return e
}

// entryByID is the entry with the event id, nil when the room does not have it (or not yet known, see need).
func (d *draft) entryByID(id string) *Entry {
	if d.reworked != nil && d.reworked.byID[id] != nil {
		return d.reworked.byID[id]
	}
	for _, list := range [][]*Entry{d.entries, d.older, d.outliers} {
		for _, e := range list {
			if e.Event.ID() == id {
				return e
			}
		}
	}
	if e := d.m.cache.byID(id); e != nil {
		return e
	}
	if !d.m.passing.noIDs[id] {
		d.need.IDs = append(d.need.IDs, id)
	}
	return nil
}

// memberRow is the user's row; a user who never had a membership needs no row.
func (d *draft) memberRow(userID string) MemberRow {
	for i := len(d.members) - 1; i >= 0; i-- {
		if d.members[i].UserID == userID {
			return d.members[i].Row
		}
	}
	row, ok := d.m.cache.member(userID)
	if !ok {
		d.need.Members = append(d.need.Members, userID)
	}
	return row
}

// membership is the user's membership in the current state, "" when there is none.
func (d *draft) membership(userID string) string {
	if e := d.stateEntry(memberTuple(userID)); e != nil {
		return e.Event.Membership()
	}
	return ""
}

// waiting is errMissing when facts are missing.
func (d *draft) waiting() error {
	if d.need.empty() {
		return nil
	}
	return errMissing
}

// requireJoined refuses users who are not in the room.
func (d *draft) requireJoined(userID, what string) error {
	membership := d.membership(userID)
	if err := d.waiting(); err != nil {
		return err
	}
	if membership != "join" {
		return mxerr.Forbidden("only members of the room may %s, and %s is not one", what, userID)
	}
	return nil
}

// fetch gives the bytes of a state node to the trees.
func (m *Machine) fetch(h statetree.Hash) ([]byte, error) {
	if b, ok := m.cache.node(h); ok {
		return b, nil
	}
	return nil, errNodeMissing
}

var errNodeMissing = errors.New("room: a state node is not in memory")
