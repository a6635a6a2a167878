package event

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// checkFormat checks the members of a PDU for presence, type and length (rooms, "Event format").
func checkFormat(fs fields, v *roomversion.Version) error {
	required := map[string]gjson.Type{"type": gjson.String, "sender": gjson.String, "origin_server_ts": gjson.Number,
		"depth": gjson.Number, "content": gjson.JSON, "prev_events": gjson.JSON, "auth_events": gjson.JSON,
		"hashes": gjson.JSON, "signatures": gjson.JSON}
	if v.EventIDFormat == roomversion.EventIDField {
		required["event_id"] = gjson.String
	}
	create := v.RoomIDFromCreate && fs.text("type") == "m.room.create"
	if !create {
		required["room_id"] = gjson.String
	}
	for name, typ := range required {
		raw, ok := fs.get(name)
		if !ok {
			return mxerr.BadJSON("the event lacks %s", name)
		}
		if err := checkField(name, gjson.ParseBytes(raw), typ); err != nil {
			return err
		}
	}
	if raw, ok := fs.get("state_key"); ok {
		if err := checkField("state_key", gjson.ParseBytes(raw), gjson.String); err != nil {
			return err
		}
	}
	if raw, ok := fs.get("redacts"); ok && !v.RedactsInContent {
		if err := checkField("redacts", gjson.ParseBytes(raw), gjson.String); err != nil {
			return err
		}
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
	case typ == gjson.String && name != "content" && len(value.Str) > MaxKey:
		return mxerr.TooLarge("the event's %s has %d bytes; at most %d are allowed", name, len(value.Str), MaxKey)
	case name == "depth" && (value.Int() < 0 || value.Int() > maxDepth):
		return mxerr.BadJSON("the event's depth must be from 0 to 2^53−1")
	}
	return nil
}

func checkCited(fs fields, name string, v *roomversion.Version, most int) error {
	raw, _ := fs.get(name)
	n, bad := 0, false
	gjson.ParseBytes(raw).ForEach(func(_, entry gjson.Result) bool {
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
