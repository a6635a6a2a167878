package entry

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/pdus"
	"github.com/matrixon/matrixon/messages"
)

// Knock knocks upon a room through another server, one of the request's (server-server API, "Knocking upon a room"). Errors are as of Join.
func (h *Handshakes) Knock(ctx context.Context, r Request) (*messages.EventSent, error) {
	var sent *messages.EventSent
	err := h.each(ctx, r, "knock", func(ctx context.Context, server string) error {
		knock, err := h.make(ctx, server, "make_knock", "knock", r)
		if err != nil {
			return err
		}
		raw, err := h.d.Servers.Call(ctx, federation.Request{Destination: server, Method: http.MethodPut, Eager: true, Limit: smallAnswer,
			URI: sendURI("v1", "send_knock", r.RoomID, knock.ID()), Body: jsontext.Value(knock.JSON())})
		if err != nil {
			return err
		}
		var answer struct {
			State []jsontext.Value `json:"knock_room_state"`
		}
		if err := json.Unmarshal(raw, &answer); err != nil {
			return liar(server, "send_knock: %v", err)
		}
		stripped, err := Stripped(answer.State)
		if err != nil {
			return liar(server, "send_knock: %v", err)
		}
		sent, err = askRoom[*messages.EventSent](ctx, h, r.RoomID, &messages.SetOutOfBand{Version: knock.Version().ID, Pdu: pdus.Message(knock), StrippedState: stripped})
		return err
	})
	return sent, err
}
