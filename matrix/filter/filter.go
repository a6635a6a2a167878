// Package filter is what a client wants to see of events (client-server API, "Filtering").
package filter

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The bounds of a filter.
const (
	MaxSize  = 64 << 10 // bytes of JSON
	MaxList  = 1000     // entries of one list
	MaxLimit = 1000     // events of one kind in an answer; larger limits are lowered to it
)

// Filter is a filter for /sync. The zero value lets everything through; others are made by Parse.
type Filter struct {
	EventFields []string `json:"event_fields,omitempty"`
	EventFormat string   `json:"event_format,omitempty"`
	Presence    Event    `json:"presence,omitzero"`
	AccountData Event    `json:"account_data,omitzero"`
	Room        Room     `json:"room,omitzero"`
	// ProfileFields are the fields of profiles whose changes are wanted (MSC4429), in the spelling that the proposal is to have and in that which
	// it has until then.
	ProfileFields         *ProfileFields `json:"profile_fields,omitzero"`
	ProfileFieldsUnstable *ProfileFields `json:"org.matrix.msc4429.profile_fields,omitzero"`

	fields *branch // EventFields, compiled; nil for all
}

// ProfileFields chooses fields of profiles.
type ProfileFields struct {
	IDs []string `json:"ids"`
}

// Profiles are the fields of profiles whose changes are wanted.
func (f *Filter) Profiles() []string {
	var ids []string
	for _, p := range []*ProfileFields{f.ProfileFields, f.ProfileFieldsUnstable} {
		if p != nil {
			ids = append(ids, p.IDs...)
		}
	}
	return ids
}

// Room filters what concerns rooms.
type Room struct {
	Rooms        *[]string `json:"rooms,omitzero"`
	NotRooms     []string  `json:"not_rooms,omitempty"`
	IncludeLeave bool      `json:"include_leave,omitempty"`
	Ephemeral    RoomEvent `json:"ephemeral,omitzero"`
	State        RoomEvent `json:"state,omitzero"`
	Timeline     RoomEvent `json:"timeline,omitzero"`
	AccountData  RoomEvent `json:"account_data,omitzero"`
}

// Event filters events by sender and type. A list that is nil does not restrict; an empty one lets nothing through.
type Event struct {
	Limit      int       `json:"limit,omitempty"` // 0: the server's choice
	Senders    *[]string `json:"senders,omitzero"`
	NotSenders []string  `json:"not_senders,omitempty"`
	Types      *[]string `json:"types,omitzero"` // * stands for any characters
	NotTypes   []string  `json:"not_types,omitempty"`
}

// RoomEvent filters events of rooms.
type RoomEvent struct {
	Event
	Rooms                     *[]string `json:"rooms,omitzero"`
	NotRooms                  []string  `json:"not_rooms,omitempty"`
	ContainsURL               *bool     `json:"contains_url,omitzero"`
	LazyLoadMembers           bool      `json:"lazy_load_members,omitempty"`
	IncludeRedundantMembers   bool      `json:"include_redundant_members,omitempty"`
	UnreadThreadNotifications bool      `json:"unread_thread_notifications,omitempty"`
	RelatedByRelTypes         []string  `json:"related_by_rel_types,omitempty"`
	RelatedBySenders          []string  `json:"related_by_senders,omitempty"`
	// RelTypes and NotRelTypes are the relations that an event itself may have (MSC3874).
	RelTypes    *[]string `json:"org.matrix.msc3874.rel_types,omitzero"`
	NotRelTypes []string  `json:"org.matrix.msc3874.not_rel_types,omitempty"`
}

// Parse reads and checks a filter. Errors are *mxerr.Error.
func Parse(raw []byte) (*Filter, error) {
	f := &Filter{}
	if err := read(raw, f); err != nil {
		return nil, err
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return nil, mxerr.InvalidParam("event_format must be client or federation, not %q", f.EventFormat)
	}
	if len(f.EventFields) > MaxList {
		return nil, mxerr.InvalidParam("event_fields has more than %d entries", MaxList)
	}
	if len(f.Profiles()) > MaxList {
		return nil, mxerr.InvalidParam("profile_fields has more than %d entries", MaxList)
	}
	if err := checkRooms(f.Room.Rooms, f.Room.NotRooms); err != nil {
		return nil, err
	}
	for _, e := range []*Event{&f.Presence, &f.AccountData} {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	for _, e := range []*RoomEvent{&f.Room.Ephemeral, &f.Room.State, &f.Room.Timeline, &f.Room.AccountData} {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	f.fields = compileFields(f.EventFields)
	return f, nil
}

// ParseRoomEvent reads and checks the filter parameter of endpoints such as /messages. An empty text is the filter that keeps all.
func ParseRoomEvent(raw string) (*RoomEvent, error) {
	f := &RoomEvent{}
	if raw == "" {
		return f, nil
	}
	if err := read([]byte(raw), f); err != nil {
		return nil, err
	}
	return f, f.check()
}

func read(raw []byte, v any) error {
	if len(raw) > MaxSize {
		return mxerr.TooLarge("a filter has at most %d bytes", MaxSize)
	}
	if !gjson.ValidBytes(raw) {
		return mxerr.NotJSON("the filter is not JSON")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return mxerr.BadJSON("the filter: %v", err)
	}
	return nil
}

func (e *RoomEvent) check() error {
	if err := checkRooms(e.Rooms, e.NotRooms); err != nil {
		return err
	}
	for _, list := range [][]string{e.RelatedByRelTypes, e.RelatedBySenders, deref(e.RelTypes), e.NotRelTypes} {
		if len(list) > MaxList {
			return mxerr.InvalidParam("a list of the filter has more than %d entries", MaxList)
		}
	}
	return e.Event.check()
}

func (e *Event) check() error {
	if e.Limit < 0 {
		return mxerr.InvalidParam("limit must not be negative")
	}
	e.Limit = min(e.Limit, MaxLimit)
	for _, list := range [][]string{deref(e.Senders), e.NotSenders} {
		if len(list) > MaxList {
			return mxerr.InvalidParam("a list of the filter has more than %d entries", MaxList)
		}
		for _, userID := range list {
			if !id.ValidUser(userID) {
				return mxerr.InvalidParam("%q in the filter is not a user id", userID)
			}
		}
	}
	if len(deref(e.Types)) > MaxList || len(e.NotTypes) > MaxList {
		return mxerr.InvalidParam("a list of the filter has more than %d entries", MaxList)
	}
	return nil
}

func checkRooms(rooms *[]string, not []string) error {
	for _, list := range [][]string{deref(rooms), not} {
		if len(list) > MaxList {
			return mxerr.InvalidParam("a list of the filter has more than %d entries", MaxList)
		}
		for _, roomID := range list {
			if !id.ValidRoomID(roomID) {
				return mxerr.InvalidParam("%q in the filter is not a room id", roomID)
			}
		}
	}
	return nil
}

func deref(list *[]string) []string {
	if list == nil {
		return nil
	}
	return *list
}

// Federation reports whether events are wanted as servers exchange them.
func (f *Filter) Federation() bool { return f.EventFormat == "federation" }

// KeepsRoom reports whether the filter lets the room through.
func (r *Room) KeepsRoom(roomID string) bool { return keeps(r.Rooms, r.NotRooms, roomID) }

// KeepsRoom reports whether the filter lets events of the room through.
func (e *RoomEvent) KeepsRoom(roomID string) bool { return keeps(e.Rooms, e.NotRooms, roomID) }

func keeps(only *[]string, not []string, s string) bool {
	return !slices.Contains(not, s) && (only == nil || slices.Contains(*only, s))
}

// Keeps reports whether the filter lets an event of this sender and type through.
func (e *Event) Keeps(sender, typ string) bool {
	return keeps(e.Senders, e.NotSenders, sender) && e.KeepsType(typ)
}

// KeepsType is Keeps for what has no sender, such as account data.
func (e *Event) KeepsType(typ string) bool {
	return !anyMatches(e.NotTypes, typ) && (e.Types == nil || anyMatches(*e.Types, typ))
}

func anyMatches(patterns []string, typ string) bool {
	for _, pattern := range patterns {
		if matchType(pattern, typ) {
			return true
		}
	}
	return false
}

// KeepsContent reports whether the filter lets an event with this content through. Whether other events relate to it
// (related_by_rel_types, related_by_senders) is not in the content.
func (e *RoomEvent) KeepsContent(content []byte) bool {
	if e.ContainsURL != nil && gjson.GetBytes(content, "url").Exists() != *e.ContainsURL {
		return false
	}
	if e.RelTypes == nil && len(e.NotRelTypes) == 0 {
		return true
	}
	relation := gjson.GetBytes(content, `m\.relates_to.rel_type`)
	if relation.Type != gjson.String {
		return e.RelTypes == nil
	}
	return keeps(e.RelTypes, e.NotRelTypes, relation.Str)
}

// AsksContent reports whether KeepsContent depends on the content.
func (e *RoomEvent) AsksContent() bool {
	return e.ContainsURL != nil || e.RelTypes != nil || len(e.NotRelTypes) > 0
}

// KeepsAll reports whether the filter restricts nothing about single events.
func (e *RoomEvent) KeepsAll() bool {
	return e.Types == nil && e.Senders == nil && !e.AsksContent() && len(e.NotTypes)+len(e.NotSenders)+len(e.RelatedByRelTypes)+len(e.RelatedBySenders) == 0
}

// matchType matches a type against a pattern in which * stands for any characters, in time proportional to both.
func matchType(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], after
	}
}
