package room

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// UpgradeRequest is the body of POST /rooms/{roomId}/upgrade.
type UpgradeRequest struct {
	NewVersion         string   `json:"new_version"`
	AdditionalCreators []string `json:"additional_creators"`
}

// OldRoom is the room to be upgraded.
type OldRoom struct {
	RoomID      string
	State       map[event.Tuple]*event.Event // at least what Transferable says, create and power levels
	LastEventID string
}

// transferred are the state events that go to the new room (client-server API, "Room Upgrades"). Power levels and join
// rules go as well, adapted to the new version.
var transferred = []string{
	"m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic",
	"m.room.guest_access", "m.room.history_visibility",
}

// Transferable reports whether PlanUpgrade wants to see the state event. Bans go to the new room, since they are
// the upgrader's to make; so do the children of a space, without which it would be empty.
func Transferable(t event.Tuple, membership string) bool {
	switch t.Type {
	case "m.room.member":
		return membership == "ban"
	case "m.space.child":
		return true
	case "m.room.create", "m.room.power_levels", "m.room.join_rules":
		return t.StateKey == ""
	}
	return t.StateKey == "" && slices.Contains(transferred, t.Type)
}

// PlanUpgrade works out the room that replaces the old one. The upgrader must be able to send what it begins with; at its
// end stand the old room's power levels, as far as the new version has them.
func PlanUpgrade(old OldRoom, by string, req UpgradeRequest, profile Profile) (*CreatePlan, error) {
	version, ok := roomversion.Get(req.NewVersion)
	if !ok {
		return nil, UnsupportedVersion(req.NewVersion)
	}
	create := old.State[createTuple]
	if create == nil {
		return nil, mxerr.Unknown("the room %s has no create event", old.RoomID)
	}
	b := &planner{plan: &CreatePlan{Version: version, Creator: by}}
	creators, err := b.replacementOf(old, create, req)
	if err != nil {
		return nil, err
	}
	final := levelsOf(old, create).adapt(version, creators)
	b.member(by, "join", profile, false)
	b.state("m.room.power_levels", "", final.raised(version, by))
	b.joinRules(old.State[joinRulesTuple])
	for _, eventType := range transferred {
		if e := old.State[event.Tuple{Type: eventType}]; e != nil {
			b.raw(eventType, "", e.Content())
		}
	}
	b.children(old.State, textAt(create.Content(), "type") == "m.space")
	b.bans(old.State, by)
	if !version.PrivilegedCreators {
		b.state("m.room.power_levels", "", final.content)
	}
	if b.err != nil {
		return nil, mxerr.Unknown("the state of the old room cannot be transferred: %s", b.err)
	}
	return b.plan, nil
}

// replacementOf makes the create event's content. It gives the new room's creators.
func (b *planner) replacementOf(old OldRoom, create *event.Event, req UpgradeRequest) ([]string, error) {
	wanted := object{}
	for _, name := range []string{"type", "m.federate"} {
		if v := gjson.GetBytes(create.Content(), gjson.Escape(name)); v.Exists() {
			wanted[name] = jsontext.Value(v.Raw)
		}
	}
	predecessor := map[string]string{"room_id": old.RoomID}
	if !b.plan.Version.RoomIDFromCreate {
		predecessor["event_id"] = old.LastEventID
	}
	raw, err := json.Marshal(predecessor, json.Deterministic(true))
	if err != nil {
		return nil, mxerr.Unknown("the old room's id is not valid JSON")
	}
	wanted["predecessor"] = raw
	var additional []string
	if b.plan.Version.PrivilegedCreators {
		for _, userID := range req.AdditionalCreators {
			if !id.ValidUser(userID) {
				return nil, mxerr.InvalidParam("%q is not a user id", userID)
			}
		}
		additional = slices.DeleteFunc(unique(req.AdditionalCreators), func(userID string) bool { return userID == b.plan.Creator })
	}
	return append([]string{b.plan.Creator}, additional...), b.create(wanted, additional)
}

// joinRules transfers the join rules; a rule that the new version does not have becomes invite.
func (b *planner) joinRules(e *event.Event) {
	if e == nil {
		return
	}
	rule, v := textAt(e.Content(), "join_rule"), b.plan.Version
	if rule == "knock" && !v.Knock || rule == "restricted" && !v.Restricted || rule == "knock_restricted" && !v.KnockRestricted {
		b.state("m.room.join_rules", "", fields{"join_rule": "invite"})
		return
	}
	b.raw("m.room.join_rules", "", e.Content())
}

// children transfers the children of a space, in a stable order.
func (b *planner) children(state map[event.Tuple]*event.Event, space bool) {
	if !space {
		return
	}
	for _, t := range tuplesOf(state, "m.space.child") {
		if content := state[t].Content(); gjson.GetBytes(content, "via").IsArray() {
			b.raw(t.Type, t.StateKey, content)
		}
	}
}

// bans transfers the bans, in a stable order.
func (b *planner) bans(state map[event.Tuple]*event.Event, by string) {
	for _, t := range tuplesOf(state, "m.room.member") {
		if e := state[t]; e.Membership() == "ban" && t.StateKey != by {
			content := fields{"membership": "ban"}
			if reason := textAt(e.Content(), "reason"); reason != "" {
				content["reason"] = reason
			}
			b.state(t.Type, t.StateKey, content)
		}
	}
}

func tuplesOf(state map[event.Tuple]*event.Event, eventType string) []event.Tuple {
	tuples := slices.DeleteFunc(slices.Collect(maps.Keys(state)), func(t event.Tuple) bool { return t.Type != eventType })
	slices.SortFunc(tuples, func(a, b event.Tuple) int { return strings.Compare(a.StateKey, b.StateKey) })
	return tuples
}

// powerLevels is the content of a power levels event with integers only.
type powerLevels struct {
	content  fields
	users    map[string]int64
	events   map[string]int64
	almighty []string // the old room's creators, if no level bound them
}

// levelsOf reads the old room's power levels, older spellings included. Creators who had power without being named, are
// named.
func levelsOf(old OldRoom, create *event.Event) powerLevels {
	p := powerLevels{content: fields{}, users: map[string]int64{}, events: map[string]int64{}}
	if e := old.State[powerLevelsTuple]; e != nil {
		gjson.ParseBytes(e.Content()).ForEach(func(name, v gjson.Result) bool {
			switch {
			case name.Str == "users":
				p.users = integers(v)
			case name.Str == "events":
				p.events = integers(v)
			case name.Str == "notifications":
				p.content[name.Str] = integers(v)
			default:
				if n, ok := integer(v); ok {
					p.content[name.Str] = n
				}
			}
			return true
		})
	}
	if old.State[powerLevelsTuple] == nil || create.Version().PrivilegedCreators {
		for _, userID := range auth.Creators(create.Version(), create) {
			p.users[userID] = 100
		}
	}
	if create.Version().PrivilegedCreators {
		p.almighty = auth.Creators(create.Version(), create)
	}
	p.content["users"], p.content["events"] = p.users, p.events
	return p
}

func integers(object gjson.Result) map[string]int64 {
	out := map[string]int64{}
	if object.IsObject() {
		object.ForEach(func(name, v gjson.Result) bool {
			if n, ok := integer(v); ok {
				out[name.Str] = n
			}
			return true
		})
	}
	return out
}

// integer reads a level; room versions before 10 have strings as well.
func integer(v gjson.Result) (int64, bool) {
	text := v.Raw
	if v.Type == gjson.String {
		text = strings.TrimSpace(v.Str)
	} else if v.Type != gjson.Number {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// adapt makes the levels those of a room of the version with the creators.
func (p powerLevels) adapt(v *roomversion.Version, creators []string) powerLevels {
	if !v.PrivilegedCreators {
		for _, userID := range p.almighty {
			p.users[userID] = p.highest() // otherwise nobody might be left who may close the room in its turn
		}
		return p
	}
	for _, userID := range creators {
		delete(p.users, userID)
	}
	p.events["m.room.tombstone"] = max(p.events["m.room.tombstone"], 150)
	return p
}

// highest is the level that reaches everything: what is asked for, and whoever has one.
func (p powerLevels) highest() int64 {
	most := int64(100)
	for _, level := range p.events {
		most = max(most, level)
	}
	for _, level := range p.users {
		most = max(most, level)
	}
	for _, level := range p.content {
		if n, ok := level.(int64); ok {
			most = max(most, n)
		}
	}
	return most
}

// raised is the content with which the upgrader can send everything that the new room begins with.
func (p powerLevels) raised(v *roomversion.Version, by string) fields {
	if v.PrivilegedCreators {
		return p.content
	}
	content := maps.Clone(p.content)
	users := maps.Clone(p.users)
	users[by] = p.highest()
	content["users"] = users
	return content
}

// ClosedPowerLevels is the content of power levels that keep people from speaking and inviting in an upgraded room,
// nil when it would change nothing (client-server API, "Room Upgrades", 6).
func ClosedPowerLevels(current []byte) []byte {
	content := object{}
	if len(current) > 0 {
		if err := json.Unmarshal(current, &content); err != nil {
			return nil
		}
	}
	usersDefault, _ := integer(gjson.GetBytes(current, "users_default"))
	closed := max(50, usersDefault+1)
	changed := false
	for _, name := range []string{"events_default", "invite"} {
		if level, _ := integer(gjson.GetBytes(current, name)); level < closed {
			content[name] = jsontext.Value(strconv.FormatInt(closed, 10))
			changed = true
		}
	}
	if !changed {
		return nil
	}
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return raw
}
