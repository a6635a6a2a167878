package reader

import (
	"context"
	"slices"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/visibility"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of looking for servers and their users in a room.
const (
	residentsMost  = 50
	invitedLooked  = 5000
	servedChildren = 500 // of a space that are told to another server
)

// Residents lists servers with users in the room, those with most first; this one, if it is among them, before all.
func (r *Reader) Residents(ctx context.Context, roomID, own string) ([]string, error) {
	servers, err := r.Servers(ctx, roomID)
	if i := slices.Index(servers, own); i > 0 {
		servers = slices.Insert(slices.Delete(servers, i, i+1), 0, own)
	}
	return servers[:min(len(servers), residentsMost)], err
}

// DiscoverFor summarises the room if another server may know of it: it has a user in it, or one that may read, join, or knock
// (server-server API, "GET /hierarchy/{roomId}"). known is false when this server is not in the room itself.
func (r *Reader) DiscoverFor(ctx context.Context, roomID, server string) (d Discovered, known, ok bool, err error) {
	d, open, known, err := r.discovered(ctx, roomID)
	if err != nil || !known || d.JoinedMembers == 0 {
		return d, false, false, err
	}
	if open || d.HistoryVisibility == visibility.WorldReadable {
		return d, true, true, nil
	}
	for _, in := range append([]string{roomID}, d.AllowedRooms...) {
		if ok, err = r.Resident(ctx, in, server); err != nil || ok {
			return d, true, ok, err
		}
	}
	ok, err = r.invitedFrom(ctx, d, server)
	return d, true, ok, err
}

// invitedFrom reports whether a user of the server is invited.
func (r *Reader) invitedFrom(ctx context.Context, d Discovered, server string) (bool, error) {
	if d.InvitedMembers == 0 {
		return false, nil
	}
	for row, err := range schema.CurrentStates.Scan(ctx, r.store, persistence.Range[schema.CurrentState]{
		Prefix: schema.CurrentState{RoomID: d.RoomID, Type: "m.room.member"}, Keys: 2, Limit: invitedLooked}) {
		if err != nil {
			return false, err
		}
		if row.Membership == "invite" && id.ServerOf(row.StateKey) == server {
			return true, nil
		}
	}
	return false, nil
}

// ServedSpace is what another server is told of a space.
type ServedSpace struct {
	Room         SpaceRoom
	Children     []Discovered
	Inaccessible []string // rooms that this server knows, but the other may not know of
}

// SpaceFor gives a space and its children as another server may see them; ok is false when it may not know of the space.
func (r *Reader) SpaceFor(ctx context.Context, roomID, server string, suggestedOnly bool) (s ServedSpace, ok bool, err error) {
	if s.Room.Discovered, _, ok, err = r.DiscoverFor(ctx, roomID, server); err != nil || !ok {
		return s, false, err
	}
	if s.Room.RoomType != "m.space" {
		return s, true, nil
	}
	if s.Room.Children, err = r.spaceChildren(ctx, roomID, suggestedOnly); err != nil {
		return s, false, err
	}
	for _, child := range s.Room.Children[:min(len(s.Room.Children), servedChildren)] {
		d, known, ok, err := r.DiscoverFor(ctx, *child.StateKey, server)
		switch {
		case err != nil:
			return s, false, err
		case ok:
			s.Children = append(s.Children, d)
		case known:
			s.Inaccessible = append(s.Inaccessible, *child.StateKey)
		}
	}
	return s, true, nil
}
