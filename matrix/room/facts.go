package room

import (
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// Missing lists facts that the first waiting input needs. What does not exist is a fact as well.
type Missing struct {
	State       []StateKey       // the nodes on the way to each, and the entry that is found there
	Seqs        []uint64         // entries by number
	IDs         []string         // entries by event id
	Members     []string         // rows of these users
	Receipts    []ReceiptKey     // rows
	Annotations []AnnotationKey  // whether each exists
	Aliases     []string         // rows of these aliases
	RoomAliases bool             // all aliases of the room
	Elsewhere   []Elsewhere      // memberships in other rooms
	LocalJoined bool             // some joined users of this server
	Nodes       []statetree.Hash // nodes of states that are durable
	Trees       []statetree.Hash // all nodes of states that are durable
	Chains      []uint64         // the auth events of these, of those, and so on
	Pending     []string         // redactions that have come before these events
	Outliers    bool             // how many outliers there are
	Since       uint64           // the timeline from this number on; 0: it is not wanted
	// Version is the room's version, for the entries.
	Version string
}

// StateKey is one key of a state tree.
type StateKey struct {
	Root  statetree.Hash
	Tuple event.Tuple
}

// AnnotationKey is what a user can annotate an event with once.
type AnnotationKey struct{ ParentID, Sender, Type, Key string }

// Elsewhere asks whether the user is joined to the room.
type Elsewhere struct{ UserID, RoomID string }

// Facts answer a Missing, completely: for everything that was asked there is an answer.
type Facts struct {
	Nodes       []statetree.Node
	Entries     []*Entry
	NoIDs       []string // event ids that the room does not have
	Members     map[string]MemberRow
	Receipts    map[ReceiptKey]ReceiptRow // zero EventID: none
	Annotations map[AnnotationKey]bool
	Aliases     map[string]AliasRow
	RoomAliases []AliasRow
	Elsewhere   map[Elsewhere]bool
	Abroad      []string // rooms of Elsewhere that this server is not in, so that the answer is not known
	LocalJoined []string
	Edges       map[uint64][]uint64
	Pending     map[string][]PendingRedaction // by event, in the order in which they came
	Outliers    uint64                        // how many have been numbered, at least 1
	Since       []uint64                      // the numbers of the timeline, which are among Entries
}

// AliasRow is an alias as the aliases table has it; an empty RoomID says that it does not exist.
type AliasRow struct {
	Alias, RoomID, Creator string
	CreatedTS              int64
}

func (n *Missing) empty() bool {
	return len(n.State) == 0 && len(n.Seqs) == 0 && len(n.IDs) == 0 && len(n.Members) == 0 && len(n.Receipts) == 0 &&
		len(n.Annotations) == 0 && len(n.Aliases) == 0 && !n.RoomAliases && len(n.Elsewhere) == 0 && !n.LocalJoined &&
		len(n.Nodes) == 0 && len(n.Trees) == 0 && len(n.Chains) == 0 && len(n.Pending) == 0 && !n.Outliers && n.Since == 0
}

// unique asks for every entry once, which many events may cite.
func (n *Missing) unique() {
	slices.Sort(n.Seqs)
	n.Seqs = slices.Compact(n.Seqs)
	slices.Sort(n.IDs)
	n.IDs = slices.Compact(n.IDs)
}

// rowsOfOthers reports whether something is missing that must be read after all that was accepted is durable, because
// memory does not keep it.
func (n *Missing) rowsOfOthers() bool { return len(n.Aliases) > 0 || n.RoomAliases || n.Since != 0 }

// passing are facts that others may change, and which are therefore good for one input only; and what is known not to be there, which
// is good for the PDUs that wait behind it too.
type passing struct {
	noIDs       map[string]bool
	aliases     map[string]AliasRow
	roomAliases []AliasRow
	listed      bool
	elsewhere   map[Elsewhere]bool
	localJoined []string
	localKnown  bool
	pending     map[string][]PendingRedaction
	abroad      map[string]bool
	since       []uint64
}

// learn takes facts in. What memory has already is newer.
func (m *Machine) learn(f Facts) {
	asked := m.missing
	m.missing, m.asked = nil, false
	for _, n := range f.Nodes {
		m.cache.addNode(n)
	}
	for _, e := range f.Entries {
		if m.cache.entry(e.Seq) == nil {
			m.cache.putEntry(e)
		}
	}
	for user, row := range f.Members {
		if _, ok := m.cache.member(user); !ok {
			m.cache.putMember(user, row)
		}
	}
	for key, row := range f.Receipts {
		if _, ok := m.cache.receipt(key); !ok {
			m.cache.putReceipt(key, row)
		}
	}
	for key, exists := range f.Annotations {
		if _, ok := m.cache.annotation(key); !ok {
			m.cache.putAnnotation(key, exists)
		}
	}
	for number, cites := range f.Edges {
		m.cache.putEdges(number, cites)
	}
	if asked != nil && asked.Outliers && m.head.outliers == 0 {
		m.head.outliers = f.Outliers
	}
	m.passing.take(f, asked)
}

func (p *passing) take(f Facts, asked *Missing) {
	if p.noIDs == nil {
		*p = passing{noIDs: map[string]bool{}, aliases: map[string]AliasRow{}, elsewhere: map[Elsewhere]bool{}, pending: map[string][]PendingRedaction{}, abroad: map[string]bool{}}
	}
	for _, id := range f.NoIDs {
		p.noIDs[id] = true
	}
	for alias, row := range f.Aliases {
		p.aliases[alias] = row
	}
	for key, joined := range f.Elsewhere {
		p.elsewhere[key] = joined
	}
	for _, roomID := range f.Abroad {
		p.abroad[roomID] = true
	}
	if asked == nil {
		return
	}
	for _, id := range asked.Pending {
		p.pending[id] = f.Pending[id]
	}
	if asked.Since != 0 {
		p.since = f.Since
	}
	if asked.RoomAliases {
		p.roomAliases, p.listed = f.RoomAliases, true
	}
	if asked.LocalJoined {
		p.localJoined, p.localKnown = f.LocalJoined, true
	}
}

// noIDsMost bounds what is remembered not to be there while PDU follows PDU.
const noIDsMost = 10_000

// end forgets what was good for the input that has been handled, with these behind it.
func (p *passing) end(queue []Input) {
	if len(queue) > 0 && p.noIDs != nil && len(p.noIDs) < noIDsMost {
		if _, ok := pduOfInput(queue[0]); ok {
			*p = passing{noIDs: p.noIDs, pending: p.pending, aliases: map[string]AliasRow{}, elsewhere: map[Elsewhere]bool{}, abroad: map[string]bool{}}
			return
		}
	}
	*p = passing{}
}

// came takes in that an event is there now, or a redaction that waits for its target.
func (p *passing) came(d *draft) {
	if p.noIDs == nil {
		return
	}
	for _, list := range [][]*Entry{d.entries, d.older, d.outliers} {
		for _, e := range list {
			delete(p.noIDs, e.Event.ID())
		}
	}
	for _, r := range d.redactions {
		delete(p.pending, r.TargetID)
	}
}

// pduOfInput is the PDU that an input brings, if it is part of a request of many.
func pduOfInput(in Input) (pdu PDU, ok bool) {
	switch in := in.(type) {
	case received:
		return in.pdu, in.results != nil
	case outlier:
		return in.pdu, in.results != nil
	}
	return pdu, false
}

// lookAhead asks for what the PDUs behind the first input will want as well, so that a request of many is not as many questions.
func (m *Machine) lookAhead(need *Missing) {
	for _, in := range m.queue[1:] {
		pdu, ok := pduOfInput(in)
		if !ok {
			return
		}
		if m.cache.byID(pdu.EventID) == nil && !m.passing.noIDs[pdu.EventID] {
			need.IDs = append(need.IDs, pdu.EventID)
		}
		if _, outlier := in.(outlier); outlier {
			continue
		}
		if _, known := m.passing.pending[pdu.EventID]; !known {
			need.Pending = append(need.Pending, pdu.EventID)
		}
	}
}
