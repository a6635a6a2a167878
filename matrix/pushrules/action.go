package pushrules

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// action is one action as the API has it: a name, or a tweak with an optional value.
type action struct {
	name  string
	tweak string
	value jsontext.Value // nil when there is none
}

// parseAction reads an action: "notify" or a tweak, and the historical ones; others are 400 M_INVALID_PARAM.
func parseAction(raw jsontext.Value) (action, error) {
	switch raw.Kind() {
	case '"':
		var name string
		if err := json.Unmarshal(raw, &name); err != nil {
			return action{}, mxerr.InvalidParam("invalid action: %v", err)
		}
		if name == "notify" || historical(name) {
			return action{name: name}, nil
		}
		return action{}, mxerr.InvalidParam("unknown action %q", name)
	case '{':
		var in struct {
			Tweak string         `json:"set_tweak"`
			Value jsontext.Value `json:"value"`
		}
		if err := json.Unmarshal(raw, &in); err != nil {
			return action{}, mxerr.InvalidParam("invalid action: %v", err)
		}
		if in.Tweak == "" {
			return action{}, mxerr.InvalidParam("an action that is an object must have set_tweak")
		}
		return action{tweak: in.Tweak, value: in.Value}, nil
	}
	return action{}, mxerr.InvalidParam("an action must be a string or an object")
}

// historical reports whether the action is of an older version of the specification and must be ignored.
func historical(name string) bool { return name == "dont_notify" || name == "coalesce" }

// currentActions leaves out the historical actions, which only users' own rules keep, for the client that put them there. It never gives nil.
func currentActions(list []jsontext.Value) []jsontext.Value {
	kept := make([]jsontext.Value, 0, len(list))
	for _, raw := range list {
		if a, err := parseAction(raw); err == nil && historical(a.name) {
			continue
		}
		kept = append(kept, raw)
	}
	return kept
}

// effect is what the actions of a rule amount to.
func effect(list []jsontext.Value) Result {
	result := Result{Actions: currentActions(list)}
	for _, raw := range list {
		a, err := parseAction(raw)
		switch {
		case err != nil:
		case a.name == "notify":
			result.Notify = true
		case a.tweak == "highlight":
			result.Highlight = a.value == nil || a.value.Kind() == 't'
		case a.tweak == "sound":
			result.Sound = ""
			if a.value.Kind() == '"' {
				result.Sound = unquoted(a.value)
			}
		}
	}
	return result
}
