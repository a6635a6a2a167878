package event

import (
	"errors"
	"math"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// required are the members that every PDU has, and their types.
var required = []struct {
	name string
	typ  gjson.Type
}{
	{"type", gjson.String}, {"sender", gjson.String}, {"origin_server_ts", gjson.Number}, {"depth", gjson.Number},
	{"content", gjson.JSON}, {"prev_events", gjson.JSON}, {"auth_events", gjson.JSON}, {"hashes", gjson.JSON}, {"signatures", gjson.JSON},
}

// checkFormat checks the members of a PDU for presence, type and length (rooms, "Event format").
func checkFormat(fs fields, v *roomversion.Version) error {
	for _, member := range required {
		if err := checkRequired(fs, member.name, member.typ); err != nil {
			return err
		}
	}
	if v.EventIDFormat == roomversion.EventIDField {
		if err := checkRequired(fs, "event_id", gjson.String); err != nil {
			return err
		}
	}
	if create := v.RoomIDFromCreate && fs.text("type") == "m.room.create"; !create {
		if err := checkRequired(fs, "room_id", gjson.String); err != nil {
			return err
		}
	}
	if raw, ok := fs.get("state_key"); ok {
		if err := checkField("state_key", read(raw), gjson.String); err != nil {
			return err
		}
	}
	if raw, ok := fs.get("redacts"); ok && !v.RedactsInContent {
		if err := checkField("redacts", read(raw), gjson.String); err != nil {
			return err
		}
	}
	if err := checkDepth(fs, v); err != nil {
		return err
	}
	if err := checkCited(fs, "prev_events", v, MaxPrevEvents); err != nil {
		return err
	}
	return checkCited(fs, "auth_events", v, MaxAuthEvents)
}

func checkField(name string, value gjson.Result, typ gjson.Type) error {
	list := name == "prev_events" || name == "auth_events"
	switch {
	case value.Type != typ, typ == gjson.JSON && value.IsArray() != list:
		return mxerr.BadJSON("the event's %s has the wrong type", name)
	case typ == gjson.String && len(value.Str) > MaxKey:
		return mxerr.TooLarge("the event's %s has %d bytes; at most %d are allowed", name, len(value.Str), MaxKey)
	}
	return nil
}

func checkRequired(fs fields, name string, typ gjson.Type) error {
	raw, ok := fs.get(name)
	if !ok {
		return mxerr.BadJSON("the event lacks %s", name)
	}
	return checkField(name, read(raw), typ)
}

// MaxDepth is the largest depth of events in rooms of this version, where depth stays once it is reached.
func MaxDepth(v *roomversion.Version) int64 {
	if v.StrictCanonicalJSON {
		return canonicaljson.MaxInteger
	}
	return math.MaxInt64
}

func checkDepth(fs fields, v *roomversion.Version) error {
	raw, _ := fs.get("depth")
	if n, err := strconv.ParseInt(string(raw), 10, 64); err != nil || n < 0 || n > MaxDepth(v) {
		return mxerr.BadJSON("the event's depth must be an integer from 0 to %d", MaxDepth(v))
	}
	return nil
}

// integerOf reads a number. Rooms up to version 5 may hold any: a fraction is cut off, and what is too large is the largest there is.
func integerOf(value gjson.Result) int64 {
	if value.Type != gjson.Number {
		return 0
	}
	n, err := strconv.ParseInt(value.Raw, 10, 64)
	switch {
	case err == nil || errors.Is(err, strconv.ErrRange):
		return n
	case value.Num >= math.MaxInt64:
		return math.MaxInt64
	case value.Num <= math.MinInt64:
		return math.MinInt64
	}
	return int64(value.Num)
}

func checkCited(fs fields, name string, v *roomversion.Version, most int) error {
	raw, _ := fs.get(name)
	n, bad := 0, false
	read(raw).ForEach(func(_, entry gjson.Result) bool {
		n++
		if v.EventIDFormat == roomversion.EventIDField {
			if !entry.IsArray() {
				bad = true
				return false
			}
			entry = entry.Get("0")
		}
		bad = bad || entry.Type != gjson.String || len(entry.Str) > MaxKey
		return !bad && n <= most
	})
	if bad {
		return mxerr.BadJSON("the event's %s do not hold event ids", name)
	}
	if n > most {
		return mxerr.BadJSON("the event has more than %d %s", most, name)
	}
	return nil
}
