package auth

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Level is a power level. The creators' from room version 12 on is above all others.
type Level struct {
	value    int64
	infinite bool
}

// Of is the level n.
func Of(n int64) Level { return Level{value: n} }

// Infinite is the level of room creators from room version 12 on.
var Infinite = Level{value: math.MaxInt64, infinite: true}

// Less orders levels.
func (l Level) Less(other Level) bool {
	if l.infinite || other.infinite {
		return !l.infinite
	}
	return l.value < other.value
}

// Int is the level as a number; the infinite one is the largest there is.
func (l Level) Int() int64 { return l.value }

// IsInfinite reports whether this is the creators' level.
func (l Level) IsInfinite() bool { return l.infinite }

func (l Level) String() string {
	if l.infinite {
		return "infinite"
	}
	return strconv.FormatInt(l.value, 10)
}

// The levels that hold when m.room.power_levels does not say otherwise (client-server API, m.room.power_levels).
const (
	defaultState  = 50
	defaultEvents = 0
	defaultUsers  = 0
	defaultInvite = 0
	defaultAction = 50 // ban, kick, redact and notifying the room
	creatorLevel  = 100
)

// PowerLevels are who may do what in a state of the room.
type PowerLevels struct {
	version  *roomversion.Version
	creators []string // with infinite power, or with 100 while there is no power levels event
	content  gjson.Result
	exists   bool
}

// Levels reads the power levels from the create event and the power levels event, either of which may be nil. The error says
// that an event is not of the type that it is given as.
func Levels(v *roomversion.Version, create, powerLevels *event.Event) (*PowerLevels, error) {
	if create != nil && create.Type() != typeCreate || powerLevels != nil && powerLevels.Type() != typePowerLevels {
		return nil, errors.New("auth: power levels come from a create event and a power levels event")
	}
	p := &PowerLevels{version: v, creators: Creators(v, create)}
	if powerLevels != nil {
		p.content, p.exists = gjson.ParseBytes(powerLevels.Content()), true
	}
	return p, nil
}

// Creators are the room's creators (rooms/v12), the one who made the room first. Before room version 12 there is one, or none
// when the create event names none.
func Creators(v *roomversion.Version, create *event.Event) []string {
	if create == nil {
		return nil
	}
	if !v.CreatorIsSender {
		if creator := gjson.GetBytes(create.Content(), "creator"); creator.Type == gjson.String {
			return []string{creator.Str}
		}
		return nil
	}
	creators := []string{create.Sender()}
	if v.PrivilegedCreators {
		for _, userID := range elements(gjson.GetBytes(create.Content(), "additional_creators")) {
			creators = append(creators, userID.Str)
		}
	}
	return creators
}

// User is the level of a user.
func (p *PowerLevels) User(userID string) Level {
	creator := slices.Contains(p.creators, userID)
	if creator && p.version.PrivilegedCreators {
		return Infinite
	}
	if !p.exists {
		if creator {
			return Of(creatorLevel)
		}
		return Of(defaultUsers)
	}
	if n, ok := p.entry("users", userID); ok {
		return Of(n)
	}
	return Of(p.level("users_default", defaultUsers))
}

// Event is the level that sending an event of this type needs.
func (p *PowerLevels) Event(typ string, isState bool) Level {
	if n, ok := p.entry("events", typ); ok {
		return Of(n)
	}
	if isState {
		return Of(p.level("state_default", defaultState))
	}
	return Of(p.level("events_default", defaultEvents))
}

// Invite is the level that inviting needs.
func (p *PowerLevels) Invite() Level { return Of(p.level("invite", defaultInvite)) }

// Kick is the level that kicking needs.
func (p *PowerLevels) Kick() Level { return Of(p.level("kick", defaultAction)) }

// Ban is the level that banning needs.
func (p *PowerLevels) Ban() Level { return Of(p.level("ban", defaultAction)) }

// Redact is the level that redacting the events of others needs.
func (p *PowerLevels) Redact() Level { return Of(p.level("redact", defaultAction)) }

// Notification is the level that a notification of this kind needs, for example "room".
func (p *PowerLevels) Notification(kind string) Level {
	if n, ok := p.entry("notifications", kind); ok {
		return Of(n)
	}
	return Of(defaultAction)
}

func (p *PowerLevels) level(name string, otherwise int64) int64 {
	if !p.exists {
		return otherwise
	}
	if n, ok := parseLevel(member(p.content, name), p.version); ok {
		return n
	}
	return otherwise
}

func (p *PowerLevels) entry(object, key string) (int64, bool) {
	if !p.exists {
		return 0, false
	}
	return parseLevel(member(member(p.content, object), key), p.version)
}

// member finds a member by its exact name; gjson's paths would give dots and wildcards a meaning.
func member(object gjson.Result, name string) gjson.Result {
	var found gjson.Result
	if object.IsObject() {
		object.ForEach(func(key, value gjson.Result) bool {
			if key.Str == name {
				found = value
				return false
			}
			return true
		})
	}
	return found
}

// members gives the members of an object to f; other values have none.
func members(object gjson.Result, f func(name string, value gjson.Result)) {
	if object.IsObject() {
		object.ForEach(func(name, value gjson.Result) bool {
			f(name.Str, value)
			return true
		})
	}
}

// elements are the elements of an array; other values have none.
func elements(list gjson.Result) []gjson.Result {
	if !list.IsArray() {
		return nil
	}
	return list.Array()
}

// parseLevel reads a power level: an integer, and before room version 10 also a string or a float as the old
// implementation read them (rooms/v1, "m.room.power_levels events accept values as strings" and "as floats"). What that
// implementation took and an int64 cannot hold becomes the nearest that it can; a number beyond a double is none.
func parseLevel(value gjson.Result, v *roomversion.Version) (int64, bool) {
	switch {
	case value.Type == gjson.Number:
		if n, err := strconv.ParseInt(value.Raw, 10, 64); err == nil {
			return n, true
		}
		if v.IntegerPowerLevels {
			return 0, false
		}
		f, err := strconv.ParseFloat(value.Raw, 64)
		return truncated(f), err == nil
	case value.Type == gjson.String && !v.IntegerPowerLevels:
		return parseStringLevel(value.Str)
	}
	return 0, false
}

func truncated(f float64) int64 {
	switch {
	case f >= 1<<63:
		return math.MaxInt64
	case f <= -1<<63:
		return math.MinInt64
	}
	return int64(f)
}

func parseStringLevel(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "+"), "-")
	if digits == "" || len(s)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}
