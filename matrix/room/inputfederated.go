package room

// PDU is an event of any server whose signatures and content hash were checked before it came here. When the hash was wrong, JSON is
// the redacted event (server-server API, "Checks performed on receipt of a PDU", 2 and 3).
type PDU struct {
	EventID string
	JSON    []byte // canonical
	// SoftFail says that a check outside of the room wants the event soft-failed.
	SoftFail bool
}

// ResultStatus is what became of a PDU.
type ResultStatus uint8

// The fates of PDUs.
const (
	ResultAccepted ResultStatus = iota
	ResultSoftFailed
	ResultRejected
	ResultKnown
	ResultMissing // nothing was stored
)

// Result is what became of one PDU.
type Result struct {
	EventID     string
	Status      ResultStatus
	Reason      string   // of a rejection or soft failure, with the number of the rule
	MissingPrev []string // previous events that have no place here
	MissingAuth []string // auth events that are not known
	Entry       *Entry   // as it was stored, nil when it was not
}

// ReceivePDUs are events of other servers, in the order in which they are taken in. Each gets a Result.
type ReceivePDUs struct {
	From
	Origin string
	PDUs   []PDU
}

// ReceivePDUAt is an event whose previous events cannot be had. The state before it is given as ids of known events. A gap
// begins before it, unless all its previous events are here.
type ReceivePDUAt struct {
	From
	Origin      string
	PDU         PDU
	StateBefore []string
}

// AddOutliers are events whose place in the room is not known, in any order, at most maxBatchEvents and maxBatchBytes. Each gets a
// Result.
type AddOutliers struct {
	From
	Origin  string
	Version string
	PDUs    []PDU
}

// SeedRoom makes the room exist with the join of a local user. The state before it is given as ids of outliers.
type SeedRoom struct {
	From
	Version     string
	Join        PDU
	StateBefore []string
	// Partial says that members are left out of the state; Servers are then those that are in the room, and Origin is who says so.
	Partial bool
	Servers []string
	Origin  string
}

// TellState tells the whole state before an event of a partial room (Partial.Points), as ids of known events; none when nobody tells that
// before another event than the join. It gets a Result: ResultMissing with the ids that are not known, ResultRejected when the join is
// not allowed by it, ResultKnown when it is not wanted.
type TellState struct {
	From
	EventID string
	State   []string
}

// Backfill puts older events into a gap. Each gets a Result.
type Backfill struct {
	From
	Origin string
	Gap    uint64 // Seq of the event after it
	PDUs   []PDU
	// States are the states before those whose previous events are neither known nor among the PDUs, by event id.
	States map[string][]string
	// Exhausted says that what the gap wants cannot be had: it is closed.
	Exhausted bool
}

// MakeMembership asks for the template of a member event of another server's user. The answer is in Reply.Template.
type MakeMembership struct {
	From
	Action   Action // Join, Leave or Knock
	Target   string
	Versions []string // room versions that the asking server knows; empty: it was not asked
}

// SendMembership takes the event that was made of a template. A join that a local user authorises gets our signature.
type SendMembership struct {
	From
	Origin string
	PDU    PDU
	Action Action
}

// BuildEvent works a membership change out without appending it. The answer is in Reply.Built.
type BuildEvent struct {
	From
	Change ChangeMembership
}

// SetOutOfBand writes a local user's membership in a room that this server is not in.
type SetOutOfBand struct {
	From
	Version       string
	PDU           PDU
	StrippedState []byte // a JSON array
}

func (ReceivePDUs) input()    {}
func (ReceivePDUAt) input()   {}
func (AddOutliers) input()    {}
func (SeedRoom) input()       {}
func (TellState) input()      {}
func (Backfill) input()       {}
func (MakeMembership) input() {}
func (SendMembership) input() {}
func (BuildEvent) input()     {}
func (SetOutOfBand) input()   {}
