package client

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation/inquiry"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/search"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// RoomCreator creates and upgrades rooms.
type RoomCreator interface {
	Create(ctx context.Context, by *messages.Requester, req room.CreateRequest) (roomID string, err error)
	Upgrade(ctx context.Context, by *messages.Requester, roomID string, req room.UpgradeRequest) (newRoomID string, err error)
}

// RoomOptions are what the endpoints of rooms need besides Deps.
type RoomOptions struct {
	Reader  *reader.Reader
	Unread  *unread.Counter
	Creator RoomCreator
	// UserDirectory says whom users find when they search for each other.
	UserDirectory UserDirectory
	Search        *search.Index
	// Inquirer asks other servers about aliases and rooms; nil without federation.
	Inquirer *inquiry.Inquirer
	// Elsewhere takes users into rooms of other servers; nil without federation.
	Elsewhere Elsewhere
	Delayed   DelayedOptions
}

type rooms struct {
	Deps
	RoomOptions
}

const (
	v3    = "/_matrix/client/v3"
	v1    = "/_matrix/client/v1"
	aRoom = v3 + "/rooms/{roomId}"
)

// Rooms are the endpoints of rooms: making and joining them, their events, state and history, and the directory.
func Rooms(d Deps, o RoomOptions) []api.Endpoint {
	h := &rooms{d, o}
	var all []api.Endpoint
	for _, part := range [][]api.Endpoint{
		h.creation(), h.membership(), h.sending(), h.state(), h.history(), h.relations(), h.directory(), h.publicRooms(), h.reading(),
		h.threads(), h.threadSubscriptions(), h.timestamps(), h.mutualRooms(), h.summaries(), h.hierarchy(), h.reports(), h.notifications(), h.userDirectory(), h.searching(),
		h.delayedEvents(),
	} {
		all = append(all, part...)
	}
	return all
}

// roomID gives the room that the path names, which must be well formed.
func roomID(r *api.Request) (string, error) {
	roomID := r.Vars["roomId"]
	if !id.ValidRoomID(roomID) {
		return "", mxerr.InvalidParam("%.255q is no room id", roomID)
	}
	return roomID, nil
}

// access looks up what the user may see of the room that the path names.
func (h *rooms) access(r *api.Request) (*reader.Access, error) {
	roomID, err := roomID(r)
	if err != nil {
		return nil, err
	}
	return h.Reader.Access(r.Ctx, roomID, r.User())
}

// readable is access for those who may read the room at all.
func (h *rooms) readable(r *api.Request) (*reader.Access, error) {
	a, err := h.access(r)
	if err != nil {
		return nil, err
	}
	return a, a.RequireRead(r.Ctx)
}

// known gives the room if this server has it, so that no actor is woken for an id that somebody made up.
func (h *rooms) known(ctx context.Context, roomID string) error {
	_, ok, err := schema.Rooms.Get(ctx, h.Store, schema.Room{RoomID: roomID})
	if err == nil && !ok {
		err = mxerr.NotFound("this server does not know the room %s", roomID)
	}
	return err
}

// member gives the room of the path if the user has or had anything to do with it; strangers learn nothing about rooms.
func (h *rooms) member(r *api.Request) (string, error) {
	roomID, err := roomID(r)
	if err != nil {
		return "", err
	}
	is, err := h.Reader.IsInsider(r.Ctx, roomID, r.User())
	if err == nil && !is {
		err = mxerr.Forbidden("you are not in the room %s", roomID)
	}
	return roomID, err
}

// view is how the request's client sees events outside of sync.
func view(r *api.Request) reader.View {
	return reader.View{DeviceID: r.Device(), RoomID: true, Bundle: true}
}

// events shows events, never null.
func events(r *api.Request, a *reader.Access, rows []schema.Event) ([]jsontext.Value, error) {
	return a.Client(r.Ctx, view(r), rows...)
}
