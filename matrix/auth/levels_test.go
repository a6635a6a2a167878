package auth_test

import (
	"math"
	"testing"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

func powerOf(t *testing.T, r *room, content string) *auth.PowerLevels {
	t.Helper()
	var powerLevels *event.Event
	if content != "" {
		powerLevels = r.send(admin, "m.room.power_levels", "", content)
	}
	power, err := auth.Levels(r.v, r.state[createTuple], powerLevels)
	if err != nil {
		t.Fatal(err)
	}
	return power
}

func TestLevelDefaults(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		r := newRoom(t, v)
		for _, content := range []string{"", `{}`} {
			power := powerOf(t, r, content)
			for name, test := range map[string]struct {
				got  auth.Level
				want int64
			}{
				"invite": {power.Invite(), 0}, "kick": {power.Kick(), 50}, "ban": {power.Ban(), 50}, "redact": {power.Redact(), 50},
				"state": {power.Event("x", true), 50}, "events": {power.Event("x", false), 0},
				"notifications": {power.Notification("room"), 50}, "users": {power.User(stranger), 0},
			} {
				if test.got != auth.Of(test.want) {
					t.Errorf("room version %s with %q: %s is %s, want %d", v.ID, content, name, test.got, test.want)
				}
			}
			want := auth.Of(0)
			switch {
			case v.PrivilegedCreators:
				want = auth.Infinite
			case content == "":
				want = auth.Of(100)
			}
			if got := power.User(creator); got != want {
				t.Errorf("room version %s with %q: the creator has %s, want %s", v.ID, content, got, want)
			}
		}
	}
}

func TestLevelsFromEvent(t *testing.T) {
	t.Parallel()
	r := newRoom(t, versionsOf(t, "11")[0])
	power := powerOf(t, r, `{"ban":1,"events":{"a.b":2,"*":3},"events_default":4,"invite":5,"kick":6,"notifications":{"room":7},"redact":8,"state_default":9,"users":{"@a.b:c":10},"users_default":11}`)
	for i, got := range []auth.Level{
		power.Ban(), power.Event("a.b", false), power.Event("*", true), power.Event("x", false), power.Invite(), power.Kick(),
		power.Notification("room"), power.Redact(), power.Event("x", true), power.User("@a.b:c"), power.User("@a:c"),
	} {
		if got != auth.Of(int64(i+1)) {
			t.Errorf("level %d is %s", i+1, got)
		}
	}
}

// HARD_PLACES.md 12: power levels in all the ways in which old rooms write them.
func TestLevelFormats(t *testing.T) {
	t.Parallel()
	const absent = -1000
	for _, test := range []struct {
		json                   string
		before6, before10, now int64
	}{
		{`5`, 5, 5, 5},
		{`-5`, -5, -5, -5},
		{`"5"`, 5, 5, absent},
		{`" +0005\t"`, 5, 5, absent},
		{`"-5"`, -5, -5, absent},
		{`"+-5"`, absent, absent, absent},
		{`"5.0"`, absent, absent, absent},
		{`"1_0"`, absent, absent, absent},
		{`"0x5"`, absent, absent, absent},
		{`""`, absent, absent, absent},
		{`"99999999999999999999"`, math.MaxInt64, math.MaxInt64, absent},
		{`50.57`, 50, 50, absent},
		{`-50.57`, -50, -50, absent},
		{`5.114698E4`, 51146, 51146, absent},
		{`1e30`, math.MaxInt64, math.MaxInt64, absent},
		{`-1e30`, math.MinInt64, math.MinInt64, absent},
		{`99999999999999999999`, math.MaxInt64, math.MaxInt64, absent},
		{`1e400`, absent, absent, absent},
		{`true`, absent, absent, absent},
		{`null`, absent, absent, absent},
		{`[5]`, absent, absent, absent},
		{`{"a":5}`, absent, absent, absent},
	} {
		for _, v := range roomversion.All() {
			r := newRoom(t, v)
			want := test.before6
			switch {
			case v.IntegerPowerLevels:
				want = test.now
			case v.StrictCanonicalJSON:
				want = test.before10
			}
			power := powerOf(t, r, `{"users":{"@x:y":`+test.json+`},"users_default":-1000}`)
			if got := power.User("@x:y"); got != auth.Of(want) {
				t.Errorf("room version %s reads %s as %s, want %d", v.ID, test.json, got, want)
			}
		}
	}
}

// HARD_PLACES.md 14: creators against anybody.
func TestCreatorsHaveInfinitePower(t *testing.T) {
	t.Parallel()
	r := newRoom(t, versionsOf(t, "12")[0])
	r.set(creator, "m.room.create", "", `{"additional_creators":["@second:b"]}`)
	power := powerOf(t, r, `{"ban":9007199254740991,"users":{"@admin:a":9007199254740991,"@second:b":5}}`)
	for _, userID := range []string{creator, "@second:b"} {
		level := power.User(userID)
		if !level.IsInfinite() || level.Less(power.Ban()) || level.Less(level) || !power.User(admin).Less(level) || level.String() != "infinite" {
			t.Errorf("%s has %s", userID, level)
		}
	}
	if auth.Infinite.Less(auth.Of(math.MaxInt64)) || !auth.Of(math.MaxInt64).Less(auth.Infinite) {
		t.Error("infinite power is not above all numbers")
	}
}

func TestLevelsOfOtherEvents(t *testing.T) {
	t.Parallel()
	r := newRoom(t, versionsOf(t, "12")[0])
	topic := r.send(admin, "m.room.topic", "", `{}`)
	if _, err := auth.Levels(r.v, r.state[createTuple], topic); err == nil {
		t.Error("a topic was read as power levels")
	}
	if _, err := auth.Levels(r.v, topic, nil); err == nil {
		t.Error("a topic was read as a create event")
	}
}
