package entry

import (
	"context"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Ended takes an event with which somebody ends the invite or the knock of a user of this server, in a room that nobody of this server is
// in: a kick or a ban. It gives the event's id; it is empty when the event is none of that kind.
//
// The state that would authorise it is not here. It counts when it cites the invite or knock, and is signed by the server that sent the
// invite or by one of those whose users made the state that was shown with it: what such a server could do at worst is to take back what it gave.
func (h *Handshakes) Ended(ctx context.Context, roomID string, raw []byte) (eventID string, err error) {
	told := gjson.ParseBytes(raw)
	userID, membership := told.Get("state_key").Str, told.Get("content.membership").Str
	if told.Get("type").Str != "m.room.member" || membership != "leave" && membership != "ban" || !id.ValidUser(userID) || id.ServerOf(userID) != h.d.ServerName {
		return "", nil
	}
	member, ok, err := schema.Memberships.Get(ctx, h.d.Store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || !ok || !member.OutOfBand() || member.Membership != "invite" && member.Membership != "knock" {
		return "", err
	}
	e := h.signed(ctx, raw, member.StrippedState)
	if e == nil || e.RoomID() != roomID || !e.HashOK() || e.Sender() == userID || !slices.Contains(e.AuthEvents(), member.EventID) ||
		!slices.Contains(append(shownServers(member.StrippedState), id.ServerOf(member.Sender)), id.ServerOf(e.Sender())) {
		return "", ctx.Err()
	}
	_, err = askRoom[*messages.EventSent](ctx, h, roomID, &messages.SetOutOfBand{Version: e.Version().ID, Pdu: pdus.Message(e)})
	return e.ID(), err
}

// signed reads an event of a room whose version may not be known: it is one in which the signatures are right. Nil: there is none.
func (h *Handshakes) signed(ctx context.Context, raw, shown []byte) *event.Event {
	versions := slices.Clone(roomversion.All())
	slices.Reverse(versions)
	gjson.ParseBytes(shown).ForEach(func(_, e gjson.Result) bool {
		if named, ok := roomversion.Get(e.Get("content.room_version").Str); ok && e.Get("type").Str == "m.room.create" {
			versions = []*roomversion.Version{named}
		}
		return true
	})
	for _, version := range versions {
		if e, err := h.d.Verifier.PDU(ctx, raw, version); err == nil {
			return e
		}
	}
	return nil
}
