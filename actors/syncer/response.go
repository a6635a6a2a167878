package syncer

import "github.com/go-json-experiment/json/jsontext"

// Response is the answer to GET /sync (client-server API, "Syncing").
type Response struct {
	NextBatch       string           `json:"next_batch"`
	Rooms           *Rooms           `json:"rooms,omitzero"`
	Presence        *Events          `json:"presence,omitzero"`
	AccountData     *Events          `json:"account_data,omitzero"`
	ToDevice        *Events          `json:"to_device,omitzero"`
	DeviceLists     *DeviceLists     `json:"device_lists,omitzero"`
	OneTimeKeys     map[string]int64 `json:"device_one_time_keys_count"`
	UnusedFallback  []string         `json:"device_unused_fallback_key_types"`
	UnusedFallback0 []string         `json:"org.matrix.msc2732.device_unused_fallback_key_types"`
	// Users are changed profiles, and UsersUnstable how MSC4429 spells them until it is accepted.
	Users         map[string]ProfileUpdates `json:"users,omitzero"`
	UsersUnstable map[string]ProfileUpdates `json:"org.matrix.msc4429.users,omitzero"`
}

// Events is a list of events.
type Events struct {
	Events []jsontext.Value `json:"events"`
}

// Rooms groups rooms by the user's membership.
type Rooms struct {
	Join   map[string]*JoinedRoom  `json:"join,omitzero"`
	Invite map[string]*InvitedRoom `json:"invite,omitzero"`
	Knock  map[string]*KnockedRoom `json:"knock,omitzero"`
	Leave  map[string]*LeftRoom    `json:"leave,omitzero"`
}

// JoinedRoom is what is new in a room that the user is in.
type JoinedRoom struct {
	Summary             *Summary                `json:"summary,omitzero"`
	State               *Events                 `json:"state,omitzero"`
	StateAfter          *Events                 `json:"state_after,omitzero"`
	StateAfterUnstable  *Events                 `json:"org.matrix.msc4222.state_after,omitzero"`
	Timeline            *Timeline               `json:"timeline,omitzero"`
	Sticky              *Events                 `json:"msc4354_sticky,omitzero"`
	Ephemeral           *Events                 `json:"ephemeral,omitzero"`
	AccountData         *Events                 `json:"account_data,omitzero"`
	UnreadNotifications *UnreadCounts           `json:"unread_notifications,omitzero"`
	UnreadThreads       map[string]UnreadCounts `json:"unread_thread_notifications,omitzero"`
}

// LeftRoom is the end of a room that the user left or was banned from.
type LeftRoom struct {
	State              *Events   `json:"state,omitzero"`
	StateAfter         *Events   `json:"state_after,omitzero"`
	StateAfterUnstable *Events   `json:"org.matrix.msc4222.state_after,omitzero"`
	Timeline           *Timeline `json:"timeline,omitzero"`
	AccountData        *Events   `json:"account_data,omitzero"`
}

// InvitedRoom shows stripped state to whom is invited.
type InvitedRoom struct {
	InviteState Events `json:"invite_state"`
}

// KnockedRoom shows stripped state to whom knocks.
type KnockedRoom struct {
	KnockState Events `json:"knock_state"`
}

// Timeline is the newest stretch of a room's events.
type Timeline struct {
	Events    []jsontext.Value `json:"events"`
	Limited   bool             `json:"limited"`
	PrevBatch string           `json:"prev_batch,omitzero"`
}

// Summary helps to name a room whose members are not all known to the client.
type Summary struct {
	Heroes         []string `json:"m.heroes,omitzero"`
	JoinedMembers  *int64   `json:"m.joined_member_count,omitzero"`
	InvitedMembers *int64   `json:"m.invited_member_count,omitzero"`
}

// UnreadCounts are the unread notifications of a room or a thread.
type UnreadCounts struct {
	Highlight    int64 `json:"highlight_count"`
	Notification int64 `json:"notification_count"`
}

// DeviceLists says whose device lists changed, and whose need not be tracked any more.
type DeviceLists struct {
	Changed []string `json:"changed"`
	Left    []string `json:"left"`
}
