// Package auth decides whether an event is allowed: the authorisation rules of room versions 1 to 12 (rooms/v1 to v12,
// "Authorisation rules"), in the order of their numbers. A rejection names the rule by its number in the list of the
// room's version.
package auth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// State is the state that an event is checked against. In room version 12 it gives the create event too, though events do not cite it.
type State interface {
	Event(t event.Tuple) *event.Event // nil when the place is empty
}

// Rejection says which rule rejects an event, and why.
type Rejection struct {
	Rule      string // as numbered in rooms/vN, for example "5.3.5.2"
	Reason    string
	Malformed bool // the event would be against the rule whoever sent it
}

func (r *Rejection) Error() string { return fmt.Sprintf("rule %s: %s", r.Rule, r.Reason) }

const (
	typeCreate      = "m.room.create"
	typeMember      = "m.room.member"
	typePowerLevels = "m.room.power_levels"
	typeJoinRules   = "m.room.join_rules"
	typeThirdParty  = "m.room.third_party_invite"
	typeAliases     = "m.room.aliases"
	typeRedaction   = "m.room.redaction"
)

// checker checks one event.
type checker struct {
	e       *event.Event
	v       *roomversion.Version
	state   State
	create  *event.Event
	levels  *PowerLevels
	member  int // the number of the rule for m.room.member; those after it follow
	content gjson.Result
}

// Check applies the rules that depend on the given state, in the order of their numbers. The error is a *Rejection. A state
// that lacks the create event rejects everything but a create event; so does, in room version 12, one whose create event is not
// the one that the room id names. That the server of join_authorised_via_users_server has signed is not checked here: see Signers.
func Check(e *event.Event, state State) error {
	c := &checker{e: e, v: e.Version(), state: state, content: gjson.ParseBytes(e.Content())}
	if e.Type() == typeCreate {
		return c.checkCreate()
	}
	c.member = 4
	if c.v.AliasesAuthRule || c.v.RoomIDFromCreate {
		c.member++
	}
	if c.create = state.Event(event.Tuple{Type: typeCreate}); c.create == nil {
		if c.v.RoomIDFromCreate {
			return c.reject("the room's create event is not known", 2)
		}
		return c.reject("the room has no create event", 2, 4)
	}
	if c.v.RoomIDFromCreate && c.create.RoomID() != e.RoomID() {
		return c.reject("the create event is of another room", 2)
	}
	var err error
	if c.levels, err = Levels(c.v, c.create, state.Event(event.Tuple{Type: typePowerLevels})); err != nil {
		return err
	}
	return c.check()
}

func (c *checker) reject(reason string, numbers ...int) *Rejection {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, n)
	}
	return &Rejection{Rule: b.String(), Reason: reason}
}

// malformed is reject for a content that nobody may send.
func (c *checker) malformed(reason string, numbers ...int) error {
	rejection := c.reject(reason, numbers...)
	rejection.Malformed = true
	return rejection
}

// checkCreate is rule 1.
func (c *checker) checkCreate() error {
	e := c.e
	if len(e.PrevEvents()) > 0 {
		return c.reject("a create event has no previous events", 1, 1)
	}
	if c.v.RoomIDFromCreate {
		if gjson.GetBytes(e.JSON(), "room_id").Exists() {
			return c.reject("a create event has no room_id in this room version", 1, 2)
		}
	} else if id.ServerOf(e.RoomID()) != id.ServerOf(e.Sender()) {
		return c.reject("the room id is of another server than the sender", 1, 2)
	}
	if version := c.content.Get("room_version"); version.Exists() {
		if _, known := roomversion.Get(version.Str); !known || version.Type != gjson.String {
			return c.reject("the room version is not known", 1, 3)
		}
	}
	switch {
	case !c.v.CreatorIsSender && !c.content.Get("creator").Exists():
		return c.reject("a create event names its creator", 1, 4)
	case c.v.PrivilegedCreators && !validCreators(c.content.Get("additional_creators")):
		return c.reject("additional_creators must be a list of user ids", 1, 4)
	}
	return nil
}

func validCreators(list gjson.Result) bool {
	if !list.Exists() {
		return true
	}
	return list.IsArray() && !slices.ContainsFunc(list.Array(), func(userID gjson.Result) bool {
		return userID.Type != gjson.String || !id.ValidUser(userID.Str)
	})
}

// check is everything from the rule on m.federate on.
func (c *checker) check() error {
	e := c.e
	federate := member(gjson.ParseBytes(c.create.Content()), "m.federate")
	if federate.Type == gjson.False && id.ServerOf(e.Sender()) != id.ServerOf(c.create.Sender()) {
		return c.reject("the room is not federated", c.federateRule())
	}
	stateKey, isState := e.StateKey()
	if c.v.AliasesAuthRule && e.Type() == typeAliases {
		if !isState {
			return c.reject("aliases need a state key", 4, 1)
		}
		if id.ServerOf(e.Sender()) != stateKey {
			return c.reject("a server sets its own aliases only", 4, 2)
		}
		return nil
	}
	if e.Type() == typeMember {
		return c.checkMember()
	}
	after := c.member
	if c.membership(e.Sender()) != "join" {
		return c.reject("the sender "+e.Sender()+" is not in the room", after+1)
	}
	level := c.levels.User(e.Sender())
	if e.Type() == typeThirdParty {
		if level.Less(c.levels.Invite()) {
			return c.reject(c.lacks("invite", c.levels.Invite()), after+2, 1)
		}
		return nil
	}
	if needed := c.levels.Event(e.Type(), isState); level.Less(needed) {
		return c.reject(c.lacks("send "+e.Type(), needed), after+3)
	}
	if isState && strings.HasPrefix(stateKey, "@") && stateKey != e.Sender() {
		return c.reject("a state key that is a user id belongs to that user", after+4)
	}
	switch {
	case e.Type() == typePowerLevels:
		return c.checkPowerLevels(after + 5)
	case e.Type() == typeRedaction && c.v.RedactionAuthRule:
		if level.Less(c.levels.Redact()) && id.ServerOf(e.Redacts()) != id.ServerOf(e.ID()) {
			return c.reject(c.lacks("redact events of other servers", c.levels.Redact()), after+6, 3)
		}
	}
	return nil
}

func (c *checker) federateRule() int {
	if c.v.RoomIDFromCreate {
		return 4
	}
	return 3
}

// lacks explains a missing power level.
func (c *checker) lacks(what string, needed Level) string {
	return fmt.Sprintf("%s needs power level %s to %s and has %s", c.e.Sender(), needed, what, c.levels.User(c.e.Sender()))
}

func (c *checker) membership(userID string) string {
	if m := c.state.Event(event.Tuple{Type: typeMember, StateKey: userID}); m != nil {
		return m.Membership()
	}
	return ""
}

// CheckAuthEvents is the rule on auth_events (2, or 3 in room version 12): authEvents are the events that e cites, and
// rejected tells which of them were rejected. The create event is allowed or not by rule 1 alone. The error is a *Rejection.
func CheckAuthEvents(e *event.Event, authEvents []*event.Event, rejected func(eventID string) bool) error {
	c := &checker{e: e, v: e.Version()}
	if e.Type() == typeCreate {
		return nil
	}
	rule := 2
	if c.v.RoomIDFromCreate {
		rule = 3
	}
	seen := make(map[event.Tuple]bool, len(authEvents))
	for _, a := range authEvents {
		t := a.Tuple()
		if seen[t] {
			return c.reject(fmt.Sprintf("two auth events are for (%s, %q)", t.Type, t.StateKey), rule, 1)
		}
		seen[t] = true
	}
	expected := Selection(c.v, ShapeOf(e))
	for _, a := range authEvents {
		if !a.IsState() || !slices.Contains(expected, a.Tuple()) {
			return c.reject("the auth event "+a.ID()+" does not authorise such an event", rule, 2)
		}
	}
	for _, a := range authEvents {
		if rejected(a.ID()) {
			return c.reject("the auth event "+a.ID()+" was rejected", rule, 3)
		}
	}
	if !c.v.RoomIDFromCreate && !seen[event.Tuple{Type: typeCreate}] {
		return c.reject("the create event is not among the auth events", rule, 4)
	}
	for _, a := range authEvents {
		if a.RoomID() != e.RoomID() {
			return c.reject("the auth event "+a.ID()+" is of another room", rule, 5)
		}
	}
	return nil
}
