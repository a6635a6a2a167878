package appservice

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/actors/user/keys"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// toDeviceEvent is a message to a device (MSC4203).
type toDeviceEvent struct {
	Type       string         `json:"type"`
	Sender     string         `json:"sender"`
	ToUserID   string         `json:"to_user_id"`
	ToDeviceID string         `json:"to_device_id"`
	Content    jsontext.Value `json:"content"`
}

// inbox takes in messages that a commit put into the inboxes of a user of the application service, and that keys of the user changed.
func (b *batch) inbox(n *messages.UserNotice, pos uint64) error {
	if !b.of.Owns(n.UserId) {
		return nil
	}
	if b.of.Ephemeral || b.of.Encryption {
		for _, deviceID := range n.ToDevice {
			if err := b.messages(n.UserId, deviceID, pos); err != nil {
				return err
			}
		}
	}
	if !b.of.Encryption || !n.Keys && len(n.ToDevice) == 0 {
		return nil
	}
	devices, err := account.Devices(b.ctx, b.deps.Store, n.UserId)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if len(d.Keys) > 0 {
			b.counts[device{n.UserId, d.DeviceID}] = true
		}
	}
	return nil
}

// messages takes in what the commit put into the inbox of one device. What is reserved to an application service that does its
// encryption by transactions leaves the inbox when that has it; from the inboxes of others /sync takes it too (MSC4203).
func (b *batch) messages(userID, deviceID string, pos uint64) error {
	drop := b.of.Encryption && b.of.Reserves(userID)
	for row, err := range schema.ToDevices.Scan(b.ctx, b.deps.Store, persistence.Range[schema.ToDevice]{
		Prefix: schema.ToDevice{UserID: userID, DeviceID: deviceID, Pos: pos}, Keys: 3}) {
		if err != nil {
			return err
		}
		raw, err := json.Marshal(toDeviceEvent{Type: row.Type, Sender: row.Sender, ToUserID: userID, ToDeviceID: deviceID, Content: row.Content})
		if err != nil {
			return err
		}
		b.toDevice = append(b.toDevice, raw)
		b.size += len(raw)
		if drop {
			b.drop.Messages = append(b.drop.Messages, &messages.DeviceMessage{UserId: userID, DeviceId: deviceID, Pos: row.Pos, N: row.N})
		}
	}
	return nil
}

// deviceList takes in that the devices or cross-signing keys of a user of interest changed (MSC3202).
func (b *batch) deviceList(n *messages.DeviceListNotice) error {
	if !b.of.Encryption {
		return nil
	}
	interested, err := b.interesting(n.UserId, n.Rooms)
	if interested {
		b.changed = append(b.changed, n.UserId)
	}
	return err
}

// membership takes in that somebody came into a room of interest, so that their devices matter, or went out of the last one. members
// is how many users of the application service are in the room afterwards.
func (b *batch) membership(roomID string, e *messages.RoomEvent, members int) error {
	if !b.of.Encryption || e.Type != "m.room.member" || e.StateKey == nil || b.of.Owns(*e.StateKey) {
		return nil
	}
	is, was := e.Membership == "join", e.PrevMembership == "join"
	switch {
	case is && !was && members > 0:
		b.changed = append(b.changed, *e.StateKey)
	case was && !is:
		elsewhere, err := reader.JoinedRooms(b.ctx, b.deps.Store, *e.StateKey)
		if err != nil {
			return err
		}
		if shared, err := b.interesting(*e.StateKey, elsewhere); err != nil || shared {
			return err
		}
		b.left = append(b.left, *e.StateKey)
	}
	return nil
}

// countKeys adds how many keys the devices have left, as it is now.
func (b *batch) countKeys(t *transaction) error {
	for d := range b.counts {
		counts, err := keys.OneTimeKeyCounts(b.ctx, b.deps.Store, d.userID, d.deviceID)
		if err != nil {
			return err
		}
		unused, err := keys.UnusedFallbackKeys(b.ctx, b.deps.Store, d.userID, d.deviceID)
		if err != nil {
			return err
		}
		if unused == nil {
			unused = []string{}
		}
		if t.OneTime == nil {
			t.OneTime, t.Fallback = map[string]map[string]map[string]int64{}, map[string]map[string][]string{}
		}
		if t.OneTime[d.userID] == nil {
			t.OneTime[d.userID], t.Fallback[d.userID] = map[string]map[string]int64{}, map[string][]string{}
		}
		t.OneTime[d.userID][d.deviceID], t.Fallback[d.userID][d.deviceID] = counts, unused
	}
	t.OneTime3202, t.OneTimeOld, t.Fallback3202 = t.OneTime, t.OneTime, t.Fallback
	return nil
}
