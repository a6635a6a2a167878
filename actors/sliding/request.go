package sliding

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/messages"
)

// Request is one request of a connection, in either dialect.
type Request struct {
	UserID, DeviceID string
	ConnID           string
	Pos              string // empty on a new connection
	Timeout          time.Duration
	SetPresence      string
	Lists            map[string]List
	Subscriptions    map[string]Config // by room id
	Extensions       Extensions

	stubs bool // of state that is no more
}

// List chooses rooms: those that the filters let through, in the order of their activity, within the ranges.
type List struct {
	Filters Filters
	Ranges  [][2]int // inclusive, from 0; nil is all
	Config
}

// Config says what to give of a room.
type Config struct {
	TimelineLimit int
	State         RequiredState
}

// Filters all have to let a room through. What is nil lets everything through.
type Filters struct {
	IsDM, IsEncrypted, IsInvited *bool
	Spaces                       []string
	RoomTypes, NotRoomTypes      []*string // nil within: rooms without a type
	Tags, NotTags                []string
	NameLike                     string // part of the room's name, in any case
}

// Extensions are what is asked for besides rooms; nil is not asked for.
type Extensions struct {
	ToDevice    *ToDeviceQuery
	E2EE        bool
	AccountData *Scope
	Receipts    *Scope
	Typing      *Scope
	// ThreadSubscriptions is how many changes of these are wanted at most; 0: they are not asked for.
	ThreadSubscriptions int
	Sticky              *StickyQuery
	Profiles            *ProfilesQuery
}

// ToDeviceQuery asks for the device's messages after a position, which acknowledges those before.
type ToDeviceQuery struct {
	Limit int
	Since uint64
}

// Scope narrows an extension to rooms of some lists and some subscribed rooms; nil is all.
type Scope struct {
	Lists, Rooms []string
}

// covers reports whether the scope takes in a room that is in these lists' windows.
func (s *Scope) covers(roomID string, lists []string, subscribed bool) bool {
	if subscribed && (s.Rooms == nil || slices.Contains(s.Rooms, roomID) || slices.Contains(s.Rooms, "*")) {
		return true
	}
	if s.Lists == nil || slices.Contains(s.Lists, "*") {
		return len(lists) > 0
	}
	return slices.ContainsFunc(lists, func(name string) bool { return slices.Contains(s.Lists, name) })
}

// Rule wants the state that matches one of Include and none of Exclude. With LazyMembers it wants, of the members, those that are
// named in Include, and those that the timeline needs.
type Rule struct {
	Include, Exclude []Element
	LazyMembers      bool
}

// Element matches state by type and state key; nil matches all.
type Element struct{ Type, StateKey *string }

// RequiredState is what any of its rules wants. It is not changed once it is made.
type RequiredState struct {
	rules []*messages.SlidingRule
	key   string // equal for equal rules
}

// Require makes the required state of one rule.
func Require(r Rule) RequiredState {
	return require([]*messages.SlidingRule{{Include: elements(r.Include), Exclude: elements(r.Exclude), LazyMembers: r.LazyMembers}})
}

func elements(es []Element) []*messages.SlidingElement {
	out := make([]*messages.SlidingElement, len(es))
	for i, e := range es {
		out[i] = &messages.SlidingElement{Type: e.Type, StateKey: e.StateKey}
	}
	slices.SortFunc(out, func(a, b *messages.SlidingElement) int { return strings.Compare(elementKey(a), elementKey(b)) })
	return slices.CompactFunc(out, func(a, b *messages.SlidingElement) bool { return elementKey(a) == elementKey(b) })
}

func elementKey(e *messages.SlidingElement) string {
	part := func(s *string) string {
		if s == nil {
			return "*"
		}
		return "=" + *s
	}
	return part(e.Type) + "\x00" + part(e.StateKey) + "\x00"
}

func ruleKey(r *messages.SlidingRule) string {
	var b strings.Builder
	for _, e := range r.Include {
		b.WriteString("+" + elementKey(e))
	}
	for _, e := range r.Exclude {
		b.WriteString("-" + elementKey(e))
	}
	if r.LazyMembers {
		b.WriteString("lazy")
	}
	return b.String()
}

func require(rules []*messages.SlidingRule) RequiredState {
	keys := make([]string, len(rules))
	for i, r := range rules {
		keys[i] = ruleKey(r)
	}
	return RequiredState{rules, strings.Join(keys, "\x01")}
}

// union is what either wants.
func (s RequiredState) union(other RequiredState) RequiredState {
	if s.key == other.key || len(other.rules) == 0 {
		return s
	}
	rules := slices.Concat(s.rules, other.rules)
	slices.SortFunc(rules, func(a, b *messages.SlidingRule) int { return strings.Compare(ruleKey(a), ruleKey(b)) })
	return require(slices.CompactFunc(rules, func(a, b *messages.SlidingRule) bool { return ruleKey(a) == ruleKey(b) }))
}

// combine is the config of a room that is chosen twice.
func (c Config) combine(other Config) Config {
	return Config{max(c.TimelineLimit, other.TimelineLimit), c.State.union(other.State)}
}

// lazy reports whether members are loaded as the timeline needs them.
func (s RequiredState) lazy() bool {
	return slices.ContainsFunc(s.rules, func(r *messages.SlidingRule) bool { return r.LazyMembers })
}

// wants reports whether the state is wanted whatever the timeline holds.
func (s RequiredState) wants(t event.Tuple) bool {
	return slices.ContainsFunc(s.rules, func(r *messages.SlidingRule) bool {
		named := r.LazyMembers && t.Type == "m.room.member"
		return matches(r.Include, t, named) && !matches(r.Exclude, t, false)
	})
}

// matches reports whether an element matches; named leaves out those that match every state key.
func matches(es []*messages.SlidingElement, t event.Tuple, named bool) bool {
	return slices.ContainsFunc(es, func(e *messages.SlidingElement) bool {
		return (e.Type == nil || *e.Type == t.Type) && (e.StateKey == nil && !named || e.StateKey != nil && *e.StateKey == t.StateKey)
	})
}

// extent says where to look for what is wanted: at these places, at all of these types, or everywhere.
func (s RequiredState) extent() (places map[event.Tuple]bool, types map[string]bool, all bool) {
	places, types = map[event.Tuple]bool{}, map[string]bool{}
	for _, r := range s.rules {
		for _, e := range r.Include {
			switch {
			case e.Type == nil:
				return nil, nil, true
			case e.StateKey == nil && r.LazyMembers && *e.Type == "m.room.member":
			case e.StateKey == nil:
				types[*e.Type] = true
			default:
				places[event.Tuple{Type: *e.Type, StateKey: *e.StateKey}] = true
			}
		}
	}
	return places, types, false
}

// stored gives the rules as they are kept.
func (s RequiredState) stored() *messages.SlidingConfig {
	return &messages.SlidingConfig{Rules: s.rules}
}

// restore is the inverse of stored.
func restore(c *messages.SlidingConfig) RequiredState { return require(c.GetRules()) }

// Size is how many bytes the required state takes in memory, for bounds.
func (s RequiredState) Size() int { return proto.Size(s.stored()) }
