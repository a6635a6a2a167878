package reader

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/serveracl"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Version reads the room's version; 404 M_NOT_FOUND when the server does not know the room.
func (r *Reader) Version(ctx context.Context, roomID string) (*roomversion.Version, error) {
	room, err := r.Room(ctx, roomID)
	if err != nil {
		return nil, err
	}
	version, ok := roomversion.Get(room.Version)
	if !ok {
		return nil, fmt.Errorf("%w: room %s has the unknown version %q", persistence.ErrCorrupt, roomID, room.Version)
	}
	return version, nil
}

// ServerACL reads which servers the room keeps out now (server-server API, "Server Access Control Lists"); nil when it keeps out none.
func (r *Reader) ServerACL(ctx context.Context, roomID string) (*serveracl.List, error) {
	row, ok, err := r.Current(ctx, roomID, "m.room.server_acl", "")
	if err != nil || !ok {
		return nil, err
	}
	return serveracl.Parse([]byte(gjson.GetBytes(row.JSON, "content").Raw)), nil
}

// Resident reports whether a server has users in the room.
func (r *Reader) Resident(ctx context.Context, roomID, server string) (bool, error) {
	row, ok, err := schema.RoomServers.Get(ctx, r.store, schema.RoomServer{RoomID: roomID, Server: server})
	return ok && row.Joined > 0, err
}

// Servers lists the servers that have users in the room, as far as this server knows, those with most users first.
func (r *Reader) Servers(ctx context.Context, roomID string) ([]string, error) {
	rows, err := schema.RoomServers.All(ctx, r.store, persistence.Range[schema.RoomServer]{Prefix: schema.RoomServer{RoomID: roomID}, Keys: 1})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b schema.RoomServer) int { return cmp.Compare(b.Joined, a.Joined) })
	var servers []string
	for _, row := range rows {
		if row.Joined > 0 {
			servers = append(servers, row.Server)
		}
	}
	return servers, nil
}

// Shown is what other servers are shown of the room's state when their users are invited or knock: PDUs (server-server API, "Inviting to a
// room"), of which their clients get the stripped form.
func (r *Reader) Shown(ctx context.Context, roomID string) ([]jsontext.Value, error) {
	var shown []jsontext.Value
	for _, typ := range room.StrippedTypes() {
		row, ok, err := r.Current(ctx, roomID, typ, "")
		if err != nil {
			return nil, err
		}
		if ok {
			shown = append(shown, row.JSON)
		}
	}
	return shown, nil
}

// Stored finds an event of the room by its id, whatever its status: what servers may ask for is more than what clients see.
func (r *Reader) Stored(ctx context.Context, roomID, eventID string) (schema.Event, bool, error) {
	ref, ok, err := schema.EventsByID.Get(ctx, r.store, schema.EventByID{RoomID: roomID, EventID: eventID})
	if err != nil || !ok {
		return schema.Event{}, false, err
	}
	row, err := r.EventAt(ctx, roomID, ref.Seq)
	return row, err == nil, err
}
