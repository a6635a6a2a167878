package entry

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Leave ends the membership of a user in a room that nobody of this server is in: it rejects an invite or takes back a knock
// (server-server API, "Leaving Rooms (Rejecting Invites)"). When no other server can be told, the room ends for the user here all the same: nobody
// must be kept in an invitation whose server is gone. Errors are *mxerr.Error: 403 M_FORBIDDEN when there is nothing to leave.
func (h *Handshakes) Leave(ctx context.Context, r Request) (*messages.EventSent, error) {
	member, ok, err := schema.Memberships.Get(ctx, h.d.Store, schema.Membership{UserID: r.By.UserId, RoomID: r.RoomID})
	if err != nil {
		return nil, err
	}
	if !ok || member.Membership != "invite" && member.Membership != "knock" {
		return nil, mxerr.Forbidden("%s is not in this room", r.By.UserId)
	}
	r.Servers = append(append([]string{}, r.Servers...), id.ServerOf(member.Sender))
	r.Servers = append(r.Servers, shownServers(member.StrippedState)...)
	var left *event.Event
	err = h.each(ctx, r, "leave", func(ctx context.Context, server string) error {
		leave, err := h.make(ctx, server, "make_leave", "leave", r)
		if err != nil {
			return err
		}
		for _, version := range [...]string{"v2", "v1"} { // the newest that the other server knows
			_, err = h.d.Servers.Call(ctx, federation.Request{Destination: server, Method: http.MethodPut, Eager: true, Limit: smallAnswer,
				URI: sendURI(version, "send_leave", r.RoomID, leave.ID()), Body: jsontext.Value(leave.JSON())})
			if !unknownEndpoint(err) {
				break
			}
		}
		if err == nil {
			left = leave
		}
		return err
	})
	if err != nil {
		// The room's actor makes a leave that no other server knows of.
		return askRoom[*messages.EventSent](ctx, h, r.RoomID, &messages.ChangeMembership{By: r.By, Action: messages.ChangeMembership_LEAVE,
			Target: r.By.UserId, Content: r.Content})
	}
	return askRoom[*messages.EventSent](ctx, h, r.RoomID, &messages.SetOutOfBand{Version: left.Version().ID, Pdu: pdus.Message(left)})
}

// shownServers are those of the users who made the state that was shown of a room: who knocks knows of no others.
func shownServers(stripped []byte) []string {
	var servers []string
	gjson.ParseBytes(stripped).ForEach(func(_, e gjson.Result) bool {
		if sender := e.Get("sender").Str; id.ValidUser(sender) {
			servers = append(servers, id.ServerOf(sender))
		}
		return true
	})
	return servers
}
