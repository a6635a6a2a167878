package pushrules

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/glob"
)

// Input is an event and what must be known of its room to judge it.
type Input struct {
	// Event is the event as valid JSON, in the clients' or the servers' format.
	Event []byte
	// RoomID and Sender are the event's, and EventID its id, which the servers' format lacks.
	RoomID, EventID, Sender string
	// Members is the number of joined members of the room.
	Members int64
	// DisplayName gives the user's display name in the room, "" when there is none. It is only called when a rule asks for it.
	DisplayName func() string
	// MayNotify reports whether the sender's power level suffices for the key of the power levels' notifications. It is only
	// called when a rule asks for it.
	MayNotify func(key string) bool
	// Thread tells whether the event is in a thread, and whether the user is subscribed to it (MSC4306). It is only called when a
	// rule asks for it.
	Thread func() (in, subscribed bool)
}

// Result is what becomes of an event. The zero Result is that of an event that no rule matches.
type Result struct {
	Notify    bool
	Highlight bool             // counts only together with Notify
	Sound     string           // "" when there is none
	Actions   []jsontext.Value // of the rule that matched; not to be changed
}

// Evaluator judges events by the rules of one user. It is immutable, and safe for concurrent use.
type Evaluator struct {
	userID  string
	keys    branch
	slots   int
	roomID  int // the slots of properties that Input gives, -1 when no rule asks for them
	eventID int
	body    int // the slot of content.body, -1 when no rule asks for it

	override, content, postContent, underride []compiled
	room, sender                              map[string]*Result
	threads                                   bool
}

// compiled is an enabled rule of one of the kinds that are tried in order.
type compiled struct {
	tests  []test
	result Result
}

// test is a condition, ready to be applied.
type test struct {
	condition
	slot int
	glob *glob.Glob
}

// Compile prepares the rules for evaluation. Rules with conditions that the server does not know, or that are malformed, never
// match.
func Compile(s *Ruleset) *Evaluator {
	c := compiler{keys: keySet{root: branch{slot: -1}}, body: -1}
	e := &Evaluator{userID: s.userID, room: byID(s.Room), sender: byID(s.Sender)}
	e.override, e.underride = c.conditional(s.Override), c.conditional(s.Underride)
	e.content, e.postContent = c.patterns(s.Content), c.conditional(s.PostContent)
	e.threads = c.threads
	e.roomID, e.eventID, e.body = c.existing("room_id"), c.existing("event_id"), c.body
	e.keys, e.slots = c.keys.root, c.keys.slots
	return e
}

// compiler collects the keys of the rules while they are compiled.
type compiler struct {
	keys    keySet
	body    int
	threads bool // a rule asks for subscriptions to threads
}

// AsksForThreads reports whether the judgment of an event may depend on the threads to which the user is subscribed.
func (e *Evaluator) AsksForThreads() bool { return e.threads }

// bodyKey is the property in which patterns match words.
const bodyKey = "content.body"

func (c *compiler) slot(key string) int {
	slot := c.keys.slot(key)
	if key == bodyKey {
		c.body = slot
	}
	return slot
}

// existing is the slot of a top-level property, -1 when no rule asks for it.
func (c *compiler) existing(name string) int {
	for _, b := range c.keys.root.below {
		if b.name == name {
			return b.slot
		}
	}
	return -1
}

func (c *compiler) conditional(rules []Rule) []compiled {
	out := make([]compiled, 0, len(rules))
	for _, r := range rules {
		if !r.Enabled {
			continue
		}
		if tests, ok := c.tests(r.Conditions); ok {
			out = append(out, compiled{tests, effect(r.Actions)})
		}
	}
	return out
}

// tests compiles conditions; ok is false when one of them can never hold.
func (c *compiler) tests(conditions []jsontext.Value) (tests []test, ok bool) {
	for _, raw := range conditions {
		parsed, err := parseCondition(raw)
		if err != nil || parsed.kind == "" {
			return nil, false
		}
		tests = append(tests, c.test(parsed))
	}
	return tests, true
}

func (c *compiler) test(parsed condition) test {
	t := test{condition: parsed, slot: -1}
	switch parsed.kind {
	case "event_match":
		t.slot, t.glob = c.slot(parsed.key), glob.New(parsed.pattern)
	case "event_property_is", "event_property_contains":
		t.slot = c.slot(parsed.key)
	case "contains_display_name":
		t.slot = c.slot(bodyKey)
	case threadSubscription:
		c.threads = true
	}
	return t
}

func (c *compiler) patterns(rules []Rule) []compiled {
	out := make([]compiled, 0, len(rules))
	for _, r := range rules {
		if r.Enabled && r.Pattern != nil && len(*r.Pattern) <= maxPattern {
			t := c.test(condition{kind: "event_match", key: bodyKey, pattern: *r.Pattern})
			out = append(out, compiled{[]test{t}, effect(r.Actions)})
		}
	}
	return out
}

// byID finds the results of enabled room and sender rules by the room or user that is their id.
func byID(rules []Rule) map[string]*Result {
	m := make(map[string]*Result, len(rules))
	for _, r := range rules {
		if r.Enabled {
			result := effect(r.Actions)
			m[r.RuleID] = &result
		}
	}
	return m
}

// inlineSlots is how many values of properties an evaluation holds without allocating.
const inlineSlots = 16

// Evaluate gives the actions of the first rule that matches. The user's own events match none.
func (e *Evaluator) Evaluate(in *Input) Result {
	if in.Sender == e.userID {
		return Result{}
	}
	var inline [inlineSlots][]byte
	values := inline[:]
	if e.slots > inlineSlots {
		values = make([][]byte, e.slots)
	}
	e.keys.extract(values, in.Event)
	given(values, e.roomID, in.RoomID)
	given(values, e.eventID, in.EventID)
	if r := e.first(e.override, in, values); r != nil {
		return *r
	}
	if r := e.first(e.content, in, values); r != nil {
		return *r
	}
	if r := e.first(e.postContent, in, values); r != nil {
		return *r
	}
	if r := e.room[in.RoomID]; r != nil {
		return *r
	}
	if r := e.sender[in.Sender]; r != nil {
		return *r
	}
	if r := e.first(e.underride, in, values); r != nil {
		return *r
	}
	return Result{}
}

// given fills a slot that the event's JSON left empty.
func given(values [][]byte, slot int, text string) {
	if slot >= 0 && values[slot] == nil {
		values[slot] = []byte(quoted(text))
	}
}

func (e *Evaluator) first(rules []compiled, in *Input, values [][]byte) *Result {
	for i := range rules {
		if e.matches(rules[i].tests, in, values) {
			return &rules[i].result
		}
	}
	return nil
}

func (e *Evaluator) matches(tests []test, in *Input, values [][]byte) bool {
	for i := range tests {
		if !e.holds(&tests[i], in, values) {
			return false
		}
	}
	return true
}

func (e *Evaluator) holds(t *test, in *Input, values [][]byte) bool {
	switch t.kind {
	case "event_match":
		text, ok := textOf(values[t.slot])
		if t.slot == e.body {
			return ok && t.glob.Word(text)
		}
		return ok && t.glob.Whole(text)
	case "event_property_is":
		return t.value.equals(values[t.slot])
	case "event_property_contains":
		return contains(values[t.slot], &t.value)
	case "room_member_count":
		return t.count.holds(in.Members)
	case "sender_notification_permission":
		return in.MayNotify != nil && in.MayNotify(t.key)
	case "contains_display_name":
		return namesUser(values[t.slot], in.DisplayName)
	case threadSubscription:
		if in.Thread == nil {
			return false
		}
		inThread, subscribed := in.Thread()
		return inThread && subscribed == t.subscribed
	}
	return false
}

// namesUser reports whether the body contains the display name between word boundaries. Names that are longer than patterns may be
// are not looked for.
func namesUser(body []byte, displayName func() string) bool {
	text, ok := textOf(body)
	if !ok || displayName == nil {
		return false
	}
	name := displayName()
	return name != "" && len(name) <= maxPattern && glob.Literal(name).Word(text)
}
