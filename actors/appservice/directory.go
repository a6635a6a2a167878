package appservice

import (
	"context"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Handlers are what the actors of the own users of application services do for them.
func Handlers() []user.Handler { return []user.Handler{user.Handle(listNetworkRoom)} }

// listNetworkRoom shows or hides a room in the directory of a network.
func listNetworkRoom(ctx context.Context, o *user.Op, m *messages.ListNetworkRoom) (*messages.Done, error) {
	row := schema.NetworkRoom{AppserviceID: m.AppserviceId, NetworkID: m.NetworkId, RoomID: m.RoomId}
	write := schema.NetworkRooms.Delete(row)
	if m.Listed {
		write = schema.NetworkRooms.Put(row)
	}
	_, err := o.Commit(ctx, []persistence.Mutation{write}, nil, user.Notices{})
	return &messages.Done{}, err
}
