package room

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
)

// Summary is what directories and listings show of a room. It is a value and comparable.
type Summary struct {
	Version           string
	Creator           string
	CreatedTS         int64 // ms, by the create event
	Name              string
	Topic             string
	AvatarURL         string
	CanonicalAlias    string
	JoinRule          string
	GuestAccess       string
	HistoryVisibility string
	RoomType          string
	Encryption        string // the algorithm
	JoinedMembers     int64
	InvitedMembers    int64
	UpgradedTo        string
	Published         bool
}

// listedUnder is the count under which the directory lists the room, -1 when it does not.
func (s Summary) listedUnder() int64 {
	if !s.Published {
		return -1
	}
	return s.JoinedMembers
}

// show takes in a state event that has become current, or was redacted while it was.
func (s *Summary) show(e *event.Event) {
	stateKey, _ := e.StateKey()
	if stateKey != "" {
		return
	}
	content := e.Content()
	text := func(key string) string { return textAt(content, key) }
	switch e.Type() {
	case "m.room.create":
		s.Version, s.Creator, s.CreatedTS = e.Version().ID, e.Sender(), e.OriginServerTS()
		s.RoomType = text("type")
	case "m.room.name":
		s.Name = text("name")
	case "m.room.topic":
		s.Topic = text("topic")
	case "m.room.avatar":
		s.AvatarURL = text("url")
	case "m.room.canonical_alias":
		s.CanonicalAlias = text("alias")
	case "m.room.join_rules":
		s.JoinRule = text("join_rule")
	case "m.room.guest_access":
		s.GuestAccess = text("guest_access")
	case "m.room.history_visibility":
		s.HistoryVisibility = text("history_visibility")
	case "m.room.encryption":
		s.Encryption = text("algorithm")
	case "m.room.tombstone":
		s.UpgradedTo = text("replacement_room")
	}
}

// hide takes in that a place of the state has become empty.
func (s *Summary) hide(t event.Tuple) {
	if t.StateKey != "" {
		return
	}
	switch t.Type {
	case "m.room.name":
		s.Name = ""
	case "m.room.topic":
		s.Topic = ""
	case "m.room.avatar":
		s.AvatarURL = ""
	case "m.room.canonical_alias":
		s.CanonicalAlias = ""
	case "m.room.join_rules":
		s.JoinRule = withoutJoinRule
	case "m.room.guest_access":
		s.GuestAccess = ""
	case "m.room.history_visibility":
		s.HistoryVisibility = withoutVisibility
	case "m.room.encryption":
		s.Encryption = ""
	case "m.room.tombstone":
		s.UpgradedTo = ""
	}
}

// What holds in a room that does not say.
const (
	withoutJoinRule   = "invite"
	withoutVisibility = "shared"
)

// count takes in that a membership changed.
func (s *Summary) count(before, after string) {
	s.JoinedMembers += delta(before, after, "join")
	s.InvitedMembers += delta(before, after, "invite")
}

func delta(before, after, membership string) int64 {
	var n int64
	if after == membership {
		n++
	}
	if before == membership {
		n--
	}
	return n
}

// textAt is the string at the key of a JSON object, "" when it is something else.
func textAt(object []byte, key string) string {
	if v := gjson.GetBytes(object, gjson.Escape(key)); v.Type == gjson.String {
		return v.Str
	}
	return ""
}
