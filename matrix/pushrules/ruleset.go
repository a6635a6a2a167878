// Package pushrules decides which events notify a user, and how (client-server API, "Push Rules").
//
// A Ruleset is what the user has: the server's default rules and the user's own, in the order in which they are tried. It is
// read from and written to the content of the account data m.push_rules, and changed by PutRule, DeleteRule, SetEnabled and
// SetActions. Compile turns it into an Evaluator, which judges events.
package pushrules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The kinds of rules, in the order in which they are tried.
const (
	Override = "override"
	Content  = "content"
	// PostContent has rules of the server's only, and only for those who follow threads (MSC4306).
	PostContent = "postcontent"
	Room        = "room"
	Sender      = "sender"
	Underride   = "underride"
)

var kinds = []string{Override, Content, PostContent, Room, Sender, Underride}

// Rule is one push rule as the API shows it (definitions/push_rule.yaml).
type Rule struct {
	RuleID  string `json:"rule_id"`
	Default bool   `json:"default"`
	Enabled bool   `json:"enabled"`
	// Actions are never nil: a rule without actions is written with an empty array.
	Actions []jsontext.Value `json:"actions"`
	// Conditions are there, though perhaps empty, in override and underride rules, and nil in others. They are kept as they were
	// written, also those of unknown kinds.
	Conditions []jsontext.Value `json:"conditions,omitzero"`
	// Pattern belongs to content rules.
	Pattern *string `json:"pattern,omitzero"`
}

// Ruleset is the global ruleset of a user (definitions/push_ruleset.yaml): each kind's rules, most important first. Within a
// kind the user's own rules stand before the server's, except that .m.rule.master is the first of all.
// It is not safe for concurrent changes.
type Ruleset struct {
	Override []Rule `json:"override"`
	Content  []Rule `json:"content"`
	// PostContent is nil for users who have never followed a thread.
	PostContent []Rule `json:"postcontent,omitzero"`
	Room        []Rule `json:"room"`
	Sender      []Rule `json:"sender"`
	Underride   []Rule `json:"underride"`

	userID string
}

// document is the content of m.push_rules and the answer of GET /pushrules/.
type document struct {
	Global *Ruleset `json:"global"`
}

// Stored reads the content of a user's account data m.push_rules and merges it with the default rules: the user's own rules
// stay as they are and in their order; of stored default rules only the switch and the actions count; default rules that are
// not stored are added, and stored ones that the server no longer has are left out. Nil content stands for a user who never
// changed a rule. Content of another shape is 400 M_BAD_JSON.
func Stored(userID string, content []byte) (*Ruleset, error) {
	rules := Default(userID)
	if content == nil {
		return rules, nil
	}
	var stored document
	if err := json.Unmarshal(content, &stored); err != nil {
		return nil, mxerr.BadJSON("push rules: %v", err)
	}
	if stored.Global == nil {
		return rules, nil
	}
	if stored.Global.PostContent != nil {
		rules.FollowThreads()
	}
	for _, kind := range kinds {
		merge(rules.kind(kind), *stored.Global.kind(kind), kind)
	}
	return rules, nil
}

// merge brings stored rules of one kind into the default ones.
func merge(rules *[]Rule, stored []Rule, kind string) {
	seen := make(map[string]bool, len(stored))
	own := make([]Rule, 0, len(stored))
	for _, r := range stored {
		if seen[r.RuleID] {
			continue
		}
		seen[r.RuleID] = true
		if !reserved(r.RuleID) {
			own = append(own, ownRule(r, kind))
			continue
		}
		if i := indexOf(*rules, r.RuleID); i >= 0 {
			(*rules)[i].Enabled, (*rules)[i].Actions = r.Enabled, currentActions(r.Actions)
		}
	}
	*rules = slices.Insert(*rules, firstOwn(*rules), own...)
}

// ownRule gives a user's rule the fields that belong to its kind, and no others.
func ownRule(r Rule, kind string) Rule {
	r.Default = false
	if r.Actions == nil {
		r.Actions = []jsontext.Value{}
	}
	switch {
	case !conditional(kind):
		r.Conditions = nil
	case r.Conditions == nil:
		r.Conditions = []jsontext.Value{}
	}
	if kind != Content {
		r.Pattern = nil
	} else if r.Pattern == nil {
		r.Pattern = new("")
	}
	return r
}

// JSON gives {"global":…}: the content of m.push_rules, and the answer of GET /pushrules/.
func (s *Ruleset) JSON() ([]byte, error) {
	b, err := json.Marshal(document{Global: s})
	if err != nil {
		return nil, fmt.Errorf("pushrules: %w", err)
	}
	return b, nil
}

// Rule finds a rule; 404 M_NOT_FOUND when there is none, 400 M_INVALID_PARAM when the kind is unknown.
func (s *Ruleset) Rule(kind, ruleID string) (Rule, error) {
	rules, i, err := s.find(kind, ruleID)
	if err != nil {
		return Rule{}, err
	}
	return (*rules)[i], nil
}

func (s *Ruleset) find(kind, ruleID string) (rules *[]Rule, i int, err error) {
	if rules = s.kind(kind); rules == nil {
		return nil, 0, errKind(kind)
	}
	if i = indexOf(*rules, ruleID); i < 0 {
		return nil, 0, mxerr.NotFound("there is no %s rule %q", kind, ruleID)
	}
	return rules, i, nil
}

// kind gives the rules of a kind, nil when it is unknown.
func (s *Ruleset) kind(kind string) *[]Rule {
	switch kind {
	case Override:
		return &s.Override
	case Content:
		return &s.Content
	case PostContent:
		return &s.PostContent
	case Room:
		return &s.Room
	case Sender:
		return &s.Sender
	case Underride:
		return &s.Underride
	}
	return nil
}

func errKind(kind string) error { return mxerr.InvalidParam("%q is not a kind of push rules", kind) }

// conditional reports whether rules of the kind have conditions.
func conditional(kind string) bool {
	return kind == Override || kind == PostContent || kind == Underride
}

// reserved reports whether the id is of a server-default rule.
func reserved(ruleID string) bool { return strings.HasPrefix(ruleID, ".") }

func indexOf(rules []Rule, ruleID string) int {
	return slices.IndexFunc(rules, func(r Rule) bool { return r.RuleID == ruleID })
}

// firstOwn is where the user's most important rule of a kind belongs.
func firstOwn(rules []Rule) int {
	if len(rules) > 0 && rules[0].RuleID == masterRule {
		return 1
	}
	return 0
}
