package room

import (
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// Status is an event's standing in its room (server-server API, "Checks performed on receipt of a PDU").
type Status uint8

// The statuses, as the events table has them.
const (
	Accepted Status = iota
	SoftFailed
	Rejected
	Outlier
)

// Entry is an event of the journal with what the room knows about it.
type Entry struct {
	Seq         uint64
	Event       *event.Event
	Status      Status
	ReceivedTS  int64  // ms, never decreases within the room
	Pos         uint64 // 0 until the entry is durable
	StateBefore statetree.Hash
	StateAfter  statetree.Hash
	// RoomState names the room's current state once the event was taken in; zero: StateAfter.
	RoomState statetree.Hash
	// Number is what state trees call an event that was an outlier before; 0: Seq.
	Number uint64
	// Outbound says that the servers of the room must be sent the event; not kept.
	Outbound       bool
	ReplacesSeq    uint64 // of the state event with the same tuple before it, 0 if none
	RedactedBy     string // id of the applied redaction; Event is pruned then
	DeviceID       string
	TxnID          string
	PrevMembership string // of a member event: the state key's membership before; not kept
}

// number is what state trees call the event.
func (e *Entry) number() uint64 {
	if e.Number != 0 {
		return e.Number
	}
	return e.Seq
}

// outlier reports whether the event has no place in the room.
func (e *Entry) outlier() bool { return e.Seq >= OutlierBase }

// StateChange is a new current state event, or that there is none any more.
type StateChange struct {
	event.Tuple
	Entry *Entry // nil: the place is empty
}

// EdgeRow holds the numbers of a state event's auth events.
type EdgeRow struct {
	Number uint64
	Cites  []uint64
}

// ServerRow counts the joined users of a server (table room_servers).
type ServerRow struct {
	Joined             int64
	JoinedSeq, LeftSeq uint64
}

// Gap is a stretch of history that is not here (table room_gaps).
type Gap struct {
	Seq    uint64   // of the event after it
	Next   uint64   // the number that the next older event gets
	Floor  uint64   // the newest number before it
	Wanted []string // events that are not here and come before what is
}

// MemberRow is the newest membership of a user, as the memberships table has it.
type MemberRow struct {
	Exists        bool
	Membership    string
	EventID       string
	Seq           uint64
	Pos           uint64 // 0: of the commit that this row is written with
	Sender        string
	JoinedSeq     uint64 // of the event with which the present or last stay began
	LeftSeq       uint64 // of the event with which the last stay ended
	Forgotten     bool
	StrippedState []byte
}

// MemberChange writes a user's row.
type MemberChange struct {
	UserID string
	Row    MemberRow
}

// RelationRow says that an event relates to another.
type RelationRow struct {
	ParentID, EventID, RelType, Type, Sender, Key string
	Seq                                           uint64
	Gone                                          bool // the relating event was redacted
}

// PendingRedaction is a redaction whose target is not here yet.
type PendingRedaction struct {
	TargetID, RedactionID string
	Seq                   uint64
}

// ReceiptRow is a user's newest receipt of a type and thread.
type ReceiptRow struct {
	ReceiptKey
	EventID string
	Seq     uint64 // of the event that was read
	TS      int64  // ms
}

// ReceiptKey is what a user has one receipt for.
type ReceiptKey struct{ UserID, Type, ThreadID string }

// AliasChange writes or removes a local alias.
type AliasChange struct {
	Alias     string
	RoomID    string // whose list of aliases changes
	Creator   string
	CreatedTS int64
	Remove    bool
	// Claim says that nobody may have the alias yet; a commit that finds it taken has not happened.
	Claim bool
	// From is the room that had it before, when it moves.
	From string
}

// Seq is the number of the newest event after the batch.
func (b *Batch) Seq() uint64 { return b.head.seq }

// Batch is what one commit makes durable, and what may be told when it is.
type Batch struct {
	number  uint64
	head    head // the tip after it
	version *roomversion.Version
	bytes   int
	alone   bool // nothing else may share its fate

	FirstSeq uint64 // of Entries, when there are any
	Entries  []*Entry
	Amended  []*Entry // older entries that were redacted; they are written again
	Older    []*Entry // events that fill a gap
	Outliers []*Entry
	Outside  []OutOfBand
	Edges    []EdgeRow
	Servers  map[string]ServerRow
	Gaps     map[uint64]*Gap // nil: the gap is closed
	// Partial is what the room lacks when PartialChanged, nil when its members are known or nobody is in it. Whole says that they have become known.
	Partial        *Partial
	PartialChanged bool
	Whole          bool
	State          []StateChange
	Members        []MemberChange
	Relations      []RelationRow
	Redactions     []PendingRedaction
	Receipts       []ReceiptRow
	Aliases        []AliasChange
	Nodes          []statetree.Node
	// Transactions are those of the entries. Who asks the room for something with a transaction id that is among the
	// durable ones must be answered with its event instead.
	Transactions []TransactionRow
	// Sticky are events that stick from now on, or are told only now; Unstuck are the numbers of those that have ended.
	Sticky  []Sticky
	Unstuck []uint64
	// Lack are servers that have come into the room, where events of ours stick that they have not been sent.
	Lack []string
	// Summary is set when the summary changed; PublicBefore is then the count under which the directory
	// lists the room, -1 when it does not.
	Summary      *Summary
	PublicBefore int64
	// Forgotten are users who hid the room with this batch.
	Forgotten []string
	// SnapshotNeeded says that the journal alone does not tell what this batch changes: it must carry a snapshot.
	SnapshotNeeded bool

	Replies []Reply
}

// Empty reports whether there is nothing to make durable.
func (b *Batch) Empty() bool {
	return len(b.Entries) == 0 && len(b.Older) == 0 && len(b.Outliers) == 0 && len(b.Gaps) == 0 && !b.PartialChanged && len(b.Amended) == 0 && len(b.Members) == 0 && len(b.Receipts) == 0 &&
		len(b.Aliases) == 0 && b.Summary == nil
}

// Reply answers a request.
type Reply struct {
	Ticket uint64
	Entry  *Entry // of EventSent, when the answer names an event
	// Results are what became of PDUs, in their order.
	Results []Result
	// Built is an event that was made and not appended; see BuildEvent and MakeMembership.
	Built *event.Event
	// Approval is not the answer yet: a policy server is to be asked, and the request goes on with an Approved.
	Approval *Approval
	Err      *mxerr.Error // refuses
}

// Ready is what is to be done after a Step.
type Ready struct {
	// Missing are facts to fetch, beside everything else; answer with a Facts input. Nil: nothing new to fetch.
	Missing *Missing
	// TypingChanged says that Typing is who types now, to be told at once.
	TypingChanged bool
	Typing        []string
	// TypingAgain are users of this server who go on typing, to be told to other servers, which forget those they hear no more of.
	TypingAgain []string
	// TypingNext is when TypingExpired should be given, ms; 0: never.
	TypingNext int64
	// Replies that depend on nothing that is not durable.
	Replies []Reply
	// Batch is to be made durable; then call Committed. Nil: nothing, or one is in flight already.
	Batch *Batch
}

// Ready takes what is to be done. The caller must carry all of it out.
func (m *Machine) Ready() Ready {
	var r Ready
	if m.missing != nil && !m.asked && (m.settled() || !m.missing.rowsOfOthers()) {
		r.Missing, m.asked = m.missing, true
	}
	r.TypingChanged, r.Typing, r.TypingAgain, r.TypingNext = m.typing.take()
	for m.inFlight == nil && len(m.pending) > 0 {
		b := m.pending[0]
		m.pending = m.pending[1:]
		if b.Empty() {
			r.Replies = append(r.Replies, b.Replies...)
			continue
		}
		m.positionRows(b)
		m.inFlight, r.Batch = b, b
	}
	if len(m.pending) == 0 {
		m.pending = nil
	}
	return r
}

// positionRows gives rows that are written again the position of the commit that brought their membership.
func (m *Machine) positionRows(b *Batch) {
	for i := range b.Members {
		row := &b.Members[i].Row
		if row.Pos != 0 || len(b.Entries) > 0 && row.Seq >= b.FirstSeq {
			continue
		}
		if known, ok := m.cache.member(b.Members[i].UserID); ok && known.Seq == row.Seq {
			row.Pos = known.Pos
		}
	}
}

// settled reports whether everything accepted is durable.
func (m *Machine) settled() bool { return m.inFlight == nil && len(m.pending) == 0 }

// Committed says that the batch in flight is durable at the position. It gives the batch, whose replies and notice
// may now go out.
func (m *Machine) Committed(pos uint64) *Batch {
	b := m.inFlight
	m.inFlight = nil
	m.stored = b.head.state.Root()
	for _, e := range slices.Concat(b.Entries, b.Older, b.Outliers) {
		e.Pos = pos
		if redacted := m.cache.entry(e.Seq); redacted != nil {
			redacted.Pos = pos
		}
	}
	for _, c := range b.Members {
		m.cache.positionMember(c, pos)
	}
	m.cache.rotate(m.o.CacheEvents, b.number, m.batches)
	return b
}

// Taken says that the batch in flight has not happened because the alias that it claims exists. It gives the batch, to be
// refused, and reports whether the machine is still good: it is not when the batch would have created the room.
func (m *Machine) Taken() (*Batch, bool) {
	b := m.inFlight
	m.inFlight = nil
	return b, len(b.Entries) == 0
}

// Abort gives the tickets of everybody who waits, in order. The machine must not be used afterwards.
func (m *Machine) Abort() []uint64 {
	var tickets []uint64
	if m.inFlight != nil {
		tickets = appendTickets(tickets, m.inFlight)
	}
	for _, b := range m.pending {
		tickets = appendTickets(tickets, b)
	}
	for _, in := range m.queue {
		if t := ticketOf(in); t != 0 {
			tickets = append(tickets, t)
		}
	}
	m.inFlight, m.pending, m.queue = nil, nil, nil
	return tickets
}

func appendTickets(dst []uint64, b *Batch) []uint64 {
	for _, r := range b.Replies {
		dst = append(dst, r.Ticket)
	}
	return dst
}
