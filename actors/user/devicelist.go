package user

import (
	"context"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// DeviceListChange gives what a commit must contain when devices of the user change (those named), or cross-signing keys do (when none is), so
// that everyone who shares a room learns of it (client-server API, "Tracking the device list for a user"; server-server API, "Device
// Management").
func (o *Op) DeviceListChange(ctx context.Context, devices ...string) ([]persistence.Mutation, *messages.DeviceListNotice, error) {
	rooms, err := reader.JoinedRooms(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, nil, err
	}
	writes, notice := o.SignatureChange()
	notice.Rooms = rooms
	edus, err := o.deviceEDUs(ctx, rooms, devices)
	return append(writes, edus...), notice, err
}

// SignatureChange is DeviceListChange for what only the user's own devices see: signatures of other people's keys.
func (o *Op) SignatureChange() ([]persistence.Mutation, *messages.DeviceListNotice) {
	return []persistence.Mutation{
		schema.DeviceListChanges.Put(schema.DeviceListChange{UserID: o.UserID}),
		schema.DeviceListLogs.Put(schema.DeviceListLog{UserID: o.UserID}),
	}, &messages.DeviceListNotice{UserId: o.UserID}
}

// deviceEDUs tells the other servers in the rooms. The stream id of a change is its position, and what it follows the one before. When
// several devices change at once it is as if one before had been missed: the other servers fetch the whole list.
func (o *Op) deviceEDUs(ctx context.Context, rooms, devices []string) ([]persistence.Mutation, error) {
	servers, err := o.otherServers(ctx, rooms)
	if err != nil || len(servers) == 0 {
		return nil, err
	}
	before, ok, err := schema.DeviceListChanges.Get(ctx, o.Store, schema.DeviceListChange{UserID: o.UserID})
	if err != nil {
		return nil, err
	}
	kind, change := "m.signing_key_update", schema.DeviceChange{UserID: o.UserID}
	if len(devices) > 0 {
		kind, change.DeviceID = "m.device_list_update", devices[0]
	}
	if ok && len(devices) == 1 {
		change.PrevID = []uint64{before.Pos}
	}
	content, err := json.Marshal(change)
	if err != nil {
		return nil, err
	}
	writes := make([]persistence.Mutation, len(servers))
	for i, server := range servers {
		writes[i] = schema.OutboundEDUs.Put(schema.OutboundEDU{Destination: server, Type: kind, Content: content})
	}
	return writes, nil
}

// otherServers are those that are in one of the rooms; none when this server talks with no others.
func (o *Op) otherServers(ctx context.Context, rooms []string) ([]string, error) {
	if !o.Federates {
		return nil, nil
	}
	var servers []string
	seen := map[string]bool{id.ServerOf(o.UserID): true}
	for _, roomID := range rooms {
		for row, err := range schema.RoomServers.Scan(ctx, o.Store, persistence.Range[schema.RoomServer]{Prefix: schema.RoomServer{RoomID: roomID}, Keys: 1}) {
			if err != nil {
				return nil, err
			}
			if row.Joined > 0 && !seen[row.Server] {
				seen[row.Server] = true
				servers = append(servers, row.Server)
			}
		}
	}
	return servers, nil
}

// eduNotice tells the servers for which a commit appends EDUs, nil when there are none.
func eduNotice(writes []persistence.Mutation) *messages.EduNotice {
	var n *messages.EduNotice
	seen := map[string]bool{}
	for _, w := range writes {
		edu, ok := w.Row.(*schema.OutboundEDU)
		if !ok || w.Delete || seen[edu.Destination] {
			continue
		}
		if n == nil {
			n = &messages.EduNotice{}
		}
		seen[edu.Destination] = true
		n.Destinations = append(n.Destinations, edu.Destination)
	}
	return n
}
