// Package roomversion is the table of room versions 1 to 12: what differs between them, as data (rooms/index).
package roomversion

// EventIDFormat says where an event's id comes from.
type EventIDFormat int

// The formats of event ids (rooms/v1, v3, v4).
const (
	EventIDField     EventIDFormat = iota // a field of the event, chosen by the sender's server
	EventIDBase64                         // the reference hash in standard base64
	EventIDURLBase64                      // the reference hash in URL-safe base64
)

// StateResolution names the algorithm.
type StateResolution int

// The state resolution algorithms (rooms/v1, v2, v12).
const (
	StateResolutionV1 StateResolution = iota
	StateResolutionV2
	StateResolutionV2_1
)

// Version is one room version. Each flag says how it differs from the version before the flag was introduced.
type Version struct {
	ID              string
	Stable          bool
	EventIDFormat   EventIDFormat
	StateResolution StateResolution

	RedactionAuthRule   bool // v1–2: redactions are authorised by an auth rule of their own
	KeyValidity         bool // v5+: signing keys must have been valid at origin_server_ts
	StrictCanonicalJSON bool // v6+: only integers within ±(2^53−1)
	AliasesAuthRule     bool // v1–5: m.room.aliases has an auth rule, and keeps aliases when redacted
	NotificationLevels  bool // v6+: power levels' notifications are checked when they change
	Knock               bool // v7+: join rule knock, membership knock
	Restricted          bool // v8+: join rule restricted; redaction keeps join_rules.allow
	KeepsAuthorisedVia  bool // v9+: redaction keeps join_authorised_via_users_server
	KnockRestricted     bool // v10+: join rule knock_restricted
	IntegerPowerLevels  bool // v10+: power levels must be integers
	CreatorIsSender     bool // v11+: the creator is the sender of the create event
	RedactsInContent    bool // v11+: redacts stands in the content
	UpdatedRedaction    bool // v11+: redaction keeps all of create, redacts, invite, signed invites; drops origin, membership, prev_state
	RoomIDFromCreate    bool // v12+: the room id is the create event's id, which therefore holds no room_id
	PrivilegedCreators  bool // v12+: creators have infinite power
}

// Default is the version of rooms made without asking for one.
const Default = "12"

var table = []Version{
	{ID: "1", EventIDFormat: EventIDField, StateResolution: StateResolutionV1, RedactionAuthRule: true, AliasesAuthRule: true},
	{ID: "2", EventIDFormat: EventIDField, StateResolution: StateResolutionV2, RedactionAuthRule: true, AliasesAuthRule: true},
	{ID: "3", EventIDFormat: EventIDBase64, StateResolution: StateResolutionV2, AliasesAuthRule: true},
	{ID: "4", EventIDFormat: EventIDURLBase64, StateResolution: StateResolutionV2, AliasesAuthRule: true},
	{ID: "5", EventIDFormat: EventIDURLBase64, StateResolution: StateResolutionV2, AliasesAuthRule: true, KeyValidity: true},
	since6("6"),
	since7("7"),
	since8("8"),
	since9("9"),
	since10("10"),
	since11("11"),
	since12("12"),
}

func since6(id string) Version {
	return Version{ID: id, EventIDFormat: EventIDURLBase64, StateResolution: StateResolutionV2,
		KeyValidity: true, StrictCanonicalJSON: true, NotificationLevels: true}
}

func since7(id string) Version {
	v := since6(id)
	v.Knock = true
	return v
}

func since8(id string) Version {
	v := since7(id)
	v.Restricted = true
	return v
}

func since9(id string) Version {
	v := since8(id)
	v.KeepsAuthorisedVia = true
	return v
}

func since10(id string) Version {
	v := since9(id)
	v.KnockRestricted, v.IntegerPowerLevels = true, true
	return v
}

func since11(id string) Version {
	v := since10(id)
	v.CreatorIsSender, v.RedactsInContent, v.UpdatedRedaction = true, true, true
	return v
}

func since12(id string) Version {
	v := since11(id)
	v.StateResolution = StateResolutionV2_1
	v.RoomIDFromCreate, v.PrivilegedCreators = true, true
	return v
}

var byID = func() map[string]*Version {
	m := make(map[string]*Version, len(table))
	for i := range table {
		table[i].Stable = true
		m[table[i].ID] = &table[i]
	}
	return m
}()

// Get finds a version by its id, which is opaque: "1" and "01" are not the same.
func Get(id string) (*Version, bool) {
	v, ok := byID[id]
	return v, ok
}

// All lists the versions, oldest first.
func All() []*Version {
	all := make([]*Version, len(table))
	for i := range table {
		all[i] = &table[i]
	}
	return all
}
