package destination

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/persistence/schema"
)

// fill gives the content of an EDU as it is sent: with the keys of that time.
func (c composer) fill(ctx context.Context, row schema.OutboundEDU) (jsontext.Value, error) {
	if row.Type != "m.device_list_update" && row.Type != "m.signing_key_update" {
		return row.Content, nil
	}
	var change schema.DeviceChange
	if err := json.Unmarshal(row.Content, &change); err != nil {
		return nil, err
	}
	found := keys.NewAnswer()
	if err := found.Query(ctx, c.store, "", change.UserID, []string{change.DeviceID}); err != nil {
		return nil, err
	}
	if row.Type == "m.signing_key_update" {
		return json.Marshal(struct {
			UserID      string         `json:"user_id"`
			Master      jsontext.Value `json:"master_key,omitempty"`
			SelfSigning jsontext.Value `json:"self_signing_key,omitempty"`
		}{change.UserID, found.MasterKeys[change.UserID], found.SelfSigningKeys[change.UserID]})
	}
	_, exists, err := schema.Devices.Get(ctx, c.store, schema.Device{UserID: change.UserID, DeviceID: change.DeviceID})
	if err != nil {
		return nil, err
	}
	deviceKeys := found.DeviceKeys[change.UserID][change.DeviceID]
	return json.Marshal(struct {
		schema.DeviceChange
		StreamID    uint64         `json:"stream_id"`
		Deleted     bool           `json:"deleted,omitzero"`
		Keys        jsontext.Value `json:"keys,omitempty"`
		DisplayName string         `json:"device_display_name,omitempty"`
	}{change, row.Pos, !exists, deviceKeys, gjson.GetBytes(deviceKeys, "unsigned.device_display_name").Str})
}
