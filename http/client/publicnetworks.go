package client

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// listing gives the rooms of the directory that is asked for, in its order from where a page begins: the server's own, that of a
// third-party network, or all of them together (client-server API, POST /publicRooms).
func listing(ctx context.Context, store persistence.Reader, q PublicQuery, at *publicCursor) iter.Seq2[schema.PublicRoom, error] {
	back := at != nil && at.Back
	own := persistence.Range[schema.PublicRoom]{Reverse: !back}
	if at != nil {
		own.After = &schema.PublicRoom{JoinedMembers: at.Members, RoomID: at.RoomID}
	}
	if q.ThirdPartyInstanceID == "" && !q.IncludeAllNetworks {
		return schema.PublicRooms.Scan(ctx, store, own)
	}
	return func(yield func(schema.PublicRoom, error) bool) {
		networks, err := networkRooms(ctx, store, q.ThirdPartyInstanceID, q.IncludeAllNetworks)
		if err != nil {
			yield(schema.PublicRoom{}, err)
			return
		}
		order := func(a, b schema.PublicRoom) int {
			c := cmp.Or(cmp.Compare(a.JoinedMembers, b.JoinedMembers), strings.Compare(a.RoomID, b.RoomID))
			if back {
				return c
			}
			return -c
		}
		networks = slices.DeleteFunc(networks, func(r schema.PublicRoom) bool { return own.After != nil && order(r, *own.After) <= 0 })
		slices.SortFunc(networks, order)
		if q.IncludeAllNetworks {
			for room, err := range schema.PublicRooms.Scan(ctx, store, own) {
				for len(networks) > 0 && err == nil && order(networks[0], room) < 0 {
					if !yield(networks[0], nil) {
						return
					}
					networks = networks[1:]
				}
				if !yield(room, err) || err != nil {
					return
				}
			}
		}
		for _, room := range networks {
			if !yield(room, nil) {
				return
			}
		}
	}
}

// networkRooms gives the rooms of one network, or of all, in no order: publicScanned at most. Among all are only those that the server's own
// directory does not have.
func networkRooms(ctx context.Context, store persistence.Reader, instance string, all bool) ([]schema.PublicRoom, error) {
	listed := persistence.Range[schema.NetworkRoom]{Limit: publicScanned}
	if !all {
		service, network, ok := cutInstance(instance)
		if !ok {
			return nil, nil
		}
		listed.Prefix, listed.Keys = schema.NetworkRoom{AppserviceID: service, NetworkID: network}, 2
	}
	seen := map[string]bool{}
	var found []schema.PublicRoom
	for row, err := range schema.NetworkRooms.Scan(ctx, store, listed) {
		if err != nil {
			return nil, err
		}
		if seen[row.RoomID] {
			continue
		}
		seen[row.RoomID] = true
		room, ok, err := schema.Rooms.Get(ctx, store, schema.Room{RoomID: row.RoomID})
		if err != nil {
			return nil, err
		}
		if ok && (!all || !room.Published) {
			found = append(found, schema.PublicRoom{JoinedMembers: room.JoinedMembers, RoomID: room.RoomID})
		}
	}
	return found, nil
}

// cutInstance gives the application service and the network that a third_party_instance_id names. Only networks have no bar in their ids.
func cutInstance(instance string) (service, network string, ok bool) {
	i := strings.LastIndexByte(instance, '|')
	if i < 0 {
		return "", "", false
	}
	return instance[:i], instance[i+1:], true
}
