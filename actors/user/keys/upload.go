package keys

import (
	"bytes"
	"context"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// oneTimeKeyBound is how many one-time keys of one algorithm a device may have waiting; clients keep about fifty.
const oneTimeKeyBound = 1000

// deviceKeys are the members of a device_keys object that the server looks at.
type deviceKeys struct {
	UserID     string                       `json:"user_id"`
	DeviceID   string                       `json:"device_id"`
	Algorithms []string                     `json:"algorithms"`
	Keys       map[string]string            `json:"keys"`
	Signatures map[string]map[string]string `json:"signatures"`
}

// uploadKeys is POST /keys/upload.
func uploadKeys(ctx context.Context, o *user.Op, req *messages.UploadKeys) (*messages.KeyCounts, error) {
	device, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: req.By.DeviceId})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.NotFound("the device %s does not exist", req.By.DeviceId)
	}
	notices := user.Notices{User: &messages.UserNotice{Keys: true}}
	writes, changed, err := Put(ctx, o, &device, req, false)
	if err != nil {
		return nil, err
	}
	if changed {
		more, notice, err := o.DeviceListChange(ctx, device.DeviceID)
		if err != nil {
			return nil, err
		}
		notices.DeviceList = notice
		writes = append(append(writes, schema.Devices.Put(device)), more...)
	}
	if len(writes) > 0 {
		if _, err := o.Commit(ctx, writes, nil, notices); err != nil {
			return nil, err
		}
	}
	counts, err := OneTimeKeyCounts(ctx, o.Store, o.UserID, req.By.DeviceId)
	return &messages.KeyCounts{Counts: counts}, err
}

// Put puts the uploaded keys into the device, and gives the writes of its one-time and fallback keys. Changed says that the
// device's own row is to be written. Fresh is for a device that takes the place of one of the same id, whose keys go.
func Put(ctx context.Context, o *user.Op, device *schema.Device, req *messages.UploadKeys, fresh bool) (writes []persistence.Mutation, changed bool, err error) {
	if len(req.DeviceKeys) > 0 {
		if changed, err = checkDeviceKeys(o.UserID, device, req.DeviceKeys); err != nil {
			return nil, false, err
		}
	}
	oneTime, err := newOneTimeKeys(ctx, o, req, fresh)
	if err != nil {
		return nil, false, err
	}
	fallback, err := newFallbackKeys(ctx, o, req, fresh)
	return append(oneTime, fallback...), changed, err
}

// checkDeviceKeys puts the keys into the device and reports whether they differ from those it had.
func checkDeviceKeys(userID string, device *schema.Device, raw []byte) (bool, error) {
	var k deviceKeys
	if err := json.Unmarshal(raw, &k); err != nil {
		return false, mxerr.BadJSON("device_keys: %v", err)
	}
	if k.UserID != userID || k.DeviceID != device.DeviceID {
		return false, mxerr.InvalidParam("device_keys are of %s %s, but the request comes from %s %s", k.UserID, k.DeviceID, userID, device.DeviceID)
	}
	if len(k.Algorithms) == 0 || len(k.Keys) == 0 || len(k.Signatures) == 0 {
		return false, mxerr.BadJSON("device_keys need algorithms, keys and signatures")
	}
	canonical, err := canonicaljson.Canonicalize(nil, raw, canonicaljson.Options{})
	if err != nil {
		return false, mxerr.BadJSON("device_keys: %v", err)
	}
	changed := !bytes.Equal(device.Keys, canonical)
	device.Keys = canonical
	return changed, nil
}

// newOneTimeKeys gives the rows of the keys that are not there yet. A key that is there under the same id must be the same.
func newOneTimeKeys(ctx context.Context, o *user.Op, req *messages.UploadKeys, fresh bool) ([]persistence.Mutation, error) {
	uploaded, err := keyMap("one_time_keys", req.OneTimeKeys)
	if err != nil || len(uploaded) == 0 {
		return nil, err
	}
	existing := map[string][]byte{}
	counts := map[string]int{}
	var rows []schema.OneTimeKey
	if !fresh {
		if rows, err = schema.OneTimeKeys.All(ctx, o.Store, persistence.Range[schema.OneTimeKey]{
			Prefix: schema.OneTimeKey{UserID: o.UserID, DeviceID: req.By.DeviceId}, Keys: 2}); err != nil {
			return nil, err
		}
	}
	for _, row := range rows {
		existing[row.Algorithm+":"+row.KeyID] = row.JSON
		counts[row.Algorithm]++
	}
	var writes []persistence.Mutation
	for id, value := range uploaded {
		if old, ok := existing[id]; ok {
			if !bytes.Equal(old, value) {
				return nil, mxerr.InvalidParam("one_time_keys: the key %s exists with another content", id)
			}
			continue
		}
		algorithm, keyID, _ := strings.Cut(id, ":")
		if counts[algorithm]++; counts[algorithm] > oneTimeKeyBound {
			return nil, mxerr.TooLarge("one_time_keys: at most %d keys of one algorithm may wait", oneTimeKeyBound)
		}
		writes = append(writes, schema.OneTimeKeys.Put(schema.OneTimeKey{
			UserID: o.UserID, DeviceID: req.By.DeviceId, Algorithm: algorithm, KeyID: keyID, JSON: value}))
	}
	return writes, nil
}

// newFallbackKeys gives the rows of the fallback keys; one is kept of each algorithm.
func newFallbackKeys(ctx context.Context, o *user.Op, req *messages.UploadKeys, fresh bool) ([]persistence.Mutation, error) {
	uploaded, err := keyMap("fallback_keys", req.FallbackKeys)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var writes []persistence.Mutation
	for id, value := range uploaded {
		algorithm, keyID, _ := strings.Cut(id, ":")
		if seen[algorithm] {
			return nil, mxerr.InvalidParam("fallback_keys: more than one key of the algorithm %s", algorithm)
		}
		seen[algorithm] = true
		row := schema.FallbackKey{UserID: o.UserID, DeviceID: req.By.DeviceId, Algorithm: algorithm, KeyID: keyID, JSON: value}
		old, ok, err := schema.FallbackKeys.Get(ctx, o.Store, row)
		if err != nil {
			return nil, err
		}
		if ok && !fresh && old.KeyID == keyID && bytes.Equal(old.JSON, value) {
			continue // uploaded again: whether it was used stays true
		}
		writes = append(writes, schema.FallbackKeys.Put(row))
	}
	return writes, nil
}

// keyMap reads {"algorithm:id": key}, a key being a string or an object, and gives the keys in canonical form.
func keyMap(field string, raw []byte) (map[string][]byte, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, mxerr.BadJSON("%s: %v", field, err)
	}
	keys := make(map[string][]byte, len(m))
	for id, value := range m {
		algorithm, keyID, ok := strings.Cut(id, ":")
		if !ok || algorithm == "" || keyID == "" || len(id) > 255 {
			return nil, mxerr.InvalidParam("%s: %q is not algorithm:key_id", field, id)
		}
		if k := value.Kind(); k != '{' && k != '"' {
			return nil, mxerr.BadJSON("%s: the key %s must be an object or a string", field, id)
		}
		canonical, err := canonicaljson.Canonicalize(nil, value, canonicaljson.Options{})
		if err != nil {
			return nil, mxerr.BadJSON("%s: the key %s: %v", field, id, err)
		}
		keys[id] = canonical
	}
	return keys, nil
}

// OneTimeKeyCounts counts a device's unclaimed keys by algorithm. The algorithm that clients use is there even at zero.
func OneTimeKeyCounts(ctx context.Context, r persistence.Reader, userID, deviceID string) (map[string]int64, error) {
	counts := map[string]int64{"signed_curve25519": 0}
	for row, err := range schema.OneTimeKeys.Scan(ctx, r, persistence.Range[schema.OneTimeKey]{
		Prefix: schema.OneTimeKey{UserID: userID, DeviceID: deviceID}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		counts[row.Algorithm]++
	}
	return counts, nil
}

// UnusedFallbackKeys lists the algorithms of which the device has a fallback key that nobody was given.
func UnusedFallbackKeys(ctx context.Context, r persistence.Reader, userID, deviceID string) ([]string, error) {
	unused := []string{}
	for row, err := range schema.FallbackKeys.Scan(ctx, r, persistence.Range[schema.FallbackKey]{
		Prefix: schema.FallbackKey{UserID: userID, DeviceID: deviceID}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		if !row.Used {
			unused = append(unused, row.Algorithm)
		}
	}
	return unused, nil
}

// claimKey gives away the oldest one-time key of a device, or its fallback key.
func claimKey(ctx context.Context, o *user.Op, req *messages.ClaimKey) (*messages.ClaimedKey, error) {
	oldest, err := schema.OneTimeKeys.All(ctx, o.Store, persistence.Range[schema.OneTimeKey]{
		Prefix: schema.OneTimeKey{UserID: o.UserID, DeviceID: req.DeviceId, Algorithm: req.Algorithm}, Keys: 3, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(oldest) == 1 {
		key := oldest[0]
		_, err := o.Commit(ctx, []persistence.Mutation{schema.OneTimeKeys.Delete(key)}, nil,
			user.Notices{User: &messages.UserNotice{Keys: true}})
		return &messages.ClaimedKey{KeyId: key.Algorithm + ":" + key.KeyID, Json: key.JSON}, err
	}
	fallback, ok, err := schema.FallbackKeys.Get(ctx, o.Store,
		schema.FallbackKey{UserID: o.UserID, DeviceID: req.DeviceId, Algorithm: req.Algorithm})
	if err != nil || !ok {
		return &messages.ClaimedKey{}, err
	}
	if !fallback.Used {
		fallback.Used = true
		if _, err := o.Commit(ctx, []persistence.Mutation{schema.FallbackKeys.Put(fallback)}, nil,
			user.Notices{User: &messages.UserNotice{Keys: true}}); err != nil {
			return nil, err
		}
	}
	return &messages.ClaimedKey{KeyId: fallback.Algorithm + ":" + fallback.KeyID, Json: fallback.JSON}, nil
}
