package pushrules

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The bounds on what a user may store.
const (
	maxRules      = 1000    // of one kind, the default ones included
	maxBytes      = 1 << 17 // of all rules together
	maxRuleID     = 512     // bytes
	maxActions    = 32      // of one rule
	maxConditions = 32      // of one rule
)

// PutRule makes a rule of the user's, enabled, or replaces the conditions, pattern and actions of the one with this id
// (PUT /pushrules/global/{kind}/{ruleId}); body is the request's JSON object. With before, the rule becomes the next more important than that rule,
// else with after the next less important than that; both name rules of the user's, and empty means not given. A new rule without
// either becomes the most important of the user's.
//
// Errors: 400 M_INVALID_PARAM or M_MISSING_PARAM for what the body or the id should not be, 400 M_UNKNOWN when before or after
// names no rule of the user's, 413 M_TOO_LARGE when the user has too many rules or they take
// too much room.
func (s *Ruleset) PutRule(kind, ruleID string, body []byte, before, after string) error {
	rules := s.kind(kind)
	if rules == nil || kind == PostContent {
		return errKind(kind)
	}
	if err := checkRuleID(ruleID); err != nil {
		return err
	}
	r, err := parseRule(kind, body)
	if err != nil {
		return err
	}
	r.RuleID, r.Enabled = ruleID, true
	at := indexOf(*rules, ruleID)
	if at >= 0 {
		r.Enabled = (*rules)[at].Enabled
	} else if len(*rules) >= maxRules {
		return mxerr.TooLarge("there are %d %s rules already", len(*rules), kind)
	}
	to, err := place(*rules, at, before, after)
	if err != nil {
		return err
	}
	rest := slices.Clone(*rules)
	if at >= 0 {
		rest = slices.Delete(rest, at, at+1)
		if at < to {
			to--
		}
	}
	rest = slices.Insert(rest, to, r)
	if (at < 0 || r.size() > (*rules)[at].size()) && s.size()+r.size() > maxBytes {
		return errSize
	}
	*rules = rest
	return nil
}

var errSize = mxerr.TooLarge("the push rules would take more than %d bytes", maxBytes)

// size is about how many bytes the rules take.
func (s *Ruleset) size() int {
	n := 0
	for _, kind := range kinds {
		for i := range *s.kind(kind) {
			n += (*s.kind(kind))[i].size()
		}
	}
	return n
}

func (r *Rule) size() int {
	n := len(r.RuleID)
	for _, raw := range r.Actions {
		n += len(raw)
	}
	for _, raw := range r.Conditions {
		n += len(raw)
	}
	if r.Pattern != nil {
		n += len(*r.Pattern)
	}
	return n
}

// place is the index before which the rule, which is now at the index at or new (-1), is to go.
func place(rules []Rule, at int, before, after string) (int, error) {
	relative, offset := before, 0
	if before == "" {
		relative, offset = after, 1
	}
	if relative == "" {
		if at >= 0 {
			return at, nil
		}
		return firstOwn(rules), nil
	}
	i := indexOf(rules, relative)
	if i < 0 || i == at || rules[i].Default {
		return 0, mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "before/after rule not found: %s", relative)
	}
	return i + offset, nil
}

// DeleteRule removes a rule of the user's: 404 M_NOT_FOUND if there is none, 400 M_INVALID_PARAM for a default rule.
func (s *Ruleset) DeleteRule(kind, ruleID string) error {
	rules, i, err := s.find(kind, ruleID)
	if err != nil {
		return err
	}
	if (*rules)[i].Default {
		return mxerr.InvalidParam("the rule %s is the server's; it can be disabled, not deleted", ruleID)
	}
	*rules = append(slices.Clone((*rules)[:i]), (*rules)[i+1:]...)
	return nil
}

// SetEnabled switches a rule on or off; 404 M_NOT_FOUND if there is none.
func (s *Ruleset) SetEnabled(kind, ruleID string, enabled bool) error {
	rules, i, err := s.find(kind, ruleID)
	if err == nil {
		(*rules)[i].Enabled = enabled
	}
	return err
}

// SetActions replaces the actions of a rule by a JSON array; 404 M_NOT_FOUND if there is no such rule, 400 M_INVALID_PARAM for
// what is no list of actions.
func (s *Ruleset) SetActions(kind, ruleID string, actions []byte) error {
	rules, i, err := s.find(kind, ruleID)
	if err != nil {
		return err
	}
	var list []jsontext.Value
	if err := json.Unmarshal(actions, &list); err != nil || list == nil {
		return mxerr.InvalidParam("actions must be an array")
	}
	if list, err = checkActions(list); err != nil {
		return err
	}
	changed := (*rules)[i]
	if changed.Default {
		list = currentActions(list)
	}
	changed.Actions = list
	if changed.size() > (*rules)[i].size() && s.size()+changed.size() > maxBytes {
		return errSize
	}
	(*rules)[i] = changed
	return nil
}

// parseRule reads and checks what PUT sets of a rule.
func parseRule(kind string, body []byte) (Rule, error) {
	var in struct {
		Actions    *[]jsontext.Value `json:"actions"`
		Conditions []jsontext.Value  `json:"conditions"`
		Pattern    *string           `json:"pattern"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Rule{}, mxerr.InvalidParam("this is no push rule: %v", err)
	}
	if in.Actions == nil || *in.Actions == nil {
		return Rule{}, mxerr.MissingParam("a push rule needs actions")
	}
	if kind == Content && in.Pattern == nil {
		return Rule{}, mxerr.MissingParam("a content rule needs a pattern")
	}
	list, err := checkActions(*in.Actions)
	if err != nil {
		return Rule{}, err
	}
	if conditional(kind) {
		if err := checkConditions(in.Conditions); err != nil {
			return Rule{}, err
		}
	}
	if in.Pattern != nil && len(*in.Pattern) > maxPattern {
		return Rule{}, errPattern
	}
	return ownRule(Rule{Actions: list, Conditions: in.Conditions, Pattern: in.Pattern}, kind), nil
}

func checkRuleID(ruleID string) error {
	switch {
	case ruleID == "":
		return mxerr.InvalidParam("a push rule needs an id")
	case len(ruleID) > maxRuleID:
		return mxerr.InvalidParam("the id of a push rule may have %d bytes", maxRuleID)
	case reserved(ruleID):
		return mxerr.InvalidParam("ids of push rules that start with a dot are the server's")
	case strings.ContainsAny(ruleID, `/\`):
		return mxerr.InvalidParam("the id of a push rule may not hold slashes or backslashes")
	}
	return nil
}

func checkConditions(conditions []jsontext.Value) error {
	if len(conditions) > maxConditions {
		return mxerr.InvalidParam("a push rule may have %d conditions", maxConditions)
	}
	for _, c := range conditions {
		if _, err := parseCondition(c); err != nil {
			return err
		}
	}
	return nil
}

// checkActions checks actions. Those of older versions mean nothing any more, but a user's own rules keep them for the client that knows them.
func checkActions(list []jsontext.Value) ([]jsontext.Value, error) {
	if len(list) > maxActions {
		return nil, mxerr.InvalidParam("a push rule may have %d actions", maxActions)
	}
	for _, a := range list {
		if _, err := parseAction(a); err != nil {
			return nil, err
		}
	}
	return list, nil
}
