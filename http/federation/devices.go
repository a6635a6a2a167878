package federation

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one request about keys.
const (
	keysBody  = 4 << 20 // bytes
	keysUsers = 5000
)

// Devices are the endpoints of users' devices and their keys (server-server API, "Device Management" and "End-to-End Encryption").
func Devices(d Deps) []api.Endpoint {
	e := devices{d}
	return []api.Endpoint{
		{Methods: get, Path: v1 + "/user/devices/{userId}", Auth: api.Signed, Limit: api.LimitFederation, Handler: e.list},
		{Methods: post, Path: v1 + "/user/keys/query", Auth: api.Signed, Limit: api.LimitFederation, MaxBody: keysBody, Handler: e.query},
		{Methods: post, Path: v1 + "/user/keys/claim", Auth: api.Signed, Limit: api.LimitFederation, MaxBody: keysBody, Handler: e.claim},
	}
}

type devices struct{ Deps }

// device is one in the list.
type device struct {
	DeviceID    string         `json:"device_id"`
	Keys        jsontext.Value `json:"keys"`
	DisplayName string         `json:"device_display_name,omitempty"`
}

// list gives all devices that have keys. Its stream_id is that of the newest m.device_list_update: the position of the change.
func (e devices) list(r *api.Request) (any, error) {
	userID := r.Vars["userId"]
	if err := e.local(userID); err != nil {
		return nil, err
	}
	// The position is read first: a change that comes between the two is then told again.
	change, _, err := schema.DeviceListChanges.Get(r.Ctx, e.Store, schema.DeviceListChange{UserID: userID})
	if err != nil {
		return nil, err
	}
	found := keys.NewAnswer()
	if err := found.Query(r.Ctx, e.Store, "", userID, nil); err != nil {
		return nil, err
	}
	list := []device{}
	for _, deviceID := range slices.Sorted(maps.Keys(found.DeviceKeys[userID])) {
		raw := found.DeviceKeys[userID][deviceID]
		list = append(list, device{deviceID, raw, gjson.GetBytes(raw, "unsigned.device_display_name").Str})
	}
	answer := map[string]any{"user_id": userID, "stream_id": change.Pos, "devices": list}
	if key := found.MasterKeys[userID]; key != nil {
		answer["master_key"] = key
	}
	if key := found.SelfSigningKeys[userID]; key != nil {
		answer["self_signing_key"] = key
	}
	return answer, nil
}

// query gives the keys of devices: of those listed, or of all when none is.
func (e devices) query(r *api.Request) (any, error) {
	var body struct {
		DeviceKeys map[string][]string `json:"device_keys"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.DeviceKeys == nil {
		return nil, mxerr.BadJSON("device_keys is required: which devices of which users")
	}
	if len(body.DeviceKeys) > keysUsers {
		return nil, mxerr.TooLarge("at most %d users can be asked for at once", keysUsers)
	}
	found := keys.NewAnswer()
	for userID, wanted := range body.DeviceKeys {
		if err := e.local(userID); err != nil {
			return nil, err
		}
		if err := found.Query(r.Ctx, e.Store, "", userID, wanted); err != nil {
			return nil, err
		}
	}
	return map[string]any{"device_keys": found.DeviceKeys, "master_keys": found.MasterKeys, "self_signing_keys": found.SelfSigningKeys}, nil
}

// claim takes one-time keys, each of which is given once.
func (e devices) claim(r *api.Request) (any, error) {
	var body struct {
		OneTimeKeys map[string]map[string]string `json:"one_time_keys"`
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.OneTimeKeys == nil {
		return nil, mxerr.BadJSON("one_time_keys is required: which algorithm of which devices of which users")
	}
	if len(body.OneTimeKeys) > keysUsers {
		return nil, mxerr.TooLarge("keys of at most %d users can be claimed at once", keysUsers)
	}
	for userID := range body.OneTimeKeys {
		if err := e.local(userID); err != nil {
			return nil, err
		}
	}
	found, err := client.ClaimKeys(r.Ctx, e.Client, body.OneTimeKeys)
	if err != nil {
		return nil, err
	}
	return map[string]any{"one_time_keys": found}, nil
}
