package sliding

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
)

// Response is the answer to a request, as the unstable dialect spells it; see Stable.
type Response struct {
	Pos        string                `json:"pos"`
	TxnID      string                `json:"txn_id,omitzero"`
	Lists      map[string]ListResult `json:"lists"`
	Rooms      map[string]*Room      `json:"rooms"`
	Extensions ExtensionResults      `json:"extensions"`
}

// ListResult tells of a list how many rooms its filters let through, and which are within its ranges.
type ListResult struct {
	Count int  `json:"count"`
	Ops   []Op `json:"ops,omitzero"`
}

// Op gives the rooms of a range.
type Op struct {
	Op      string   `json:"op"` // SYNC
	Range   [2]int   `json:"range"`
	RoomIDs []string `json:"room_ids"`
}

// Room is what is new in a room. In an answer that is not Initial, what is missing has not changed.
type Room struct {
	Initial           bool             `json:"initial,omitzero"`
	Name              jsontext.Value   `json:"name,omitzero"`   // a string, or null
	Avatar            jsontext.Value   `json:"avatar,omitzero"` // a string, or null
	Heroes            []Hero           `json:"heroes,omitzero"`
	IsDM              *bool            `json:"is_dm,omitzero"`
	RequiredState     []jsontext.Value `json:"required_state,omitzero"`
	Timeline          []jsontext.Value `json:"timeline,omitzero"`
	Limited           *bool            `json:"limited,omitzero"`
	PrevBatch         string           `json:"prev_batch,omitzero"`
	NumLive           *int             `json:"num_live,omitzero"`
	ExpandedUnstable  bool             `json:"unstable_expanded_timeline,omitzero"`
	Expanded          bool             `json:"expanded_timeline,omitzero"`
	JoinedCount       *int64           `json:"joined_count,omitzero"`
	InvitedCount      *int64           `json:"invited_count,omitzero"`
	BumpStamp         uint64           `json:"bump_stamp,omitzero"`
	NotificationCount *int64           `json:"notification_count,omitzero"`
	HighlightCount    *int64           `json:"highlight_count,omitzero"`
	InviteState       []jsontext.Value `json:"invite_state,omitzero"`
	StrippedState     []jsontext.Value `json:"stripped_state,omitzero"`
	Membership        string           `json:"membership,omitzero"`
	Lists             []string         `json:"lists,omitzero"`
}

// stateStub tells that a piece of required state is no more.
type stateStub struct {
	Type     string `json:"type"`
	StateKey string `json:"state_key"`
}

// Hero is a member who helps to name a room.
type Hero struct {
	UserID      string `json:"user_id"`
	DisplayName string `json:"displayname,omitzero"`
	AvatarURL   string `json:"avatar_url,omitzero"`
}

// ExtensionResults are the answers of the extensions that were asked for.
type ExtensionResults struct {
	ToDevice    *ToDeviceResult    `json:"to_device,omitzero"`
	E2EE        *E2EEResult        `json:"e2ee,omitzero"`
	AccountData *AccountDataResult `json:"account_data,omitzero"`
	Receipts    *RoomEvents        `json:"receipts,omitzero"`
	Typing      *RoomEvents        `json:"typing,omitzero"`
	Threads     *ThreadsResult     `json:"thread_subscriptions,omitzero"`
	// Sticky is spelt in the same way in either dialect, while it is a proposal.
	Sticky *StickyResult `json:"org.matrix.msc4354.sticky_events,omitzero"`
	// Profiles is too.
	Profiles *ProfilesResult `json:"org.matrix.msc4262.profiles,omitzero"`
	// ThreadsUnstable is how the unstable dialect spells Threads.
	ThreadsUnstable *ThreadsResult `json:"io.element.msc4308.thread_subscriptions,omitzero"`
}

// ToDeviceResult are messages to the device (MSC3885).
type ToDeviceResult struct {
	NextBatch string           `json:"next_batch"`
	Events    []jsontext.Value `json:"events"`
}

// E2EEResult is what end-to-end encryption needs (MSC3884).
type E2EEResult struct {
	DeviceLists    *syncer.DeviceLists `json:"device_lists,omitzero"`
	OneTimeKeys    map[string]int64    `json:"device_one_time_keys_count"`
	UnusedFallback []string            `json:"device_unused_fallback_key_types"`
}

// AccountDataResult is account data that changed (MSC3959).
type AccountDataResult struct {
	Global []jsontext.Value            `json:"global"`
	Rooms  map[string][]jsontext.Value `json:"rooms"`
}

// ThreadsResult is which subscriptions to threads changed (MSC4308): the newest changes, of which PrevBatch leads to those before.
type ThreadsResult struct {
	Subscribed   map[string]map[string]reader.ThreadSubscribed   `json:"subscribed,omitempty"`
	Unsubscribed map[string]map[string]reader.ThreadUnsubscribed `json:"unsubscribed,omitempty"`
	PrevBatch    string                                          `json:"prev_batch,omitzero"`
}

// StickyResult are sticky events that are in no timeline of the answer (MSC4480).
type StickyResult struct {
	NextBatch string                   `json:"next_batch"`
	Rooms     map[string]syncer.Events `json:"rooms"`
}

// RoomEvents has one event for each room (MSC3960, MSC3961).
type RoomEvents struct {
	Rooms map[string]jsontext.Value `json:"rooms"`
}

// unstable spells the response as clients of org.matrix.simplified_msc3575 read it.
func (r *Response) unstable() {
	r.Extensions.ThreadsUnstable, r.Extensions.Threads = r.Extensions.Threads, nil
	for _, room := range r.Rooms {
		room.ExpandedUnstable, room.InviteState = room.Expanded, room.StrippedState
		room.Expanded, room.StrippedState, room.Membership, room.Lists = false, nil, "", nil
	}
}

// stable spells the response as the proposal has it.
func (r *Response) stable() {
	for name, list := range r.Lists {
		list.Ops = nil
		r.Lists[name] = list
	}
	for _, room := range r.Rooms {
		room.NotificationCount, room.HighlightCount = nil, nil
	}
}
