package pushrules

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// maxPattern and maxKey bound patterns and keys, in bytes.
const (
	maxPattern = 1024
	maxKey     = 1024
)

var errPattern = mxerr.InvalidParam("a pattern may have %d bytes", maxPattern)

// threadSubscription is the kind of the condition that MSC4306 adds.
const threadSubscription = "io.element.msc4306.thread_subscription"

// condition is a condition with its parameters checked. An empty kind is one that this server does not know.
type condition struct {
	kind    string
	key     string
	pattern string
	value   scalar
	count   comparison

	subscribed bool
}

// parseCondition reads a condition of a rule. Kinds that the server does not know are no error: they never match.
// Known ones whose parameters are missing or wrong are 400 M_INVALID_PARAM.
func parseCondition(raw jsontext.Value) (condition, error) {
	var in struct {
		Kind    *string        `json:"kind"`
		Key     *string        `json:"key"`
		Pattern *string        `json:"pattern"`
		Value   jsontext.Value `json:"value"`
		Is      *string        `json:"is"`

		Subscribed *bool `json:"subscribed"`
	}
	if err := json.Unmarshal(raw, &in); err != nil || in.Kind == nil {
		return condition{}, mxerr.InvalidParam("a condition must be an object with a kind and parameters of the right types")
	}
	c := condition{kind: *in.Kind}
	switch c.kind {
	case "event_match", "event_property_is", "event_property_contains", "sender_notification_permission":
		if in.Key == nil || len(*in.Key) > maxKey {
			return condition{}, mxerr.InvalidParam("a condition %s needs a key of at most %d bytes", c.kind, maxKey)
		}
		c.key = *in.Key
	case "room_member_count", "contains_display_name", threadSubscription:
	default:
		return condition{}, nil
	}
	var err error
	switch c.kind {
	case "event_match":
		if in.Pattern == nil {
			return condition{}, mxerr.InvalidParam("a condition event_match needs a pattern")
		}
		if c.pattern = *in.Pattern; len(c.pattern) > maxPattern {
			return condition{}, errPattern
		}
	case "event_property_is", "event_property_contains":
		c.value, err = parseScalar(in.Value)
	case threadSubscription:
		if in.Subscribed == nil {
			return condition{}, mxerr.InvalidParam("a condition %s needs subscribed", threadSubscription)
		}
		c.subscribed = *in.Subscribed
	case "room_member_count":
		if in.Is == nil {
			return condition{}, mxerr.InvalidParam("a condition room_member_count needs is")
		}
		c.count, err = parseComparison(*in.Is)
	}
	return c, err
}

// comparison compares the number of members of a room.
type comparison struct {
	operator string
	number   int64
}

// parseComparison reads a decimal integer with an optional operator before it.
func parseComparison(is string) (comparison, error) {
	c := comparison{operator: "=="}
	digits := is
	for _, op := range []string{"==", "<=", ">=", "<", ">"} {
		if rest, ok := strings.CutPrefix(is, op); ok {
			c.operator, digits = op, rest
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return c, mxerr.InvalidParam("%q is no comparison with a number of members", is)
	}
	c.number = int64(n)
	return c, nil
}

func (c comparison) holds(members int64) bool {
	switch c.operator {
	case "<":
		return members < c.number
	case ">":
		return members > c.number
	case "<=":
		return members <= c.number
	case ">=":
		return members >= c.number
	}
	return members == c.number
}

// scalar is a JSON value that is no array or object; numbers are integers.
type scalar struct {
	kind   jsontext.Kind // '"', '0', 't', 'f' or 'n'; 0 for anything else
	text   string
	number int64
}

// maxInteger is the largest integer of canonical JSON.
const maxInteger = 1<<53 - 1

func parseScalar(raw jsontext.Value) (scalar, error) {
	s := scalar{kind: raw.Kind()}
	switch s.kind {
	case '"':
		s.text = unquoted(raw)
		return s, nil
	case 't', 'f', 'n':
		return s, nil
	case '0':
		n, ok := parseInteger(raw)
		if ok {
			s.number = n
			return s, nil
		}
	}
	return scalar{}, mxerr.InvalidParam("the value of a condition must be a string, an integer, a boolean or null")
}

// parseInteger reads an integer in the range of canonical JSON.
func parseInteger(raw []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil && -maxInteger <= n && n <= maxInteger
}

// equals reports whether the JSON value is exactly this one, type included.
func (s *scalar) equals(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	switch s.kind {
	case '"':
		return raw[0] == '"' && textEquals(raw, s.text)
	case '0':
		n, ok := parseInteger(raw)
		return ok && n == s.number
	case 't':
		return string(raw) == "true"
	case 'f':
		return string(raw) == "false"
	case 'n':
		return string(raw) == "null"
	}
	return false
}
