package room

// Input is something that happens to the room.
type Input interface{ input() }

// From says who asks and when. Every request carries one.
type From struct {
	Ticket   uint64 // names the request in the replies; 0: nobody waits
	UserID   string
	DeviceID string // empty for application services
	Now      int64  // ms, the receiving server's clock
}

// Proposal is an event that a local user wants in the room.
type Proposal struct {
	Type     string
	StateKey *string
	Sender   string
	Content  []byte
	Redacts  string
	StickyMS int64 // for how long it sticks (MSC4354); 0: not at all
}

// Create makes the room: all its events are accepted together or none is.
type Create struct {
	From
	Version   string
	Create    []byte // the signed m.room.create PDU
	Events    []Proposal
	Alias     string // full alias to claim, may be empty
	Published bool
}

// Propose asks for one event: a message, a state event or a redaction.
type Propose struct {
	From
	Event          Proposal
	TxnID          string
	DeviceSince    int64 // ms; transactions before are those of a device that had the name before
	OriginServerTS int64 // ms; 0: now
	// CheckOnly asks whether the event would be allowed, without appending it.
	CheckOnly bool
}

// Action is what a membership change is called by the client-server API.
type Action int

// The membership changes.
const (
	Join Action = iota
	Invite
	Knock
	Leave // of oneself: leaves, rejects an invite, retracts a knock
	Kick
	Ban
	Unban
	Refresh // the joined user's display name or avatar changed
)

// ChangeMembership asks for a membership change.
type ChangeMembership struct {
	From
	Action  Action
	Target  string
	Reason  string
	Content []byte // further members of the content, a JSON object or empty
	TxnID   string
}

// Forget hides a room that its user has left.
type Forget struct{ From }

// SetTyping starts or stops a typing notification.
type SetTyping struct {
	From
	Typing    bool
	TimeoutMS int64
}

// TypingExpired says that time has passed; whoever's notification has run out by Now stops typing.
type TypingExpired struct{ Now int64 }

// SendReceipt moves a read receipt forward.
type SendReceipt struct {
	From
	Type     string // m.read or m.read.private
	EventID  string
	ThreadID string // "" when unthreaded
	// Remote is that of a user of another server, where it was sent at TS, if that is not 0. The event may be one that has not come yet.
	Remote bool
	TS     int64
}

// CreateAlias names the room.
type CreateAlias struct {
	From
	Alias string
}

// DeleteAlias takes a name away.
type DeleteAlias struct {
	From
	Alias string
	Admin bool // a server administrator may delete any
}

// MoveAliases gives all local aliases of the room to another room.
type MoveAliases struct {
	From
	To    string // room id
	Admin bool
}

// SetPublished shows or hides the room in the public directory.
type SetPublished struct {
	From
	Published bool
	Admin     bool // a server administrator may show and hide any
}

func (Create) input()           {}
func (Propose) input()          {}
func (ChangeMembership) input() {}
func (Forget) input()           {}
func (SetTyping) input()        {}
func (TypingExpired) input()    {}
func (SendReceipt) input()      {}
func (CreateAlias) input()      {}
func (DeleteAlias) input()      {}
func (MoveAliases) input()      {}
func (SetPublished) input()     {}
func (Facts) input()            {}
