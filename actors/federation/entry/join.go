package entry

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

// Join joins a room through another server, one of the request's (server-server API, "Joining Rooms"). When it returns nil the join is
// durable here. Errors are *mxerr.Error: the other server's refusal, 404 M_NOT_FOUND when no server is known, 400
// M_INCOMPATIBLE_ROOM_VERSION, 502 M_UNKNOWN when no server could be reached.
func (h *Handshakes) Join(ctx context.Context, r Request) (*messages.EventSent, error) {
	leave, err := h.rooms.enter(ctx, r.RoomID)
	if err != nil {
		return nil, err
	}
	defer leave()
	var sent *messages.EventSent
	err = h.each(ctx, r, "join", func(ctx context.Context, server string) error {
		join, err := h.make(ctx, server, "make_join", "join", r)
		if err != nil {
			return err
		}
		sent, err = h.sendJoin(ctx, server, join)
		return err
	})
	return sent, err
}

// sendJoin is the second half of a join: the room's state comes back, and becomes a room here. Members may be left out of it; they are fetched
// while the room is in use.
func (h *Handshakes) sendJoin(ctx context.Context, server string, join *event.Event) (*messages.EventSent, error) {
	body, _, err := h.d.Servers.Open(ctx, federation.Request{Destination: server, Method: http.MethodPut, Eager: true, Limit: largest, Timeout: patience,
		URI: sendURI("v2", "send_join", join.RoomID(), join.ID()) + "?omit_members=true", Body: jsontext.Value(join.JSON())})
	if err != nil {
		return nil, err
	}
	answer, err := h.readJoin(ctx, body, join)
	if closeErr := body.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return nil, liar(server, "send_join: %v", err)
	}
	if join, err = h.countersigned(ctx, join, answer.join); err != nil {
		return nil, liar(server, "send_join: %v", err)
	}
	if err := answer.check(); err != nil {
		return nil, liar(server, "send_join: %v", err)
	}
	state, err := h.store(ctx, server, answer)
	if err != nil {
		return nil, unusable(server, err)
	}
	seed := &messages.SeedRoom{Version: join.Version().ID, Join: pdus.Message(join), StateBefore: state, Partial: answer.partial, Origin: server}
	if answer.partial {
		seed.ServersInRoom = answer.inRoom(server)
	}
	sent, err := askRoom[*messages.EventSent](ctx, h, join.RoomID(), seed)
	if err == nil && answer.partial {
		h.d.Complete(join.RoomID())
	}
	return sent, unusable(server, err)
}

// unusable is the error of the room's actor, which tells of the other server's answer when it refuses what that holds: a server that took
// the join has no state that forbids it.
func unusable(server string, err error) error {
	if err != nil && mxerr.From(err).Status < http.StatusInternalServerError && mxerr.From(err).Status != http.StatusTooManyRequests {
		return liar(server, "send_join: %v", err)
	}
	return err
}

// countersigned is our join as the other server gives it back: with its signature, when it authorises the join. All else must be as we
// sent it, which the event's id says.
func (h *Handshakes) countersigned(ctx context.Context, join *event.Event, raw []byte) (*event.Event, error) {
	if raw == nil {
		return join, nil
	}
	e, err := h.d.Verifier.PDU(ctx, raw, join.Version())
	if err != nil {
		return nil, err
	}
	if e.ID() != join.ID() || !e.HashOK() {
		return nil, errOtherEvent
	}
	return e, nil
}

// store gives the state and its auth chain to the room, and gives the ids of the state's events that it took.
func (h *Handshakes) store(ctx context.Context, server string, a *joinAnswer) ([]string, error) {
	taken, err := a.events.Store(ctx, h.d.Rooms, server, h.d.Log)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(a.state, func(id string) bool { return !taken[id] }), nil
}
