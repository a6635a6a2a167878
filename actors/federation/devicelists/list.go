package devicelists

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
)

// list is a device list, as GET /user/devices gives it.
type list struct {
	UserID      string         `json:"user_id"`
	StreamID    int64          `json:"stream_id"`
	Devices     []device       `json:"devices"`
	Master      jsontext.Value `json:"master_key,omitempty"`
	SelfSigning jsontext.Value `json:"self_signing_key,omitempty"`
}

type device struct {
	DeviceID    string         `json:"device_id"`
	Keys        jsontext.Value `json:"keys,omitempty"`
	DisplayName string         `json:"device_display_name,omitempty"`
}

// The bounds of a list.
const (
	mostDevices    = 5000
	longestName    = 255 // bytes, of a device's id and of its name
	longestKey     = 64 << 10
	longestAnswer  = 8 << 20
	longestRefusal = 500
)

// parseList reads what a server says of its user. What is not the user's, or has no keys, is left out.
func parseList(userID string, raw []byte) (list, error) {
	var l list
	if err := json.Unmarshal(raw, &l); err != nil {
		return l, err
	}
	if l.UserID != userID {
		return l, fmt.Errorf("it is the list of %.255q", l.UserID)
	}
	if len(l.Devices) > mostDevices {
		return l, fmt.Errorf("there are more than %d devices", mostDevices)
	}
	l.Devices = slices.DeleteFunc(l.Devices, func(d device) bool { return !ofDevice(d.Keys, userID, d.DeviceID) })
	l.Master, l.SelfSigning = ofUser(l.Master, userID), ofUser(l.SelfSigning, userID)
	return l, nil
}

// ofDevice reports whether these are keys of the device.
func ofDevice(keys jsontext.Value, userID, deviceID string) bool {
	return keys.Kind() == '{' && len(keys) <= longestKey && deviceID != "" && len(deviceID) <= longestName &&
		gjson.GetBytes(keys, "user_id").Str == userID && gjson.GetBytes(keys, "device_id").Str == deviceID && gjson.GetBytes(keys, "keys").IsObject()
}

// ofUser gives a cross-signing key if it is the user's, else none.
func ofUser(key jsontext.Value, userID string) jsontext.Value {
	if key.Kind() != '{' || len(key) > longestKey || gjson.GetBytes(key, "user_id").Str != userID || !gjson.GetBytes(key, "keys").IsObject() {
		return nil
	}
	return key
}

// apply makes the change of one device.
func (l *list) apply(u Update) {
	l.StreamID = u.StreamID
	l.Devices = slices.DeleteFunc(l.Devices, func(d device) bool { return d.DeviceID == u.DeviceID })
	if !u.Deleted && ofDevice(u.Keys, u.UserID, u.DeviceID) {
		name := ""
		if len(u.DisplayName) <= longestName {
			name = u.DisplayName
		}
		l.Devices = append(l.Devices, device{u.DeviceID, u.Keys, name})
	}
}

// named gives the keys as clients see them: with the device's name.
func (d device) named() (jsontext.Value, error) {
	var object map[string]jsontext.Value
	if err := json.Unmarshal(d.Keys, &object); err != nil {
		return nil, err
	}
	delete(object, "unsigned")
	if d.DisplayName != "" {
		unsigned, err := json.Marshal(map[string]string{"device_display_name": d.DisplayName})
		if err != nil {
			return nil, err
		}
		object["unsigned"] = unsigned
	}
	return json.Marshal(object, json.Deterministic(true))
}
