// Package schema declares the tables: what is kept, by which key it is found, and who may write it.
// A backend lays them out as it likes; the names and columns are what an operator sees in SQL.
package schema

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
)

// The states of an event in its room (server-server API, "Checks performed on receipt of a PDU").
const (
	Accepted   uint64 = 0
	SoftFailed uint64 = 1
	Rejected   uint64 = 2
	Outlier    uint64 = 3
	// Placed marks the row of an outlier that has got its place since: Number says where, and all else stands there.
	Placed uint64 = 4
)

// Event is one entry of a room's journal, which is the room's event store. Written by the room's actor.
type Event struct {
	RoomID         string  `col:"room_id,key"`
	Seq            uint64  `col:"seq,key"` // the order of the timeline: of arrival, with history that was fetched later below what it comes before. See OutlierBase
	EventID        string  `col:"event_id"`
	Type           string  `col:"type"`
	StateKey       *string `col:"state_key"`
	Sender         string  `col:"sender"`
	Status         uint64  `col:"status"`
	Depth          int64   `col:"depth"`
	OriginServerTS int64   `col:"origin_server_ts"`  // ms, the sender's clock
	ReceivedTS     int64   `col:"received_ts"`       // ms, ours; never decreases within a room
	Pos            uint64  `col:"pos,position,once"` // of the commit that brought the event
	StateBefore    []byte  `col:"state_before"`      // statetree root before the event
	StateAfter     []byte  `col:"state_after"`       // statetree root after it; equal to StateBefore for message events
	ReplacesSeq    uint64  `col:"replaces_seq"`      // of the state event with the same type and key before it, 0 if none
	RedactedBy     string  `col:"redacted_by"`       // id of the redaction that was applied; JSON is then the pruned event
	DeviceID       string  `col:"device_id"`         // the local device that sent it, with its transaction id
	TxnID          string  `col:"txn_id"`
	JSON           []byte  `col:"json,json"`  // the PDU, canonical, with hashes and signatures, without unsigned
	RoomState      []byte  `col:"room_state"` // root of the room's current state once this event was taken in; empty when it is StateAfter
	Number         uint64  `col:"number"`     // what state trees call the event, when it was an outlier before; 0: Seq
}

// StateNumber is what state trees call the event.
func (e *Event) StateNumber() uint64 {
	if e.Number != 0 {
		return e.Number
	}
	return e.Seq
}

// RoomStateRoot names the room's current state once the event was taken in. Where the graph forks it is the resolution of the forks' states.
func (e *Event) RoomStateRoot() []byte {
	if len(e.RoomState) != 0 {
		return e.RoomState
	}
	return e.StateAfter
}

// Timeline selects the events of a room that have a place in it.
func Timeline(roomID string) persistence.Range[Event] {
	return persistence.Range[Event]{Prefix: Event{RoomID: roomID}, Keys: 1, Before: &Event{Seq: OutlierBase}}
}

// EventAt reads the event that has, or had as an outlier, this number.
func EventAt(ctx context.Context, r persistence.Reader, roomID string, number uint64) (Event, bool, error) {
	row, ok, err := Events.Get(ctx, r, Event{RoomID: roomID, Seq: number})
	if err == nil && ok && row.Status == Placed {
		return Events.Get(ctx, r, Event{RoomID: roomID, Seq: row.Number})
	}
	return row, ok, err
}

// EventByID finds an event of a room by its id. Written with the event.
type EventByID struct {
	RoomID  string `col:"room_id,key"`
	EventID string `col:"event_id,key"`
	Seq     uint64 `col:"seq"`
	Epoch   uint64 `col:"epoch"` // of the room's activation that brought the event; never decreases with Seq
}

// CurrentState is the room's state now. Written with the event that changed it.
type CurrentState struct {
	RoomID     string `col:"room_id,key"`
	Type       string `col:"type,key"`
	StateKey   string `col:"state_key,key"`
	EventID    string `col:"event_id"`
	Seq        uint64 `col:"seq"`
	Membership string `col:"membership"` // of m.room.member events, else empty
}

// Membership is the newest membership of a user in a room. Written by the room's actor; Forgotten too.
type Membership struct {
	UserID        string `col:"user_id,key"`
	RoomID        string `col:"room_id,key"`
	Membership    string `col:"membership"` // join, invite, knock, leave, ban
	EventID       string `col:"event_id"`
	Seq           uint64 `col:"seq"`
	Pos           uint64 `col:"pos,position,once"` // of the commit that brought the membership event (not of later changes of this row)
	Sender        string `col:"sender"`
	JoinedSeq     uint64 `col:"joined_seq"` // of the event with which the present or last stay began, 0 if never joined
	Forgotten     bool   `col:"forgotten"`
	StrippedState []byte `col:"stripped_state,json"` // of an invite or knock: a JSON array
	LeftSeq       uint64 `col:"left_seq"`            // of the event with which the last stay ended, 0 if none has ended
}

// OutOfBand reports whether the membership was told by another server, while this one was not in the room: no event of it is here.
func (m *Membership) OutOfBand() bool { return m.Seq == 0 && m.Membership != "" }

// Room is the summary of a room's state for directories and listings. Written when the state it shows changes.
type Room struct {
	RoomID            string `col:"room_id,key"`
	Version           string `col:"version"`
	Creator           string `col:"creator"`
	CreatedTS         int64  `col:"created_ts"`
	Name              string `col:"name"`
	Topic             string `col:"topic"`
	AvatarURL         string `col:"avatar_url"`
	CanonicalAlias    string `col:"canonical_alias"`
	JoinRule          string `col:"join_rule"`
	GuestAccess       string `col:"guest_access"`
	HistoryVisibility string `col:"history_visibility"`
	RoomType          string `col:"room_type"`
	Encryption        string `col:"encryption"`
	JoinedMembers     int64  `col:"joined_members"`
	InvitedMembers    int64  `col:"invited_members"`
	UpgradedTo        string `col:"upgraded_to"`
	Published         bool   `col:"published"` // shown in the public room directory
}

// PublicRoom lists the published rooms, largest first when scanned in reverse. Written with Room.
type PublicRoom struct {
	JoinedMembers int64  `col:"joined_members,key"`
	RoomID        string `col:"room_id,key"`
}

// Relation says which events relate to another (client-server API, "Relationships between events").
type Relation struct {
	RoomID   string `col:"room_id,key"`
	ParentID string `col:"parent_id,key"`
	Seq      uint64 `col:"seq,key"` // of the relating event
	EventID  string `col:"event_id"`
	RelType  string `col:"rel_type"`
	Type     string `col:"type"`
	Sender   string `col:"sender"`
	Key      string `col:"key"` // of an m.annotation
}

// PendingRedaction remembers a redaction that arrived before its target.
type PendingRedaction struct {
	RoomID      string `col:"room_id,key"`
	TargetID    string `col:"target_id,key"`
	RedactionID string `col:"redaction_id,key"`
	Seq         uint64 `col:"seq"`
}

// StateNode is a node of the room's state trees, named by its content (matrix/statetree).
type StateNode struct {
	RoomID string `col:"room_id,key"`
	Hash   []byte `col:"hash,key"`
	Node   []byte `col:"node"`
}

// Receipt is the newest receipt of a user in a room (client-server API, "Receipts").
type Receipt struct {
	RoomID   string `col:"room_id,key"`
	UserID   string `col:"user_id,key"`
	Type     string `col:"receipt_type,key"` // m.read or m.read.private
	ThreadID string `col:"thread_id,key"`    // "" when unthreaded, "main", or the thread root's event id
	EventID  string `col:"event_id"`
	Seq      uint64 `col:"seq"` // of the event that was read
	TS       int64  `col:"ts"`
	Pos      uint64 `col:"pos,position"`
}

// Alias names a room. Written by the room's actor; Absent guards its uniqueness.
type Alias struct {
	Alias     string `col:"alias,key"`
	RoomID    string `col:"room_id"`
	Creator   string `col:"creator"`
	CreatedTS int64  `col:"created_ts"`
}

// AliasByRoom lists the aliases of a room. Written with Alias.
type AliasByRoom struct {
	RoomID string `col:"room_id,key"`
	Alias  string `col:"alias,key"`
}

// RoomTransaction remembers the event that a request with a transaction id made (client-server API, "Transaction
// identifiers"): one row for each message that was sent here. Written with the event.
type RoomTransaction struct {
	RoomID   string `col:"room_id,key"`
	UserID   string `col:"user_id,key"`
	DeviceID string `col:"device_id,key"`
	Type     string `col:"type,key"`    // of the event
	Redacts  string `col:"redacts,key"` // of a redaction: the event's id, else empty
	TxnID    string `col:"txn_id,key"`
	EventID  string `col:"event_id"`
	TS       int64  `col:"ts"` // ms; older than the device: of one that had its name before
}

// The tables of rooms.
var (
	Events            = persistence.NewTable[Event]("events")
	EventsByID        = persistence.NewTable[EventByID]("event_ids")
	CurrentStates     = persistence.NewTable[CurrentState]("current_state")
	Memberships       = persistence.NewTable[Membership]("memberships")
	Rooms             = persistence.NewTable[Room]("rooms")
	PublicRooms       = persistence.NewTable[PublicRoom]("public_rooms")
	Relations         = persistence.NewTable[Relation]("relations")
	PendingRedactions = persistence.NewTable[PendingRedaction]("pending_redactions")
	StateNodes        = persistence.NewTable[StateNode]("state_nodes")
	Receipts          = persistence.NewTable[Receipt]("receipts")
	Aliases           = persistence.NewTable[Alias]("aliases")
	AliasesByRoom     = persistence.NewTable[AliasByRoom]("room_aliases")
	RoomTransactions  = persistence.NewTable[RoomTransaction]("room_transactions")
)
