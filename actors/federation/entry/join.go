package entry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

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
	resident, err := h.d.Reader.Resident(ctx, r.RoomID, h.d.ServerName)
	if err != nil {
		return nil, err
	}
	var sent *messages.EventSent
	err = h.each(ctx, r, "join", func(ctx context.Context, server string) error {
		join, err := h.make(ctx, server, "make_join", "join", r)
		if err != nil {
			return err
		}
		sent, err = h.sendJoin(ctx, server, join, resident)
		return err
	})
	return sent, err
}

// membersAtOnce is how many members a room begins with at most, because it answers nobody while it takes them in. More of them, in answers of
// servers that leave none out, follow piece by piece, as if they had been left out.
const membersAtOnce = 1000

// sendJoin is the second half of a join: the room's state comes back, and becomes a room here. Members may be left out of it; they are fetched
// while the room is in use. A room that this server is in already needs the whole state, for it knows where the join belongs from nothing else.
func (h *Handshakes) sendJoin(ctx context.Context, server string, join *event.Event, resident bool) (*messages.EventSent, error) {
	body, older, err := h.openJoin(ctx, server, join, !resident)
	if err != nil {
		return nil, err
	}
	account, err := pdus.NewAccount(h.d.Folder, join.RoomID(), join.Version(), h.d.Verifier)
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	defer account.Close()
	answer, err := readJoin(ctx, body, account, older)
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
	taken, err := account.Store(ctx, h.d.Rooms, server, h.d.Log)
	if err != nil {
		return nil, unusable(server, err)
	}
	members := only(taken, answer.members)
	seed := &messages.SeedRoom{Version: join.Version().ID, Join: pdus.Message(join), StateBefore: only(taken, answer.state), Partial: answer.partial, Origin: server}
	later := !answer.partial && !resident && len(members) > membersAtOnce
	if later {
		seed.Partial = true
	} else {
		seed.StateBefore = append(seed.StateBefore, members...)
	}
	if seed.Partial {
		seed.ServersInRoom = answer.inRoom(server)
	}
	sent, err := askRoom[*messages.EventSent](ctx, h, join.RoomID(), seed)
	if err != nil {
		return nil, unusable(server, err)
	}
	switch {
	case later:
		h.d.CompleteWith(join.RoomID(), join.ID(), members)
	case answer.partial:
		h.d.Complete(join.RoomID())
	}
	return sent, nil
}

// openJoin sends the join by the newest version of the endpoint that the other server knows.
func (h *Handshakes) openJoin(ctx context.Context, server string, join *event.Event, omitMembers bool) (body io.ReadCloser, older bool, err error) {
	request := federation.Request{Destination: server, Method: http.MethodPut, Eager: true, Limit: largest, Timeout: patience,
		URI: sendURI("v2", "send_join", join.RoomID(), join.ID()) + "?omit_members=" + strconv.FormatBool(omitMembers), Body: jsontext.Value(join.JSON())}
	body, _, err = h.d.Servers.Open(ctx, request)
	if err == nil || !unknownEndpoint(err) {
		return body, false, err
	}
	request.URI = sendURI("v1", "send_join", join.RoomID(), join.ID())
	body, _, err = h.d.Servers.Open(ctx, request)
	return body, true, err
}

// only are those of the events that the room took.
func only(taken map[string]bool, ids []string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return !taken[id] })
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
