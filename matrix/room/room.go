// Package room is the brain of a room: a state machine without clock, randomness or I/O.
//
// The actor around it does, for one input after another:
//
//	m.Step(input)          // changes memory only
//	ready := m.Ready()     // says what must be fetched, told at once, and made durable
//	… fetch ready.Missing, then m.Step(Facts{…}) …
//	… make ready.Batch durable …
//	m.Committed(position)  // only now may the batch's replies and notice go out; then Ready again
//
// Inputs are taken in order. One that needs facts which are not in memory waits for them, and those behind it wait too.
// Every input is checked and built against the speculative tip: the state after everything that has been accepted,
// whether it is durable yet or not. At most one batch is in flight. When its commit fails the memory is worthless:
// Abort gives the answers for all who wait, and the machine must be discarded.
//
// Memory holds the tip of the room (current state root, forward extremities, summary) and a bounded cache of events and
// rows; the rest is fetched through Missing. So loading costs the same for a room of ten and of ten million events.
package room

import (
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// Options are what a machine must know besides its room.
type Options struct {
	RoomID     string
	ServerName string
	Key        signing.Key
	// CacheEvents is how many rows each of the two generations of the cache holds, of which an event counts as several, by its size;
	// 1024 by default, which is about half a megabyte in a room where people talk.
	CacheEvents int
	// TransactionMemory is how many transaction ids are remembered; 8192 by default.
	TransactionMemory int
}

// Limits of what one machine takes.
const (
	maxPrevEvents  = 20               // server-server API, "PDUs"
	maxBatchEvents = 512              // events of one commit, so that a commit stays small
	maxBatchBytes  = 4 << 20          // JSON of one commit
	maxTypingMS    = int64(120_000)   // the longest typing notification
	minTypingMS    = int64(1_000)     // the shortest
	defaultTyping  = int64(30_000)    // when the client says nothing
	typingAgainMS  = int64(30_000)    // other servers are told again who goes on typing; some forget after a minute
	maxTimestamp   = int64(1)<<53 - 1 // ms

	// The numbers of events leave room for what comes between them: history before a join, and before an event whose predecessors are
	// not here.
	joinStep = uint64(1) << 40
	gapStep  = uint64(1) << 20
	// OutlierBase is where the numbers of outliers begin.
	OutlierBase = uint64(1) << 62
	// maxGaps bounds the gaps that a room remembers; beyond it the oldest are given up.
	maxGaps = 64
)

// Machine is the state machine of one room. It is not safe for concurrent use.
type Machine struct {
	o       Options
	version *roomversion.Version // nil until the room exists
	head    head
	stored  statetree.Hash // the newest durable state root

	batches  uint64 // how many batches were begun
	inFlight *Batch
	pending  []*Batch

	queue   []Input // the first one waits for facts, the others for it
	missing *Missing
	asked   bool
	passing passing
	// approving are our events that policy servers are asked about, by id.
	approving map[string]bool

	servers map[string]ServerRow
	partial *Partial       // nil: all members are known
	gaps    map[uint64]Gap // by their Seq
	sticky  map[uint64]Sticky
	merges  map[string]statetree.Hash

	cache        cache
	transactions transactions
	typing       typing
}

// head is the speculative tip. It is a value: a draft works on a copy.
type head struct {
	seq         uint64
	state       statetree.Tree // the current state
	extremities []Extremity    // never changed in place
	receivedTS  int64          // of the newest event
	summary     Summary
	createID    string
	outliers    uint64 // how many outliers have been numbered; 0: not known yet. It is not part of snapshots
}

// Extremity is a forward extremity: an accepted event that no accepted event follows.
type Extremity struct {
	Seq     uint64
	EventID string
	Depth   int64
	State   statetree.Hash // the state after it
}

// New makes the machine of a room that does not exist yet.
func New(o Options) *Machine {
	if o.CacheEvents <= 0 {
		o.CacheEvents = 1024
	}
	if o.TransactionMemory <= 0 {
		o.TransactionMemory = 8192
	}
	m := &Machine{o: o, servers: map[string]ServerRow{}, gaps: map[uint64]Gap{}, approving: map[string]bool{}, sticky: map[uint64]Sticky{}}
	m.cache.reset()
	m.transactions.limit = o.TransactionMemory
	return m
}

// Exists reports whether the room has been created, durably or speculatively.
func (m *Machine) Exists() bool { return m.version != nil }

// Seq is the number of the newest event, durable or not.
func (m *Machine) Seq() uint64 { return m.head.seq }

// Version is the room's version, "" before it exists.
func (m *Machine) Version() string {
	if m.version == nil {
		return ""
	}
	return m.version.ID
}

// KnowServer and KnowGap tell the machine, while the room is being loaded, what the tables have.
func (m *Machine) KnowServer(name string, row ServerRow) { m.servers[name] = row }

// KnowGap is like KnowServer.
func (m *Machine) KnowGap(g Gap) { m.gaps[g.Seq] = g }

// Resident reports whether users of this server are in the room.
func (m *Machine) Resident() bool { return m.servers[m.o.ServerName].Joined > 0 }

// Summary is the room's summary at the speculative tip.
func (m *Machine) Summary() Summary { return m.head.summary }

// Extremities are the forward extremities at the speculative tip; the caller must not change the slice.
func (m *Machine) Extremities() []Extremity { return m.head.extremities }

// StateRoot names the current state at the speculative tip.
func (m *Machine) StateRoot() statetree.Hash { return m.head.state.Root() }

// Waiting counts the inputs that wait for facts.
func (m *Machine) Waiting() int { return len(m.queue) }

// Idle reports whether nothing waits: no input, no batch, nobody who types.
func (m *Machine) Idle() bool {
	return len(m.queue) == 0 && m.inFlight == nil && len(m.pending) == 0 && len(m.typing.by) == 0
}

var (
	createTuple      = event.Tuple{Type: "m.room.create"}
	powerLevelsTuple = event.Tuple{Type: "m.room.power_levels"}
	joinRulesTuple   = event.Tuple{Type: "m.room.join_rules"}
)

func memberTuple(userID string) event.Tuple {
	return event.Tuple{Type: "m.room.member", StateKey: userID}
}
