package pushrules

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// CopyRoom gives a room the user's rules about another room which it replaces: the one of kind room, and those that are named after the
// other room and apply to it alone, as clients make them to mute a room. It reports whether there was anything to copy that the
// room does not have yet.
func (s *Ruleset) CopyRoom(from, to string) bool {
	copied := false
	for _, kind := range []string{Override, Room, Underride} {
		rules := s.kind(kind)
		at := indexOf(*rules, from)
		if at < 0 || indexOf(*rules, to) >= 0 || len(*rules) >= maxRules {
			continue
		}
		r := (*rules)[at]
		r.RuleID = to
		if conditional(kind) {
			conditions, ok := aboutRoom(r.Conditions, from, to)
			if !ok {
				continue
			}
			r.Conditions = conditions
		}
		if s.size()+r.size() > maxBytes {
			continue
		}
		*rules = slices.Insert(*rules, at, r)
		copied = true
	}
	return copied
}

// aboutRoom makes conditions that name one room name another; ok is false if they do not.
func aboutRoom(conditions []jsontext.Value, from, to string) (changed []jsontext.Value, ok bool) {
	changed = slices.Clone(conditions)
	for i, raw := range conditions {
		var c struct {
			Kind    string `json:"kind"`
			Key     string `json:"key"`
			Pattern string `json:"pattern"`
		}
		if json.Unmarshal(raw, &c) == nil && c.Kind == "event_match" && c.Key == "room_id" && c.Pattern == from {
			changed[i], ok = match("room_id", to), true
		}
	}
	return changed, ok
}
